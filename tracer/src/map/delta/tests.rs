use super::*;
use crate::record::Bytes;
use crate::sink::samples;

const START: i64 = 1_769_860_800_123_456_789;

fn accumulator() -> Accumulator {
    Accumulator::new(Source::Traced, 1000)
}

fn at(mut record: Record, id: u64, seconds: i64) -> Record {
    record.id = ConnectionId(id);
    record.time = WallTime(START + seconds * 1_000_000_000);
    record
}

fn carrying(mut record: Record, tx: u64, rx: u64) -> Record {
    record.bytes = Some(Bytes {
        tx,
        rx,
        ..Bytes::default()
    });
    record
}

fn only(accumulator: &Accumulator) -> Uses {
    let all: Vec<_> = accumulator.delta.iter().collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].1
}

fn counts(uses: &Uses) -> [u64; 5] {
    [
        uses.connections,
        uses.older,
        uses.failures,
        uses.tx,
        uses.rx,
    ]
}

#[test]
fn a_connection_counts_once_and_its_bytes_once() {
    let mut map = accumulator();
    map.add(&at(samples::inbound(EventKind::Accept), 1, 0));
    assert_eq!(counts(&only(&map)), [1, 0, 0, 0, 0], "at its beginning");
    let traffic = |tx, rx| carrying(samples::inbound(EventKind::Traffic), tx, rx);
    map.add(&at(traffic(10, 1), 1, 1));
    map.add(&at(traffic(20, 2), 1, 2));
    map.add(&at(
        carrying(samples::inbound(EventKind::Close), 35, 4),
        1,
        3,
    ));
    let uses = only(&map);
    assert_eq!(counts(&uses), [1, 0, 0, 35, 4]);
    assert_eq!(uses.first_seen, WallTime(START));
    assert_eq!(uses.last_seen, WallTime(START + 3_000_000_000));
    assert_eq!((uses.pid, uses.uid), (Some(1234), Some(33)));
    assert_eq!(map.increments.remembered(), 0);
}

#[test]
fn what_was_taken_is_not_credited_again() {
    let mut map = accumulator();
    map.add(&at(samples::inbound(EventKind::Accept), 1, 0));
    map.add(&at(
        carrying(samples::inbound(EventKind::Traffic), 10, 1),
        1,
        1,
    ));
    assert_eq!(map.delta.take().len(), 1);
    assert!(map.delta.is_empty());
    map.add(&at(
        carrying(samples::inbound(EventKind::Close), 15, 1),
        1,
        2,
    ));
    assert_eq!(counts(&only(&map)), [0, 0, 0, 5, 0]);
}

#[test]
fn a_connection_whose_beginning_was_not_told_counts_at_its_end_and_from_its_birth() {
    let mut map = accumulator();
    map.add(&at(samples::closed(7, 8), 1, 10));
    let uses = only(&map);
    assert_eq!(counts(&uses), [1, 0, 0, 7, 8]);
    assert_eq!(uses.first_seen.0, uses.last_seen.0 - 3_214_567);
}

#[test]
fn one_that_is_told_of_by_its_traffic_counts_then() {
    let mut map = accumulator();
    map.add(&at(
        carrying(samples::outbound(EventKind::Traffic), 10, 1),
        1,
        0,
    ));
    // Late, and of no further use.
    map.add(&at(samples::outbound(EventKind::Established), 1, 1));
    map.add(&at(
        carrying(samples::outbound(EventKind::OpenAtExit), 10, 1),
        1,
        2,
    ));
    assert_eq!(counts(&only(&map)), [1, 0, 0, 10, 1]);
}

#[test]
fn older_connections_count_apart() {
    let mut map = accumulator();
    let older = |event, tx| Record {
        pre_existing: true,
        ..carrying(samples::inbound(event), tx, 0)
    };
    map.add(&at(older(EventKind::Traffic, 5), 1, 0));
    map.add(&at(older(EventKind::Close, 6), 1, 0));
    map.add(&at(older(EventKind::OpenAtExit, 0), 2, 0));
    assert_eq!(counts(&only(&map)), [0, 2, 0, 6, 0]);
}

#[test]
fn what_nobody_accepted_is_no_use_of_a_service() {
    let mut map = accumulator();
    for pre_existing in [false, true] {
        let nobody = Record {
            process: None,
            pre_existing,
            ..carrying(samples::inbound(EventKind::Close), 0, 0)
        };
        map.add(&at(nobody, 1, 0));
    }
    assert!(map.delta.is_empty());
    // Somebody read: only who is not known.
    let somebody = Record {
        process: None,
        ..carrying(samples::inbound(EventKind::Close), 0, 9)
    };
    map.add(&at(somebody, 2, 0));
    assert_eq!(counts(&only(&map)), [1, 0, 0, 0, 9]);
}

#[test]
fn traffic_before_the_process_is_known_waits_for_it() {
    let mut map = accumulator();
    let unknown = Record {
        process: None,
        ..carrying(samples::inbound(EventKind::Traffic), 3, 3)
    };
    map.add(&at(unknown, 1, 0));
    assert!(map.delta.is_empty());
    map.add(&at(samples::inbound(EventKind::Accept), 1, 1));
    map.add(&at(
        carrying(samples::inbound(EventKind::Close), 5, 3),
        1,
        2,
    ));
    assert_eq!(counts(&only(&map)), [1, 0, 0, 5, 3]);
}

#[test]
fn attempts_are_not_connections() {
    let mut map = accumulator();
    map.add(&at(samples::outbound(EventKind::Open), 1, 0));
    map.add(&at(samples::outbound(EventKind::Failed), 1, 1));
    assert_eq!(counts(&only(&map)), [0, 0, 1, 0, 0]);
    // Given up before it was established, and not by a failure.
    map.add(&at(samples::outbound(EventKind::Close), 2, 1));
    assert_eq!(counts(&only(&map)), [0, 0, 1, 0, 0]);
}

#[test]
fn an_inbound_relation_has_the_peer_and_an_outbound_one_the_destination() {
    let mut map = accumulator();
    map.add(&at(samples::inbound(EventKind::Accept), 1, 0));
    map.add(&at(samples::outbound(EventKind::Established), 2, 0));
    let mut relations: Vec<_> = map.delta.iter().map(|(relation, _)| relation).collect();
    relations.sort();
    let [inbound, outbound] = relations[..] else {
        panic!("{relations:?}")
    };
    assert_eq!(inbound.service, Some("10.0.0.5:80".parse().unwrap()));
    assert_eq!(inbound.peer, Some("10.0.0.9".parse().unwrap()));
    assert_eq!(outbound.service, Some("10.0.0.9:443".parse().unwrap()));
    assert_eq!(outbound.peer, None);
    for relation in relations {
        assert_eq!(relation.process.as_deref(), Some("nginx"));
        assert_eq!(relation.other_side(), Some("10.0.0.9".parse().unwrap()));
    }
}

#[test]
fn a_full_delta_counts_what_it_cannot_keep() {
    let mut map = Accumulator::new(Source::Traced, 1);
    map.add(&at(samples::inbound(EventKind::Accept), 1, 0));
    map.add(&at(samples::outbound(EventKind::Established), 2, 0));
    map.add(&at(samples::inbound(EventKind::Accept), 3, 0));
    assert_eq!(counts(&only(&map)), [2, 0, 0, 0, 0]);
    assert_eq!(map.delta.forgotten.unsaved, 1);
    let mut other = Delta::new(10);
    other.append(map.delta.take());
    assert_eq!((other.len(), other.forgotten.unsaved), (1, 1));
}

#[test]
fn a_connection_whose_end_nobody_tells_is_forgotten() {
    let mut map = accumulator();
    map.add(&at(samples::inbound(EventKind::Accept), 1, 0));
    map.vanished(ConnectionId(1));
    assert_eq!(map.increments.remembered(), 0);
}

#[test]
fn the_order_of_records_of_different_connections_does_not_matter() {
    let records: Vec<_> = (0..20_i64)
        .flat_map(|number| {
            let id = u64::try_from(number).unwrap();
            let accept = samples::inbound(EventKind::Accept);
            let traffic = carrying(samples::inbound(EventKind::Traffic), id, 1);
            let close = carrying(samples::inbound(EventKind::Close), 2 * id, 3);
            [(accept, 0), (traffic, 1), (close, 2)]
                .map(|(record, stage)| at(record, id, number + stage))
        })
        .collect();
    let sum = |records: &[Record]| {
        let mut map = accumulator();
        for record in records {
            map.add(record);
        }
        only(&map)
    };
    let mut by_time = records.clone();
    by_time.sort_by_key(|record| record.time);
    assert_eq!(sum(&records), sum(&by_time));
    assert_eq!(counts(&sum(&records)), [20, 0, 0, 380, 60]);
}

#[test]
fn of_connections_without_an_end_only_some_are_remembered() {
    let mut map = accumulator().remembering(4);
    for id in 1..=5 {
        map.add(&at(samples::inbound(EventKind::Accept), id, 0));
    }
    assert!(map.increments.remembered() <= 4);
    // Forgotten: it counts again. Remembered: it does not.
    for (id, connections) in [(1, 6), (4, 6), (5, 6)] {
        map.add(&at(
            carrying(samples::inbound(EventKind::Close), 10, 1),
            id,
            1,
        ));
        assert_eq!(only(&map).connections, connections, "{id}");
    }
}
