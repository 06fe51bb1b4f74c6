//! A tracer that sees nothing does nothing. Alone in its file: other tests would run beside it.

use std::fs::{read_dir, read_to_string};
use std::time::{Duration, Instant};

use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tracer::Tracer;

/// Waits of all threads so far: each ends with a wake-up.
fn waits(pid: u32) -> u64 {
    let threads = read_dir(format!("/proc/{pid}/task")).expect("the tracer's threads");
    let of_thread = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("a thread").path().join("status");
        let status = read_to_string(path).expect("a thread's status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|line| line.trim().parse::<u64>().ok())
            .expect("a count")
    };
    threads.map(of_thread).sum()
}

/// A busy host only makes the wake-ups fewer.
#[test]
fn a_tracer_that_sees_nothing_wakes_up_at_most_ten_times_a_second() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    // What follows the start is over.
    std::thread::sleep(Duration::from_secs(1));
    let (before, since) = (waits(tracer.pid()), Instant::now());
    std::thread::sleep(Duration::from_secs(6));
    let (after, seconds) = (waits(tracer.pid()), since.elapsed().as_secs_f64());
    let wakes = f64::from(u32::try_from(after - before).expect("few"));
    say(&format!("idle: {:.1} wake-ups a second", wakes / seconds));
    assert!(wakes <= 10.0 * seconds, "{wakes} in {seconds} s");
    assert!(tracer.stop().lossless().records.is_empty());
}

#[expect(clippy::print_stderr, reason = "figures for people")]
fn say(text: &str) {
    eprintln!("{text}");
}
