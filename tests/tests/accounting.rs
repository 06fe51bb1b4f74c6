//! `--accounting socket`: bytes from the kernel's counters of each socket, for its owner.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use tests::compare::{assert_equal, finals, number};
use tests::generator::Workload;
use tests::harness::{PATIENCE, can_trace};
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums, traffic};
use tests::tracer::Tracer;

const SOCKET: &str = "--accounting socket";

#[test]
fn what_short_connections_carried_is_their_owners() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, SOCKET);
    let churn = Workload::run(&namespace, "churn --connections 1200").credited_to_owners();
    // Others than the owner move some of these.
    let worker = Workload::run(&namespace, "worker-io").credited_to_owners();
    let finished = tracer.stop().lossless();
    assert_equal(&finished, churn.ends().chain(worker.ends()));
    assert_sums(&finished.summary);
    assert_eq!(finished.summary["accounting"], "socket");
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
}

#[test]
fn tables_alone_have_the_same_totals() {
    for options in ["", SOCKET] {
        if !can_trace() {
            return;
        }
        let namespace = Namespace::new();
        let tracer = Tracer::start(&namespace, &format!("--quiet {options}"));
        let truth = Workload::run(&namespace, "churn --connections 1200");
        let failures = Workload::run(&namespace, "refused").failed.len() as u64;
        assert!(failures > 0);
        let finished = tracer.stop().lossless();
        let ends = truth.clients.len() as u64;
        let (tx, rx) = truth.bytes();
        assert_eq!(
            assert_sums(&finished.summary),
            [ends, ends, failures, 0, 0, tx, rx],
            "{options}"
        );
        assert!(finished.records.is_empty());
    }
}

/// The whole lines of a file.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect()
}

#[test]
fn what_open_connections_carry_is_sampled_and_told_at_the_end() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("records.jsonl");
    // A pass goes over the whole table, and a slow machine makes the next one much later.
    let options = format!(
        "{SOCKET} --max-connections 4096 --output {}",
        file.display()
    );
    let tracer = Tracer::start(&namespace, &options);
    let mut held = Workload::start(&namespace, "hold --connections 300");
    held.ready();
    // How often a slow machine looks is its own business.
    let since = Instant::now();
    let mut records = lines(&file);
    while !traffic(&records).into_values().eq([(777, 777); 600]) && since.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
        records = lines(&file);
    }
    assert!(traffic(&records).into_values().eq([(777, 777); 600]));
    let mut finished = tracer.stop().lossless();
    finished.records = lines(&file);
    let truth = held.finish().credited_to_owners();
    assert_equal(&finished, truth.ends());
    assert_eq!(finished.events("open_at_exit").len(), 600);
}

#[test]
fn what_connections_carry_is_known_when_the_run_is_stopped_at_once() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, &format!("{SOCKET} --events lifecycle"));
    let mut held = Workload::start(&namespace, "hold --connections 30");
    held.ready();
    let finished = tracer.stop().lossless();
    let truth = held.finish().credited_to_owners();
    assert_equal(&finished, truth.ends());
    assert!(finished.events("traffic").is_empty());
    assert!(finals(&finished).iter().all(|it| it["closed_by"].is_null()));
}

#[test]
fn what_the_table_has_no_room_for_is_counted_with_its_bytes() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, &format!("{SOCKET} --max-connections 8"));
    let truth = Workload::run(&namespace, "churn --connections 1200");
    let finished = tracer.stop();
    let sum = |of: &str| {
        let total = &finished.summary["total"][of];
        let untracked = &finished.summary["loss"][format!("untracked_{of}")];
        number(total) + number(untracked)
    };
    assert_eq!((sum("tx"), sum("rx")), truth.bytes());
    assert!(number(&finished.summary["loss"]["untracked_tx"]) > 0);
}
