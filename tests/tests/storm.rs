//! Processes that die in crowds and attempts that nobody answers: all are told, nothing stays.

use std::collections::BTreeMap;

use tests::compare::{address, assert_closers, assert_equal, assert_whole_lives, finals, number};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::kept::wait_until_empty;
use tests::namespace::Namespace;
use tests::tables::assert_sums;
use tests::tracer::Tracer;

#[test]
fn two_hundred_processes_killed_at_once_leave_exact_records_and_no_entry() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let mut workload = Workload::start(&namespace, "killed-at-once --connections 200");
    workload.ready();
    workload.go();
    let truth = workload.finish();
    wait_until_empty(tracer.pid());
    let finished = tracer.stop().lossless();
    assert_eq!(truth.ends().count(), 600);
    assert_equal(&finished, truth.ends());
    assert_whole_lives(&finished);
    assert_closers(&finished, &truth, |_| true);
    assert_eq!(finished.events("open_at_exit").len(), 0);
    let (tx, rx) = truth.bytes();
    assert_eq!(assert_sums(&finished.summary), [300, 300, 0, 0, 0, tx, rx]);

    let mut closers: BTreeMap<_, [&str; 2]> = BTreeMap::new();
    for end in finals(&finished) {
        let (local, remote) = (address(&end["local"]), address(&end["remote"]));
        let inbound = end["direction"] == "inbound";
        // A client's port may be used again with another server.
        let ends = if inbound {
            (remote, local)
        } else {
            (local, remote)
        };
        let by = end["closed_by"].as_str().unwrap_or_else(|| panic!("{end}"));
        closers.entry(ends).or_default()[usize::from(inbound)] = by;
        let unread = if inbound && number(&end["bytes"]["rx"]) == 500 {
            64
        } else {
            0
        };
        assert!(
            [0, unread].contains(&number(&end["bytes"]["unread"])),
            "{end}"
        );
    }
    for (ends, by) in closers {
        let first = [["local", "remote"], ["remote", "local"], ["local", "local"]];
        assert!(first.contains(&by), "{ends:?}: {by:?}");
    }
}

#[test]
fn five_hundred_attempts_that_nobody_answers_are_a_failed_record_each_and_leave_no_entry() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, "unanswered --connections 500");
    wait_until_empty(tracer.pid());
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    assert_whole_lives(&finished);
    let told = |record: &&serde_json::Value| {
        assert_eq!(record["direction"], "outbound", "{record}");
        let reason = record["reason"]
            .as_str()
            .unwrap_or_else(|| panic!("{record}"));
        let pid = number(&record["process"]["pid"]);
        (address(&record["local"]), reason.to_owned(), pid)
    };
    let mut told: Vec<_> = finished.events("failed").iter().map(told).collect();
    let truths = truth.failed.iter();
    let mut expected: Vec<_> = truths
        .map(|attempt| {
            let local = attempt.local.expect("the port was asked for");
            (local, attempt.reason.clone(), u64::from(attempt.owner_pid))
        })
        .collect();
    told.sort();
    expected.sort();
    assert_eq!(expected.len(), 500);
    assert_eq!(told, expected);
    assert_eq!(finished.events("open_at_exit").len(), 0);
    // And the one connection that filled the queue.
    assert_eq!(assert_sums(&finished.summary), [0, 1, 500, 1, 0, 100, 0]);
}
