//! The tables at the end: equal to the records added up, and to the truth.

use tests::compare::{assert_equal, finals};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums, columns};
use tests::tracer::Tracer;
use tests::truth::Truth;

#[test]
fn records_of_closed_and_open_connections_add_up_to_the_tables() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let mut held = Workload::start(&namespace, "hold --connections 7");
    held.ready();
    let truths = [
        "churn --connections 600",
        "worker-io",
        "refused",
        "never-accepted",
    ]
    .map(|scenario| Workload::run(&namespace, scenario));
    let finished = tracer.stop().lossless();
    let held = held.finish();
    let all = || truths.iter().chain([&held]).flat_map(Truth::ends);
    assert_equal(&finished, all());
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
    let bytes = all().fold([0, 0], |[tx, rx], (_, end)| [tx + end.tx, rx + end.rx]);
    let [_, handed, refused, never] = truths.each_ref().map(|truth| truth.clients.len() as u64);
    assert_eq!((handed, refused, never), (6, 0, 6));
    let [accepts, connects] = [600 + 6 + 7, 600 + 6 + 6 + 7];
    let expected = [accepts, connects, 6, 6, 14, bytes[0], bytes[1]];
    assert_eq!(assert_sums(&finished.summary), expected);
    assert_eq!(finished.summary["event"], "summary");
    assert!(
        finished.summary["backend"]
            .as_str()
            .is_some_and(|name| !name.is_empty())
    );
    assert!(finished.summary["duration_ns"].as_u64() > Some(0));
}

#[test]
fn connections_that_are_still_open_are_reported_with_their_bytes_so_far() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let mut held = Workload::start(&namespace, "hold --connections 5");
    held.ready();
    let finished = tracer.stop().lossless();
    let truth = held.finish();
    assert_eq!(finished.events("open_at_exit").len(), 10);
    assert_eq!(finals(&finished).len(), 10);
    assert_equal(&finished, truth.ends());
}

#[test]
fn rows_are_sorted_and_the_text_goes_to_standard_error_with_json_records() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    Workload::run(&namespace, "churn --connections 240");
    let finished = tracer.stop().lossless();
    assert!(!finished.stdout.is_empty() && finished.stdout.ends_with(b"\n"));
    assert!(
        finished.stderr.contains("ready: backend"),
        "{}",
        finished.stderr
    );
    for table in ["ports", "processes", "peers"] {
        let rows = finished.summary[table].as_array().expect("a table");
        // Connections first, bytes where these are equal.
        let busy = |row: &serde_json::Value| {
            let [accepts, connects, failures, unaccepted, _, tx, rx] = columns(row);
            (accepts + connects + failures + unaccepted, tx + rx)
        };
        assert!(!rows.is_empty());
        assert!(
            rows.is_sorted_by_key(|row| std::cmp::Reverse(busy(row))),
            "{table}: {rows:#?}"
        );
    }
}
