use super::*;
use crate::record::Process;
use crate::sink::samples::{inbound, outbound};
use crate::wire::Wire;

const OWNER: u32 = 1234;

fn at(record: Record, id: u64) -> Record {
    Record {
        id: ConnectionId(id),
        ..record
    }
}

fn carrying(record: Record, tx: u64, rx: u64) -> Record {
    Record {
        bytes: Some(Bytes {
            tx,
            rx,
            ..Bytes::default()
        }),
        ..record
    }
}

fn user(pid: u32, tx: u64, rx: u64) -> User {
    User {
        pid,
        name: "worker".into(),
        uid: 33,
        start_ns: 5,
        tx,
        rx,
    }
}

fn by(record: Record, users: &[User]) -> Record {
    Record {
        users: users.iter().cloned().collect(),
        ..record
    }
}

/// Accepts, connects, failures, unaccepted, older, tx, rx.
fn numbers(counts: &Counts) -> [u64; 7] {
    assert_eq!(counts.open, 0);
    [
        counts.accepts,
        counts.connects,
        counts.failures,
        counts.unaccepted,
        counts.pre_existing,
        counts.tx,
        counts.rx,
    ]
}

fn movers(increment: &Increment) -> Vec<(u32, u64, u64)> {
    let users = increment.users.iter();
    users.map(|user| (user.pid, user.tx, user.rx)).collect()
}

fn increments() -> Increments {
    Increments::new().by_process().with_sums()
}

fn all(increments: &mut Increments, records: &[Record]) -> Vec<Option<[u64; 7]>> {
    let each = |record| increments.add(record).map(|it| numbers(&it.counts));
    records.iter().map(each).collect()
}

#[test]
fn a_connection_counts_at_its_beginning_and_its_bytes_as_they_move() {
    let mut increments = increments();
    let records = [
        inbound(EventKind::Accept),
        carrying(inbound(EventKind::Traffic), 10, 1),
        carrying(inbound(EventKind::Traffic), 20, 2),
        inbound(EventKind::Ended),
        by(
            carrying(inbound(EventKind::Close), 35, 4),
            &[user(OWNER, 35, 4)],
        ),
    ];
    assert_eq!(
        all(&mut increments, &records),
        [
            Some([1, 0, 0, 0, 0, 0, 0]),
            Some([0, 0, 0, 0, 0, 10, 1]),
            Some([0, 0, 0, 0, 0, 20, 2]),
            None,
            Some([0, 0, 0, 0, 0, 5, 1]),
        ]
    );
    assert_eq!(increments.remembered(), 0);
}

#[test]
fn an_attempt_counts_when_it_is_established_or_has_failed() {
    let mut increments = increments();
    let records = [
        at(outbound(EventKind::Open), 1),
        // Data that goes with the SYN.
        at(carrying(outbound(EventKind::Traffic), 7, 0), 1),
        at(outbound(EventKind::Failed), 1),
        at(outbound(EventKind::Open), 2),
        at(carrying(outbound(EventKind::Traffic), 7, 0), 2),
        at(outbound(EventKind::Established), 2),
        at(
            by(
                carrying(outbound(EventKind::OpenAtExit), 9, 0),
                &[user(OWNER, 9, 0)],
            ),
            2,
        ),
    ];
    assert_eq!(
        all(&mut increments, &records),
        [
            None,
            None,
            Some([0, 0, 1, 0, 0, 0, 0]),
            None,
            None,
            Some([0, 1, 0, 0, 0, 0, 0]),
            Some([0, 0, 0, 0, 0, 9, 0]),
        ]
    );
}

#[test]
fn what_was_told_by_its_end_only_counts_there() {
    let mut increments = increments();
    let unaccepted = Record {
        process: None,
        ..carrying(inbound(EventKind::Close), 0, 0)
    };
    let older = Record {
        pre_existing: true,
        ..carrying(inbound(EventKind::OpenAtExit), 3, 4)
    };
    let established = Record {
        latency_ns: Some(1),
        ..carrying(outbound(EventKind::Close), 5, 6)
    };
    let records = [at(unaccepted, 1), at(older, 2), at(established, 3)];
    assert_eq!(
        all(&mut increments, &records),
        [
            Some([0, 0, 0, 1, 0, 0, 0]),
            Some([0, 0, 0, 0, 1, 3, 4]),
            Some([0, 1, 0, 0, 0, 5, 6]),
        ]
    );
}

#[test]
fn an_older_connection_counts_at_its_first_sign_and_bytes_of_nobody_at_once() {
    let mut increments = increments();
    let older = |record: Record| Record {
        pre_existing: true,
        process: None,
        ..record
    };
    let traffic = older(carrying(inbound(EventKind::Traffic), 5, 6));
    let increment = increments.add(&traffic).unwrap();
    assert_eq!(numbers(&increment.counts), [0, 0, 0, 0, 1, 5, 6]);
    assert_eq!(movers(&increment), []);
    let close = older(carrying(inbound(EventKind::Close), 8, 6));
    let increment = increments.add(&close).unwrap();
    assert_eq!(numbers(&increment.counts), [0, 0, 0, 0, 0, 3, 0]);
}

#[test]
fn who_moved_bytes_is_told_as_they_move_and_adds_up_to_what_the_end_says() {
    let mut increments = increments();
    increments.add(&inbound(EventKind::Accept));
    let steps = [
        carrying(inbound(EventKind::Traffic), 10, 0),
        by(
            carrying(inbound(EventKind::Traffic), 25, 3),
            &[user(OWNER, 5, 0), user(9, 20, 3)],
        ),
        by(
            carrying(inbound(EventKind::Close), 100, 3),
            &[user(OWNER, 15, 0), user(9, 80, 3), user(7, 1, 0)],
        ),
    ];
    let told: Vec<_> = steps.iter().map(|it| increments.add(it).unwrap()).collect();
    let users: Vec<_> = told.iter().map(movers).collect();
    assert_eq!(
        users,
        [
            vec![(OWNER, 10, 0)],
            vec![(OWNER, 5, 0), (9, 20, 3)],
            vec![(9, 60, 0), (7, 1, 0)],
        ]
    );
    // Four bytes are nobody's.
    assert_eq!(numbers(&told[2].counts), [0, 0, 0, 0, 0, 65, 0]);
}

#[test]
fn bytes_whose_process_may_still_become_known_wait_for_it() {
    let mut increments = increments();
    increments.add(&inbound(EventKind::Accept));
    let mut traffic = by(
        carrying(inbound(EventKind::Traffic), 30, 0),
        &[user(OWNER, 10, 0)],
    );
    traffic.bytes.as_mut().unwrap().unattributed_tx = Some(20);
    let increment = increments.add(&traffic).unwrap();
    assert_eq!(numbers(&increment.counts)[5], 10);
    let found = by(
        carrying(inbound(EventKind::Traffic), 1, 0),
        &[user(9, 21, 0)],
    );
    let increment = increments.add(&found).unwrap();
    assert_eq!(
        (numbers(&increment.counts)[5], movers(&increment)),
        (21, vec![(9, 21, 0)])
    );
    let close = by(
        carrying(inbound(EventKind::Close), 31, 0),
        &[user(OWNER, 10, 0), user(9, 21, 0)],
    );
    assert_eq!(increments.add(&close), Some(Increment::default()));
}

#[test]
fn without_processes_all_bytes_count_as_they_move() {
    let mut increments = Increments::new();
    let mut traffic = carrying(inbound(EventKind::Traffic), 30, 0);
    traffic.bytes.as_mut().unwrap().unattributed_tx = Some(20);
    let increment = increments.add(&traffic).unwrap();
    assert!(increment.begins && increment.users.is_empty());
    assert_eq!(numbers(&increment.counts), [1, 0, 0, 0, 0, 30, 0]);
}

#[test]
fn records_that_contradict_each_other_never_tell_more_than_the_end() {
    let mut increments = increments();
    increments.add(&inbound(EventKind::Accept));
    // All of it is the owner's, it says,
    increments.add(&carrying(inbound(EventKind::Traffic), 30, 0));
    // and then, that none was.
    let close = by(
        carrying(inbound(EventKind::Close), 40, 0),
        &[user(9, 40, 0)],
    );
    let increment = increments.add(&close).unwrap();
    assert_eq!(numbers(&increment.counts)[5], 10);
    assert_eq!(movers(&increment), [(9, 10, 0)]);
}

#[test]
fn what_was_on_the_wire_is_new_at_the_end_whatever_was_told_before() {
    let wire = Wire {
        segments_out: 3,
        segments_in: 4,
        wire_bytes_out: 200,
        wire_bytes_in: 300,
    };
    let telling = |record: Record, id| Record {
        wire: Some(wire),
        ..at(record, id)
    };
    let mut increments = increments();
    for (record, told) in [
        (at(inbound(EventKind::Accept), 1), None),
        (at(carrying(inbound(EventKind::Traffic), 10, 1), 1), None),
        (telling(inbound(EventKind::Close), 1), Some(wire)),
        (at(outbound(EventKind::Established), 2), None),
        (telling(outbound(EventKind::OpenAtExit), 2), Some(wire)),
        (telling(outbound(EventKind::Failed), 3), Some(wire)),
        (telling(inbound(EventKind::Close), 4), Some(wire)),
        (at(inbound(EventKind::Close), 5), None),
    ] {
        let increment = increments.add(&record).unwrap();
        assert_eq!(increment.counts.wire, told, "{record:?}");
    }
}

fn key_of(record: &Record) -> FoldedKey {
    let Process {
        pid, uid, start_ns, ..
    } = *record.process.as_ref().unwrap();
    FoldedKey {
        start_ns,
        remote_ip: [0; 16],
        netns: record.netns,
        tgid: pid,
        uid,
        port: 80,
        inbound: 1,
    }
}

#[test]
fn of_sums_only_what_was_not_credited_is_new() {
    let mut increments = increments();
    for id in 1..=3 {
        increments.add(&at(inbound(EventKind::Accept), id));
    }
    increments.add(&at(carrying(inbound(EventKind::Traffic), 10, 1), 1));
    let by_worker = by(
        carrying(inbound(EventKind::Traffic), 20, 0),
        &[user(9, 20, 0)],
    );
    increments.add(&at(by_worker, 2));
    // Of one of three the end is told; the others, and one never heard of, are in a sum.
    increments.add(&at(carrying(inbound(EventKind::Traffic), 4, 0), 3));
    let close = by(
        carrying(inbound(EventKind::Close), 5, 0),
        &[user(OWNER, 5, 0)],
    );
    increments.add(&at(close, 3));
    increments.vanished(ConnectionId(1));
    let sum = FoldedTotals {
        connections: 3,
        tx: 100,
        rx: 2,
        owner_tx: 50,
        owner_rx: 2,
        ..FoldedTotals::EMPTY
    };
    let key = key_of(&inbound(EventKind::Accept));
    let rest = FoldedTotals {
        connections: 1,
        tx: 70,
        rx: 1,
        owner_tx: 40,
        owner_rx: 1,
        ..FoldedTotals::EMPTY
    };
    assert_eq!(increments.rest_of(&key, &sum), rest);
    // Only once.
    assert_eq!(increments.rest_of(&key, &sum), sum);
    let elsewhere = FoldedKey { port: 81, ..key };
    assert_eq!(increments.rest_of(&elsewhere, &sum), sum);
}
