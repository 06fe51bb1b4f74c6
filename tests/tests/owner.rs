//! Acceptor, worker, client and closer are different processes, and are told apart.

use tests::compare::{assert_closers, assert_equal, assert_whole_lives};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::Tracer;

fn assert_exact(scenario: &str) {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, scenario);
    let finished = tracer.stop().lossless();
    assert!(truth.ends().any(|(_, end)| end.closer_pid != end.owner_pid));
    assert_equal(&finished, truth.ends());
    assert_closers(&finished, &truth, |_| true);
    assert_whole_lives(&finished);
    assert_sums(&finished.summary);
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
}

#[test]
fn the_acceptor_owns_what_its_child_serves_and_closes() {
    assert_exact("fork-after-accept --connections 20");
}

#[test]
fn the_connecting_process_owns_what_its_child_uses_and_closes() {
    assert_exact("fork-after-connect --connections 20");
}

#[test]
fn bytes_are_split_between_acceptor_and_worker() {
    assert_exact("worker-io --connections 21");
}
