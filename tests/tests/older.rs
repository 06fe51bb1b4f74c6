//! Connections that are older than the tracer: what they carried before and since, and whose they
//! are.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde_json::Value;
use tests::compare::{address, assert_closers, assert_equal, finals, number};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Finished, Tracer};
use tests::truth::{End, Truth};

type Key = (bool, SocketAddr, SocketAddr);

/// What the ends carried before the gate, taken out of the truth, which is left with the rest.
fn split(truth: &mut Truth) -> HashMap<Key, (u64, u64)> {
    let mut before = HashMap::new();
    for (inbound, ends) in [(false, &mut truth.clients), (true, &mut truth.servers)] {
        let key = |end: &End| (inbound, end.local, end.remote);
        for end in ends.iter().filter(|end| end.ending == "before") {
            before.insert(key(end), (end.tx, end.rx));
        }
        ends.retain(|end| end.ending != "before");
        for end in ends {
            let (tx, rx) = before[&key(end)];
            end.tx -= tx;
            end.rx -= rx;
            for share in &mut end.users {
                share.tx -= tx;
                share.rx -= rx;
            }
            end.users.retain(|share| share.tx + share.rx > 0);
        }
    }
    before
}

fn assert_before(record: &Value, before: &HashMap<Key, (u64, u64)>) {
    let inbound = record["direction"] == "inbound";
    let key = (
        inbound,
        address(&record["local"]),
        address(&record["remote"]),
    );
    let bytes = &record["bytes"];
    let recorded = (number(&bytes["before_tx"]), number(&bytes["before_rx"]));
    assert_eq!(Some(&recorded), before.get(&key), "{record}");
    assert_eq!(record["pre_existing"], true, "{record}");
    for unknown in ["duration_ns", "latency_ns", "queue_ns"] {
        assert!(record[unknown].is_null(), "{unknown} of {record}");
    }
}

/// Traces what a workload does behind its gate.
fn since_the_gate(connections: u32, options: &str) -> Option<(Finished, Truth)> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let mut workload = Workload::start(&namespace, &format!("older --connections {connections}"));
    workload.ready();
    let tracer = Tracer::start(&namespace, options);
    workload.go();
    let truth = workload.finish();
    Some((tracer.stop().lossless(), truth))
}

#[test]
fn what_older_connections_carry_is_split_into_before_and_since() {
    let Some((finished, mut truth)) = since_the_gate(100, "") else {
        return;
    };
    let before = split(&mut truth);
    assert_eq!(truth.ends().count(), 200);
    assert_equal(&finished, truth.ends());
    assert_closers(&finished, &truth, |_| true);
    for record in finals(&finished) {
        assert_before(record, &before);
    }
    for event in ["open", "established", "accept"] {
        assert!(finished.events(event).is_empty(), "{event}");
    }
    let (tx, rx) = truth.bytes();
    assert_eq!(assert_sums(&finished.summary), [0, 0, 0, 0, 0, tx, rx]);
    assert_eq!(finished.summary["total"]["pre_existing"], 200);
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
}

#[test]
fn the_same_by_the_counters_of_each_socket() {
    let Some((finished, mut truth)) = since_the_gate(100, "--accounting socket") else {
        return;
    };
    let before = split(&mut truth);
    let truth = truth.credited_to_owners();
    assert_equal(&finished, truth.ends());
    for record in finals(&finished) {
        assert_before(record, &before);
    }
}

#[test]
fn ten_thousand_older_sockets_are_exact() {
    let Some((finished, mut truth)) = since_the_gate(5000, "") else {
        return;
    };
    let before = split(&mut truth);
    assert_eq!(truth.ends().count(), 10_000);
    assert_equal(&finished, truth.ends());
    for record in finals(&finished) {
        assert_before(record, &before);
    }
}

#[test]
fn what_is_still_open_at_the_end_is_told_with_what_it_carried_before() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut workload = Workload::start(&namespace, "hold --connections 6");
    workload.ready();
    let finished = Tracer::start(&namespace, "").stop().lossless();
    let truth = workload.finish();
    let records = finished.events("open_at_exit");
    assert_eq!(records.len(), 12);
    for record in records {
        let (local, remote) = (address(&record["local"]), address(&record["remote"]));
        let mut ends = truth.ends();
        let (inbound, end) = ends
            .find(|(_, end)| (end.local, end.remote) == (local, remote))
            .unwrap_or_else(|| panic!("{record}"));
        assert_eq!(record["direction"] == "inbound", inbound, "{record}");
        assert_eq!(
            record["process"]["pid"].as_u64(),
            end.owner_pid.map(u64::from)
        );
        let bytes = &record["bytes"];
        // Without hooks that see bytes, they are known at the end only.
        if finished.sees_users() != (true, true) {
            assert!(bytes.is_null(), "{record}");
            continue;
        }
        assert_eq!(number(&bytes["tx"]) + number(&bytes["rx"]), 0, "{record}");
        assert_eq!(
            (number(&bytes["before_tx"]), number(&bytes["before_rx"])),
            (end.tx, end.rx)
        );
    }
    assert_eq!(finished.summary["total"]["open"], 12);
}

#[test]
fn a_filter_on_the_process_finds_its_older_connections() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut workload = Workload::start(&namespace, "older --connections 20");
    let pid = workload.ready().clients[0].owner_pid.expect("an owner");
    let tracer = Tracer::start(&namespace, &format!("--pid {pid}"));
    workload.go();
    let mut truth = workload.finish();
    let finished = tracer.stop().lossless();
    split(&mut truth);
    truth.servers.clear();
    assert_equal(&finished, truth.ends());
}

#[test]
fn older_connections_that_find_no_room_are_counted() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut workload = Workload::start(&namespace, "older --connections 20");
    workload.ready();
    let tracer = Tracer::start(&namespace, "--max-connections 8");
    workload.go();
    workload.finish();
    let finished = tracer.stop();
    let total = &finished.summary["total"];
    let missing = number(&finished.summary["loss"]["untracked_older"]);
    assert_eq!(number(&total["pre_existing"]) + missing, 40);
    assert!(missing > 0);
}
