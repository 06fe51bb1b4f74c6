//! How long a start takes beside one `ss`, which looks at the same sockets and processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::generator::Workload;
use tests::harness::{can_trace, say};
use tests::namespace::Namespace;
use tests::tracer::Tracer;

/// Starts of each, by turns.
const ROUNDS: usize = 15;

/// `cargo test --release -p tests --test start -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for a quiet host"]
fn a_start_with_ten_thousand_older_sockets_takes_no_longer_than_ss() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut workload = Workload::start(&namespace, "hold --connections 5000");
    workload.ready();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let tracer = Tracer::start(&namespace, "--quiet");
        ours.push(start.elapsed());
        drop(tracer.stop());
        theirs.push(namespace.run(ss));
    }
    let [ours, theirs] = [ours, theirs].map(median);
    say(&format!(
        "start to ready: {ours:?}, ss -tanp: {theirs:?}, ratio {:.2}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    ));
    assert!(ours <= theirs, "{ours:?} and {theirs:?}");
}

fn ss() -> Duration {
    let start = Instant::now();
    let mut command = Command::new("ss");
    let status = command.arg("-tanp").stdout(Stdio::null()).status();
    assert!(status.expect("ss, of iproute2").success());
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
