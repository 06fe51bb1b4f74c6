//! A tracer that sees nothing does nothing. Alone in its file: other tests would run beside it.

use std::time::{Duration, Instant};

use tests::harness::{can_trace, say};
use tests::kept::waits;
use tests::namespace::Namespace;
use tests::tracer::Tracer;

/// Each wait ends with a wake-up. A busy host only makes them fewer.
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
