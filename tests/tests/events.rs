//! `--events`: how much is told between a connection's beginning and its end.

use std::collections::BTreeMap;

use tests::compare::{assert_equal, assert_whole_lives, number};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::traffic;
use tests::tracer::{Finished, Tracer};

fn trace(options: &str, scenarios: &[&str]) -> Option<Finished> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, options);
    let truths = scenarios
        .iter()
        .map(|scenario| Workload::run(&namespace, scenario))
        .collect::<Vec<_>>();
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truths.iter().flat_map(tests::truth::Truth::ends));
    assert_whole_lives(&finished);
    Some(finished)
}

/// Bytes by connection and process.
type Moved = BTreeMap<(String, u64), (u64, u64)>;

fn moved(finished: &Finished, event: &str) -> Moved {
    let mut moved = Moved::new();
    for record in finished.events(event) {
        let id = record["id"].as_str().expect("an id");
        for user in record["users"].as_array().into_iter().flatten() {
            let sums = moved.entry((id.to_owned(), number(&user["pid"])));
            let (tx, rx) = sums.or_default();
            *tx += number(&user["tx"]);
            *rx += number(&user["rx"]);
        }
    }
    moved.retain(|_, sums| *sums != (0, 0));
    moved
}

#[test]
fn io_records_add_up_to_what_each_process_moved() {
    let scenarios = [
        "worker-io",
        "churn --connections 240",
        "echo --bytes 300000",
    ];
    let Some(finished) = trace("--events io --ring-size 64MiB", &scenarios) else {
        return;
    };
    let calls = finished.events("io");
    assert!(calls.len() > 1000);
    for call in &calls {
        let bytes = (number(&call["bytes"]["tx"]), number(&call["bytes"]["rx"]));
        assert!(
            bytes.0 + bytes.1 > 0 && (bytes.0 == 0 || bytes.1 == 0),
            "{call}"
        );
        assert_eq!(call["users"].as_array().map(Vec::len), Some(1), "{call}");
    }
    assert_eq!(moved(&finished, "io"), moved(&finished, "close"));
}

#[test]
fn lifecycle_tells_no_traffic() {
    let Some(finished) = trace("--events lifecycle", &["echo", "worker-io"]) else {
        return;
    };
    assert!(finished.events("traffic").is_empty() && finished.events("io").is_empty());
    assert_eq!(finished.events("close").len(), 32);
}

#[test]
fn traffic_of_a_long_connection_is_told_while_it_lasts() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--duration 3");
    let mut held = Workload::start(&namespace, "hold --connections 3");
    held.ready();
    let finished = tracer.finish().lossless();
    let truth = held.finish();
    assert_equal(&finished, truth.ends());
    // An interval may end in the middle of an exchange, so the sums count.
    let sums = traffic(&finished.records);
    let expected = vec![(777, 777); 6];
    assert_eq!(sums.into_values().collect::<Vec<_>>(), expected);
}
