//! The wall clock may be set: durations do not change, and wall times follow at once.

use std::io::{BufRead as _, BufReader};
use std::process::ChildStdout;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::Value;
use tests::compare::number;
use tests::generator::Workload;
use tests::harness::{PATIENCE, can_trace, owns_machine, readable};
use tests::namespace::Namespace;
use tests::tracer::Tracer;

/// Five hours.
const STEP_SECONDS: i64 = 5 * 3600;

/// How far a wall time may be off: our own readings are not at one moment.
const TOLERANCE_NS: i128 = 200_000_000;

/// Sets the clock forward, and back again when it goes away.
struct Forward;

impl Forward {
    fn set() -> Self {
        set_by(STEP_SECONDS);
        Self
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        set_by(-STEP_SECONDS);
    }
}

fn set_by(seconds: i64) {
    let now = clock_gettime(ClockId::Realtime);
    let time = Timespec {
        tv_sec: now.tv_sec + seconds,
        ..now
    };
    clock_settime(ClockId::Realtime, time).expect("setting the clock");
}

fn now_ns(clock: ClockId) -> i128 {
    let now = clock_gettime(clock);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn read(lines: &mut BufReader<ChildStdout>, until: &str, times: usize, records: &mut Vec<Value>) {
    let count = |records: &[Value]| records.iter().filter(|it| it["event"] == until).count();
    while count(records) < times {
        assert!(
            !lines.buffer().is_empty() || readable(lines.get_ref(), PATIENCE),
            "no more records after {records:#?}"
        );
        let mut line = String::new();
        lines.read_line(&mut line).expect("reading records");
        records.push(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")));
    }
}

#[test]
fn a_clock_that_is_set_changes_no_duration_and_every_later_wall_time() {
    if !owns_machine() || !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let line = format!("--format json --netns {}", namespace.inode());
    let (tracer, stdout) = Tracer::start_with_pipe(Tracer::command(&line));
    let mut lines = BufReader::new(stdout);
    let mut records = Vec::new();
    let started = now_ns(ClockId::Monotonic);
    let mut held = Workload::start(&namespace, "hold --connections 2");
    held.ready();
    // What was before the clock is set is read before.
    read(&mut lines, "accept", 2, &mut records);
    let before = records.len();
    let old_offset = now_ns(ClockId::Realtime) - now_ns(ClockId::Monotonic);
    let forward = Forward::set();
    let set = now_ns(ClockId::Monotonic);
    let offset = now_ns(ClockId::Realtime) - set;
    held.finish();
    Workload::run(&namespace, "echo --connections 3");
    read(&mut lines, "close", 10, &mut records);
    let longest = now_ns(ClockId::Monotonic) - started;
    drop(forward);
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);

    for (index, record) in records.iter().enumerate() {
        let time: jiff::Timestamp = record["time"]
            .as_str()
            .and_then(|time| time.parse().ok())
            .unwrap_or_else(|| panic!("a time: {record}"));
        let mono = i128::from(number(&record["mono_ns"]));
        let is_by = |offset: i128| (time.as_nanosecond() - mono - offset).abs() < TOLERANCE_NS;
        // The last news of before may be told after.
        let is_right = (mono < set && is_by(old_offset)) || (index >= before && is_by(offset));
        assert!(
            is_right,
            "set at {set}, read up to {before}: {index} {record}"
        );
        for name in ["duration_ns", "latency_ns", "queue_ns"] {
            let duration = i128::from(number(&record[name]));
            assert!(duration <= longest, "{name}: {record}");
        }
    }
    let mut compared = 0;
    for close in records.iter().filter(|it| it["event"] == "close") {
        let mut same = records.iter().filter(|it| it["id"] == close["id"]);
        let Some(open) = same.find(|it| it["event"] == "open") else {
            continue;
        };
        let passed = number(&close["mono_ns"]) - number(&open["mono_ns"]);
        assert_eq!(number(&close["duration_ns"]), passed, "{close}");
        compared += 1;
    }
    assert_eq!(compared, 5);
}
