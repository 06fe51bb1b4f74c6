//! Memory has a bound, whatever comes; what is beyond it is added up and marked.

use std::time::{Duration, Instant};

use tests::compare::number;
use tests::generator::Workload;
use tests::harness::{PATIENCE, can_trace, say};
use tests::kept::{resident_bytes, wait_until_empty};
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Finished, Tracer};
use tests::workload::{ANSWER, REQUEST};

/// Connections, each from a new address, in rounds; the tracer's memory must not grow by more than
/// `growth` bytes from the one that is `warm` on.
fn rounds(options: &str, [warm, rounds]: [u32; 2], connections: u32, growth: u64) -> Finished {
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, options);
    let mut baseline = None;
    let mut resident = vec![resident_bytes(tracer.pid())];
    for round in 0..rounds {
        let first = round * connections;
        let line = format!("many --connections {connections} --first {first}");
        Workload::run(&namespace, &line);
        let left_over = wait_until_empty(tracer.pid());
        say(&format!("left over after round {round}: {left_over:?}"));
        // What is on its way out takes memory, too.
        let most = baseline.map_or(u64::MAX, |baseline| baseline + growth);
        let since = Instant::now();
        while resident_bytes(tracer.pid()) > most && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        resident.push(resident_bytes(tracer.pid()));
        assert!(resident.last() <= Some(&most), "memory: {resident:?}");
        if round == warm {
            baseline = resident.last().copied();
        }
    }
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let number = u64::from(rounds * connections);
    let moved = number * (REQUEST + ANSWER) as u64;
    let expected = [number, number, 0, 0, 0, moved, moved];
    assert_eq!(assert_sums(&finished.summary), expected);
    say(&format!("memory before and after each round: {resident:?}"));
    say(&finished.stderr);
    finished
}

#[test]
fn thirty_thousand_connections_return_to_the_baseline() {
    if !can_trace() {
        return;
    }
    let options = "--max-rows 1000 --output /dev/null";
    let finished = rounds(options, [1, 6], 5000, 8 << 20);
    assert_bounded(&finished, 1000, 30_000);
}

/// Takes minutes: `cargo test --release -p tests --test bounded -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn a_million_connections_of_a_million_peers_return_to_the_baseline() {
    if !can_trace() {
        return;
    }
    // In the third round the table of peers has been full once.
    let finished = rounds("--output /dev/null", [2, 20], 50_000, 32 << 20);
    assert_bounded(&finished, 100_000, 1_000_000);
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
