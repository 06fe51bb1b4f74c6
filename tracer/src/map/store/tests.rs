mod damage;
mod killed;
mod limits;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use hashbrown::HashMap;
use tempfile::TempDir;

use super::*;
use crate::map::view::samples::{NOON, imported, inbound, map, uses};

const MINUTE: i64 = 60_000_000_000;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> Store {
    Store::open(path, Limits::default()).unwrap()
}

fn delta(relations: &[(Relation, Uses)]) -> Delta {
    let mut delta = Delta::new(usize::MAX);
    for (relation, uses) in relations {
        delta.note(relation.clone(), *uses);
    }
    delta
}

fn sorted(map: &Map) -> Vec<(Relation, Uses)> {
    let mut relations = map.relations.clone();
    relations.sort_by(|(one, _), (other, _)| one.cmp(other));
    relations
}

fn peer(number: u32) -> Relation {
    inbound(
        "10.0.0.5:80",
        &std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).to_string(),
        "nginx",
    )
}

#[test]
fn what_is_saved_is_read_again_and_adds_up_over_runs() {
    let folder = folder();
    let path = folder.path().join("map");
    for _ in 0..3 {
        let mut store = open(&path);
        store.merge(&delta(&map().relations), NOON).unwrap();
    }
    let mut expected = map();
    for (_, uses) in &mut expected.relations {
        let once = *uses;
        *uses += once;
        *uses += once;
    }
    assert_eq!(sorted(&read(&path).unwrap()), sorted(&expected));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_store_adds_as_memory_does() {
    let mut store = Store::in_memory(Limits::default()).unwrap();
    let mut expected: HashMap<Relation, Uses> = HashMap::new();
    for round in 0..50_u64 {
        let mut uses = uses(round % 7);
        uses.first_seen.0 -= i64::try_from(round % 11).unwrap() * MINUTE;
        uses.pid = (round % 3 > 0).then_some(u32::try_from(round).unwrap());
        uses.tx = if round == 40 { u64::MAX / 2 } else { round };
        let relation = peer(u32::try_from(round % 4).unwrap());
        store
            .merge(&delta(&[(relation.clone(), uses)]), NOON)
            .unwrap();
        expected
            .entry(relation)
            .and_modify(|sum| {
                *sum += uses;
                sum.tx = sum.tx.min(u64::MAX / 2);
            })
            .or_insert(uses);
    }
    let stored: HashMap<_, _> = store.read().unwrap().relations.into_iter().collect();
    assert_eq!(stored, expected);
}

#[test]
fn a_second_writer_is_refused_and_told_of_the_first() {
    let folder = folder();
    let path = folder.path().join("map");
    let first = open(&path);
    let error = Store::open(&path, Limits::default()).unwrap_err();
    let holder = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    drop(first);
    open(&path);
}

#[test]
fn a_reader_sees_what_was_saved_while_the_writer_goes_on() {
    let folder = folder();
    let path = folder.path().join("map");
    let mut store = open(&path);
    for number in 1..5 {
        store
            .merge(&delta(&[(peer(number), uses(1))]), NOON)
            .unwrap();
        // As another process would.
        let reader = open::reader(&path).unwrap();
        let map = rows::read(&reader).unwrap();
        assert_eq!(map.relations.len(), number as usize);
    }
}

#[test]
fn a_full_disk_is_an_error_and_the_same_save_works_when_there_is_room() {
    let folder = folder();
    let path = folder.path().join("map");
    let mut store = open(&path);
    store.merge(&delta(&[(peer(0), uses(1))]), NOON).unwrap();
    let limit = |store: &Store, pages: u32| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        let _: i64 = store
            .connection
            .query_row(&sql, [], |row| row.get(0))
            .unwrap();
    };
    limit(&store, 8);
    let many: Vec<_> = (0..5000).map(|number| (peer(number), uses(1))).collect();
    let many = delta(&many);
    for _ in 0..2 {
        let error = store.merge(&many, NOON).unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error}");
    }
    assert_eq!(store.read().unwrap().relations.len(), 1);
    limit(&store, 100_000);
    store.merge(&many, NOON).unwrap();
    assert_eq!(store.read().unwrap().relations.len(), 5000);
    assert_eq!(store.relations, 5000);
}

#[test]
fn a_file_that_cannot_be_written_is_read_all_the_same() {
    let folder = folder();
    let path = folder.path().join("map");
    let mut store = open(&path);
    store.merge(&delta(&map().relations), NOON).unwrap();
    drop(store);
    assert!(open::is_complete(&path), "a writer leaves one file");
    let connection = open::open_immutable(&path).unwrap();
    assert_eq!(rows::read(&connection).unwrap().relations.len(), 9);
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert_eq!(read(&path).unwrap().relations.len(), 9);
}

#[test]
fn imported_addresses_are_relations_of_their_own() {
    let folder = folder();
    let path = folder.path().join("map");
    let limits = Limits {
        max_relations: 12,
        forget: None,
    };
    let mut store = Store::open(&path, limits).unwrap();
    store.merge(&delta(&map().relations), NOON).unwrap();
    let host = Arc::from("box");
    let addresses =
        |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|ip| ip.parse().unwrap()).collect() };
    // One is there already, one is known by another source.
    let list = addresses(&["192.0.2.1", "9.0.0.1", "::ffff:10.1.1.1"]);
    assert_eq!(store.import(&list, &host, NOON).unwrap(), 2);
    assert_eq!(store.import(&list, &host, NOON).unwrap(), 0, "again");
    let error = store.import(&addresses(&["1.1.1.1", "1.1.1.2"]), &host, NOON);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("room for 1 more of these 2"), "{text}");
    let map = store.read().unwrap();
    assert_eq!(map.relations.len(), 11, "nothing of it was imported");
    let known: Vec<_> = map.relations.iter().map(|(relation, _)| relation).collect();
    assert!(known.contains(&&imported("10.1.1.1")));
}

#[test]
fn texts_that_others_wrote_are_escaped_and_ours_stay() {
    let folder = folder();
    let path = folder.path().join("map");
    let mut store = open(&path);
    let ours = crate::names::escape(b"a\\\x1b\xff\xe2\x80\xae\xcc\x81 \"x\"");
    store
        .merge(
            &delta(&[(inbound("1.1.1.1:1", "2.2.2.2", &ours), uses(1))]),
            NOON,
        )
        .unwrap();
    let map = store.read().unwrap();
    assert_eq!(map.relations[0].0.process.as_deref(), Some(&*ours));
    let sql = "UPDATE relation SET process = '\\' || char(27) || '[2J'";
    store.connection.execute(sql, []).unwrap();
    let map = store.read().unwrap();
    assert_eq!(map.relations[0].0.process.as_deref(), Some(r"\\\x1b[2J"));
    for wrong in [
        "peer = 'web'",
        "direction = 'up'",
        "port = 70000",
        "tx = -1",
        "tx = 'x'",
        "source = ''",
    ] {
        let sql = format!("UPDATE relation SET {wrong}");
        let saved = store.connection.unchecked_transaction().unwrap();
        saved.execute(&sql, []).unwrap();
        let error = store.read_inside(&saved).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{wrong}: {error}"
        );
    }
}

#[test]
fn a_hint_of_the_holder_cannot_reach_the_terminal() {
    let folder = folder();
    let path = folder.path().join("map");
    let _first = open(&path);
    std::fs::write(lock::beside(&path, ".lock"), b"\x1b[2Jevil\nx").unwrap();
    let text = Store::open(&path, Limits::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains(r"\x1b[2Jevil;"), "{text}");
}
