//! What happens when there is too little room: what can be kept is exact, the rest is counted.

use rustix::process::Signal;
use tests::compare::{assert_equal, assert_whole_lives, finals};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Finished, Tracer};
use tests::truth::Truth;

fn churn(options: &str, connections: u32) -> Option<(Finished, Truth)> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, options);
    let truth = Workload::run(&namespace, &format!("churn --connections {connections}"));
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    Some((finished, truth))
}

fn loss(finished: &Finished, name: &str) -> u64 {
    let count = &finished.summary["loss"][name];
    count
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {}", finished.summary["loss"]))
}

/// The tables have every one of so many connections, and every byte.
fn assert_all_counted(finished: &Finished, truth: &Truth, connections: u64) {
    let (tx, rx) = truth.bytes();
    assert_eq!(
        assert_sums(&finished.summary),
        [connections, connections, 0, 0, 0, tx, rx]
    );
}

#[test]
fn totals_are_exact_with_the_smallest_ring() {
    let Some((finished, truth)) = churn("--ring-size 4096", 2000) else {
        return;
    };
    assert_all_counted(&finished, &truth, 2000);
    assert!(
        loss(&finished, "late_news") > 0,
        "a page does not hold this many records"
    );
    for name in [
        "lost_connections",
        "lost_tx",
        "lost_rx",
        "untracked_inbound",
        "untracked_tx",
    ] {
        assert_eq!(loss(&finished, name), 0, "{name}");
    }
    let folded = loss(&finished, "folded_connections");
    assert_eq!(finals(&finished).len() as u64 + folded, 4_000);
    if folded == 0 {
        assert_equal(&finished, truth.ends());
        assert_eq!(
            Tables::of_records(&finished.records),
            Tables::of_summary(&finished.summary)
        );
    }
    let text = finished.stderr.to_lowercase();
    assert!(
        text.contains("late"),
        "the summary tells what was late: {text}"
    );
}

#[test]
fn what_the_connection_table_has_no_room_for_is_counted() {
    let Some((finished, truth)) = churn("--max-connections 8", 1200) else {
        return;
    };
    let total = assert_sums(&finished.summary);
    let untracked = ["inbound", "outbound", "tx", "rx"];
    let [inbound, outbound, lost_tx, lost_rx] =
        untracked.map(|name| loss(&finished, &format!("untracked_{name}")));
    let (tx, rx) = truth.bytes();
    assert!(inbound + outbound > 0, "eight entries are too few");
    assert_eq!(total[0] + total[3] + inbound, 1200, "inbound connections");
    assert_eq!(total[1] + total[2] + outbound, 1200, "outbound connections");
    assert_eq!((total[5] + lost_tx, total[6] + lost_rx), (tx, rx), "bytes");
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
}

#[test]
fn what_other_sockets_carry_is_not_counted_as_missing() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--max-connections 8");
    let churn = Workload::run(&namespace, "churn --connections 1200");
    // Descriptors are passed over Unix stream sockets, with data.
    let passed = Workload::run(&namespace, "path --name passed_descriptor --connections 3");
    let finished = tracer.stop();
    let total = assert_sums(&finished.summary);
    let lost = ["tx", "rx"].map(|name| loss(&finished, &format!("untracked_{name}")));
    assert!(lost[0] > 0, "eight entries are too few");
    let bytes = (churn.bytes(), passed.bytes());
    let expected = (bytes.0.0 + bytes.1.0, bytes.0.1 + bytes.1.1);
    assert_eq!((total[5] + lost[0], total[6] + lost[1]), expected, "bytes");
}

#[test]
fn strict_fails_when_something_is_missing() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--max-connections 1 --strict");
    Workload::run(&namespace, "hold");
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(loss(&finished, "untracked_outbound") > 0);
    let tracer = Tracer::start(&namespace, "--strict");
    Workload::run(&namespace, "hold");
    assert_eq!(tracer.stop().lossless().events("close").len(), 12);
}

/// A tracer that gets no processor time while 10,000 connection ends come and go.
fn held_up(options: &str) -> Option<(Finished, Truth)> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, options);
    tracer.signal(Signal::STOP);
    let truth = Workload::run(&namespace, "churn --connections 5000");
    tracer.signal(Signal::CONT);
    let finished = tracer.stop();
    assert_all_counted(&finished, &truth, 5000);
    assert!(
        loss(&finished, "late_news") > 0,
        "the ring was large enough"
    );
    Some((finished, truth))
}

#[test]
fn a_tracer_that_was_held_up_tells_everything_late() {
    let Some((finished, truth)) = held_up("--ring-size 1MiB") else {
        return;
    };
    let finished = finished.lossless();
    assert_equal(&finished, truth.ends());
    assert_whole_lives(&finished);
}

#[test]
fn what_finds_every_buffer_full_is_kept_as_sums() {
    let Some((finished, _)) = held_up("--max-connections 2048 --ring-size 4096") else {
        return;
    };
    let folded = loss(&finished, "folded_connections");
    assert!(
        folded > 0,
        "the pending connections have less room than this"
    );
    assert_eq!(finals(&finished).len() as u64 + folded, 10_000);
    for name in [
        "lost_connections",
        "untracked_inbound",
        "untracked_outbound",
        "output_dropped",
    ] {
        assert_eq!(loss(&finished, name), 0, "{name}");
    }
    assert!(
        finished.stderr.contains("without their peer"),
        "{}",
        finished.stderr
    );
}
