//! Thousands of short connections with every kind of ending: each end is right, none is missing.

use std::collections::HashSet;
use std::net::SocketAddr;

use tests::compare::{assert_closers, assert_equal, assert_whole_lives};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::Tracer;
use tests::truth::Truth;

/// Endings in which this end's own process is the one that closes while TCP is still alive.
const ORDERLY: [&str; 6] = [
    "client_closes",
    "server_closes",
    "upload",
    "download",
    "half_close",
    "silent",
];

#[test]
fn all_of_ten_thousand_ends_are_exact() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--debug");
    let truth = Workload::run(&namespace, "churn --connections 5000");
    let finished = tracer.stop().lossless();
    assert_eq!(truth.ends().count(), 10_000);
    assert_equal(&finished, truth.ends());
    assert_whole_lives(&finished);
    let still_open = finished.events("open_at_exit");
    let skipped = &finished.summary["loss"]["missed_probes"];
    assert!(
        still_open.is_empty(),
        "{still_open:#?} with {skipped} skipped probe runs"
    );
    assert_eq!(finished.events("open").len(), 5000);
    assert_eq!(finished.events("established").len(), 5000);
    assert_eq!(finished.events("accept").len(), 5000);
    assert_eq!(finished.events("close").len(), 10_000);
    let (tx, rx) = truth.bytes();
    assert_eq!(
        assert_sums(&finished.summary),
        [5000, 5000, 0, 0, 0, tx, rx]
    );
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
    // A server whose client resets at once has a silent end without an orderly close.
    let reset = reset_at_once(&truth);
    assert_closers(&finished, &truth, |end| {
        ORDERLY.contains(&end.ending.as_str()) && !reset.contains(&end.remote)
    });
}

/// The clients that reset their connections as soon as they had them.
fn reset_at_once(truth: &Truth) -> HashSet<SocketAddr> {
    let clients = truth.clients.iter();
    clients
        .filter(|end| end.ending == "reset_at_once")
        .map(|end| end.local)
        .collect()
}

#[test]
fn who_sends_receives_or_closes_owns_what_it_accepted_without_accept_hooks() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--accept-hooks off");
    let truth = Workload::run(&namespace, "churn --connections 1200");
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    assert_sums(&finished.summary);
}
