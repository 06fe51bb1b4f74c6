//! Memory has a bound, whatever comes; what is beyond it is added up and marked.

use tests::compare::number;
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::kept::{resident_bytes, wait_until_empty};
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Finished, Tracer};
use tests::workload::{ANSWER, REQUEST};

/// What memory may grow by after the first round.
const GROWTH: u64 = 4 << 20;

/// Rounds of connections, each from a new address, and the memory of the tracer after each.
fn rounds(options: &str, rounds: u32, connections: u32) -> (Finished, Vec<u64>) {
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, options);
    let resident = (0..rounds)
        .map(|round| {
            let first = round * connections;
            let line = format!("many --connections {connections} --first {first}");
            Workload::run(&namespace, &line);
            wait_until_empty(tracer.pid());
            resident_bytes(tracer.pid())
        })
        .collect();
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let number = u64::from(rounds * connections);
    let moved = number * (REQUEST + ANSWER) as u64;
    let expected = [number, number, 0, 0, 0, moved, moved];
    assert_eq!(assert_sums(&finished.summary), expected);
    (finished, resident)
}

#[test]
fn thirty_thousand_connections_return_to_the_baseline() {
    if !can_trace() {
        return;
    }
    let (finished, resident) = rounds("--max-rows 1000 --output /dev/null", 6, 5000);
    let (first, last) = (resident[0], resident[5]);
    assert!(
        last < first + GROWTH,
        "bytes after each round: {resident:?}"
    );
    assert_bounded(&finished, 1000, 30_000);
}

/// Takes minutes: `cargo test --release -p tests --test bounded -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn a_million_connections_of_a_million_peers_return_to_the_baseline() {
    if !can_trace() {
        return;
    }
    let (finished, resident) = rounds("--output /dev/null", 20, 50_000);
    show(&resident, &finished);
    // From the third round on the table of peers is full.
    let (full, last) = (resident[2], resident[19]);
    assert!(last < full + GROWTH, "bytes after each round: {resident:?}");
    assert_bounded(&finished, 100_000, 1_000_000);
}

#[expect(clippy::print_stderr, reason = "figures for people")]
fn show(resident: &[u64], finished: &Finished) {
    eprintln!("bytes after each round: {resident:?}\n{}", finished.stderr);
}

/// The peers of `number` connections, and ourselves, are in at most `most` rows and one more.
fn assert_bounded(finished: &Finished, most: u64, number_of_peers: u64) {
    let summary = &finished.summary;
    let rows = summary["peers"].as_array().expect("a table").len() as u64;
    assert!(rows <= most, "{rows} rows");
    let other = &summary["other"];
    let added = number(&other["peers"]["rows"]);
    assert_eq!(rows + added, number_of_peers + 1, "{other}");
    assert!(other["processes"].is_null() && other["ports"].is_null());
    assert!(finished.stderr.contains("(other)"), "{}", finished.stderr);
    assert!(finished.stderr.contains("\nother: "), "{}", finished.stderr);
    // The server's own address is on every connection, and so never was the least busy.
    let busiest = &summary["peers"][0];
    assert_eq!(busiest["ip"], "127.0.0.1");
    assert_eq!(busiest["connects"], number_of_peers);
    assert!(busiest["at_least"].is_null(), "{busiest}");
}

#[test]
fn records_add_up_to_rows_that_are_exact_where_they_are_not_marked() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--max-rows 16");
    Workload::run(&namespace, "many --connections 300");
    Workload::run(&namespace, "churn --connections 60");
    Workload::run(&namespace, "many --connections 300");
    let finished = tracer.stop().lossless();
    assert_sums(&finished.summary);
    let full = Tables::of_records(&finished.records);
    let kept = Tables::of_summary(&finished.summary);
    kept.assert_part_of(&full, &finished.summary);
}
