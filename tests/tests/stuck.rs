//! Tasks that were in the middle of a receive or send call when the tracer started.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use serde_json::Value;
use tests::compare::{address, finals, number};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Finished, Tracer};
use tests::truth::{End, Truth};

type Key = (bool, SocketAddr, SocketAddr);

/// What a record says of one direction.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    before: u64,
    since: u64,
    /// Of that, by the process whose connection it is.
    by_owner: u64,
}

fn trace(line: &str) -> Option<(Finished, Truth)> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let mut workload = Workload::start(&namespace, line);
    workload.ready();
    let tracer = Tracer::start(&namespace, "");
    workload.go();
    let truth = workload.finish();
    let finished = tracer.stop().lossless();
    assert_sums(&finished.summary);
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
    Some((finished, truth))
}

fn way(record: &Value, direction: &str) -> Way {
    let bytes = &record["bytes"];
    let owner = &record["process"]["pid"];
    let users = record["users"].as_array().into_iter().flatten();
    for user in users.clone() {
        assert_eq!(&user["pid"], owner, "nobody else used it: {record}");
    }
    Way {
        before: number(&bytes[format!("before_{direction}")]),
        since: number(&bytes[direction]),
        by_owner: users.map(|user| number(&user[direction])).sum(),
    }
}

/// Checks one connection end after the other. `spans`: whether a call sends, and whether one
/// receives, a part before the start and a part after it.
fn assert_ends(
    finished: &Finished,
    truth: &Truth,
    tasks: usize,
    spans: impl Fn(&End) -> [bool; 2],
) {
    let mut before: HashMap<Key, (u64, u64)> = HashMap::new();
    let mut whole: HashMap<Key, &End> = HashMap::new();
    for (inbound, end) in truth.ends() {
        let key = (inbound, end.local, end.remote);
        if end.ending == "before" {
            before.insert(key, (end.tx, end.rx));
        } else {
            whole.insert(key, end);
        }
    }
    assert_eq!((before.len(), whole.len()), (2 * tasks, 2 * tasks));
    let records = finals(finished);
    assert_eq!(records.len(), 2 * tasks);
    let sees = finished.sees_users();
    for record in records {
        let inbound = record["direction"] == "inbound";
        let key = (
            inbound,
            address(&record["local"]),
            address(&record["remote"]),
        );
        let end = whole
            .remove(&key)
            .unwrap_or_else(|| panic!("twice: {record}"));
        assert_eq!(
            record["process"]["pid"].as_u64(),
            end.owner_pid.map(u64::from),
            "{record}"
        );
        assert_eq!(record["pre_existing"], true, "{record}");
        let (tx, rx) = before[&key];
        for (direction, total, known, spans, sees) in [
            ("tx", end.tx, tx, spans(end)[0], sees.0),
            ("rx", end.rx, rx, spans(end)[1], sees.1),
        ] {
            let way = way(record, direction);
            if spans {
                assert!(way.before > known && way.since > 0, "{direction}: {record}");
            } else {
                assert_eq!(way.before, known, "{direction} of {end:?}: {record}");
            }
            assert_eq!(
                way.before + way.since,
                total,
                "{direction} of {end:?}: {record}"
            );
            if sees {
                assert_eq!(way.by_owner, way.since, "{direction} of {end:?}: {record}");
            }
        }
    }
}

fn servers(truth: &Truth) -> BTreeSet<u32> {
    truth.pids("server").into_iter().collect()
}

fn is_of(processes: &BTreeSet<u32>, end: &End) -> bool {
    end.owner_pid.is_some_and(|pid| processes.contains(&pid))
}

#[test]
fn bytes_for_a_thousand_tasks_blocked_in_receive_are_theirs() {
    let Some((finished, truth)) = trace("stuck --call receive --tasks 1024 --processes 64") else {
        return;
    };
    assert_eq!(servers(&truth).len(), 64);
    assert_ends(&finished, &truth, 1024, |_| [false, false]);
}

#[test]
fn a_receive_call_that_got_a_part_before_the_start_gets_the_rest_after_it() {
    let Some((finished, truth)) = trace("stuck --call receive-all --tasks 64 --processes 4") else {
        return;
    };
    let servers = servers(&truth);
    assert_ends(&finished, &truth, 64, |end| [false, is_of(&servers, end)]);
}

#[test]
fn bytes_of_a_thousand_tasks_blocked_in_send_are_theirs() {
    let Some((finished, truth)) = trace("stuck --call send --tasks 1024 --processes 64") else {
        return;
    };
    let servers = servers(&truth);
    assert_eq!(servers.len(), 64);
    assert_ends(&finished, &truth, 1024, |end| [is_of(&servers, end), false]);
}
