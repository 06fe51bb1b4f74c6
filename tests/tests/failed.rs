//! Attempts without a connection, and connections that nobody takes.

use tests::compare::{address, assert_equal, assert_whole_lives};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::assert_sums;
use tests::tracer::Tracer;

#[test]
fn a_refused_attempt_is_one_failed_record() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, "refused --connections 8");
    let finished = tracer.stop().lossless();
    let failed = finished.events("failed");
    assert_eq!((failed.len(), finished.events("close").len()), (8, 0));
    for attempt in &truth.failed {
        let matches = failed.iter().filter(|record| {
            let local = address(&record["local"]);
            // The port that the kernel chose is known to the tracer only.
            let bound = attempt.local.is_none_or(|bound| bound == local);
            bound
                && local.port() != 0
                && address(&record["remote"]) == attempt.remote
                && record["reason"] == attempt.reason.as_str()
                && record["process"]["pid"] == attempt.owner_pid
                && record["direction"] == "outbound"
        });
        let expected = if attempt.local.is_some() { 1 } else { 8 };
        assert_eq!(matches.count(), expected, "{attempt:?} in {failed:#?}");
    }
    assert_whole_lives(&finished);
    assert_eq!(assert_sums(&finished.summary), [0, 0, 8, 0, 0, 0, 0]);
}

#[test]
fn an_orderly_connection_is_never_failed() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    Workload::run(&namespace, "echo");
    let finished = tracer.stop().lossless();
    assert_eq!(finished.events("failed").len(), 0);
    assert_eq!(finished.events("close").len(), 20);
}

#[test]
fn a_connection_that_nobody_accepts_has_no_owner() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, "never-accepted --connections 10");
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    assert_whole_lives(&finished);
    assert_eq!(finished.events("accept").len(), 0);
    for record in finished
        .events("close")
        .iter()
        .filter(|r| r["direction"] == "inbound")
    {
        assert_eq!(record["bytes"]["unread"], 100, "{record}");
    }
    assert_eq!(assert_sums(&finished.summary), [0, 10, 0, 10, 0, 1000, 0]);
}
