//! Caps and ageing.

use super::*;
use crate::map::view::samples::outbound;

#[test]
fn the_longest_not_seen_make_room_and_are_counted() {
    let limits = Limits {
        max_relations: 32,
        forget: None,
    };
    let mut store = Store::in_memory(limits).unwrap();
    for number in 0..40 {
        let mut uses = uses(2);
        uses.last_seen.0 = NOON.0 + i64::from(number) * MINUTE;
        store.merge(&delta(&[(peer(number), uses)]), NOON).unwrap();
        assert!(store.relations <= 32);
    }
    let map = store.read().unwrap();
    assert_eq!(map.relations.len() as u64, store.relations);
    let forgotten = map.forgotten;
    assert_eq!(forgotten.capped_relations + store.relations, 40);
    assert_eq!(forgotten.capped_connections, 2 * forgotten.capped_relations);
    let oldest = map.relations.iter().map(|(relation, _)| relation).min();
    let first_kept = u32::try_from(forgotten.capped_relations).unwrap();
    assert_eq!(oldest, Some(&peer(first_kept)));
}

#[test]
fn a_save_beyond_the_limit_keeps_what_fits() {
    let limits = Limits {
        max_relations: 10,
        forget: None,
    };
    let mut store = Store::in_memory(limits).unwrap();
    let many: Vec<_> = (0..100).map(|number| (peer(number), uses(1))).collect();
    store.merge(&delta(&many), NOON).unwrap();
    assert_eq!(store.relations, 10);
    assert_eq!(store.read().unwrap().forgotten.capped_relations, 90);
}

#[test]
fn old_relations_are_forgotten_and_counted_but_not_twice() {
    let limits = Limits {
        forget: Some(Duration::from_mins(10)),
        ..Limits::default()
    };
    let mut store = Store::in_memory(limits).unwrap();
    store.merge(&delta(&[(peer(1), uses(3))]), NOON).unwrap();
    store
        .merge(&delta(&[(outbound("10.0.0.9:1", "x"), uses(8))]), NOON)
        .unwrap();
    for (minutes, left) in [(5, 2), (13, 2), (14, 1), (18, 1), (30, 0), (40, 0)] {
        let now = WallTime(NOON.0 + minutes * MINUTE);
        store.merge(&Delta::new(1), now).unwrap();
        assert_eq!(store.relations, left, "{minutes}");
    }
    let forgotten = store.read().unwrap().forgotten;
    assert_eq!(
        (forgotten.aged_relations, forgotten.aged_connections),
        (2, 11)
    );
}
