//! What the tracer takes when it has much to remember.

use std::fs::File;

use nix::sys::resource::{UsageWho, getrusage};
use tests::compare::number;
use tests::generator::Workload;
use tests::harness::{can_trace, say};
use tests::kept::most_resident_bytes;
use tests::namespace::Namespace;
use tests::tracer::Tracer;

/// Connection ends that are open at the same time.
const ENDS: u64 = 100_000;
/// Servers that hold an equal part of them: the descriptors of a process and the ports of an address
/// are too few for one.
const SERVERS: u64 = 5;
/// Bytes of resident memory at the most, kernel maps apart.
const MOST: u64 = 64 << 20;

#[test]
fn a_hundred_thousand_open_connections_take_no_more_than_64_mib() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let log = File::create("/dev/null").expect("opening /dev/null");
    let mut command = Tracer::command(&format!(
        "--format json --events traffic --netns {}",
        namespace.inode()
    ));
    command.stdout(log);
    let tracer = Tracer::start_with_own_output(command);
    let started = most_resident_bytes(tracer.pid());
    let line = format!("hold --connections {}", ENDS / 2 / SERVERS);
    let hold = |_| {
        let mut workload = Workload::start(&namespace, &line);
        workload.ready();
        workload
    };
    let workloads: Vec<_> = (0..SERVERS).map(hold).collect();
    let holding = most_resident_bytes(tracer.pid());
    let before_exit = usage();
    let finished = tracer.stop().lossless();
    let at_exit = usage();
    drop(workloads);
    assert_eq!(number(&finished.summary["total"]["open"]), ENDS);
    say(&format!(
        "memory: {} KiB when ready, {} KiB with {ENDS} connection ends, {} KiB after the exit",
        started >> 10,
        holding >> 10,
        at_exit >> 10
    ));
    assert!(holding <= MOST, "{holding} bytes");
    // The most of any child: the tracer's, unless another one's was more already.
    assert!(at_exit <= MOST.max(before_exit), "{at_exit} bytes at exit");
}

/// The most memory of any child that has been waited for.
fn usage() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    let kilobytes = usage.expect("the usage of children").max_rss();
    u64::try_from(kilobytes).expect("a size") << 10
}
