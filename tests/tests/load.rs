//! The loads of `cargo xtask bench`: what they say they did is what is traced, as what is measured
//! must be right, too.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use tests::harness::{PATIENCE, Running, can_trace, program, readable};
use tests::load::report::{Ran, Ready};
use tests::tables::assert_sums;
use tests::tracer::Tracer;

/// A load that waits for commands.
struct Load {
    running: Running,
    stdout: BufReader<ChildStdout>,
    ready: Ready,
}

impl Load {
    fn start(line: &str) -> Self {
        let mut command = Command::new(program("CONNTRACER_LOAD", "load"));
        command
            .args(line.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut running = Running::start(&mut command);
        let stdout = running.child().stdout.take();
        let mut stdout = BufReader::new(stdout.expect("a pipe from the load"));
        let ready = read(&mut stdout);
        Self {
            running,
            stdout,
            ready,
        }
    }

    fn run(&mut self, millis: u64) -> Ran {
        let stdin = self.running.child().stdin.as_mut();
        writeln!(stdin.expect("a pipe to the load"), "run {millis}").expect("telling the load");
        read(&mut self.stdout)
    }
}

fn read<T: DeserializeOwned>(stdout: &mut BufReader<ChildStdout>) -> T {
    assert!(readable(stdout.get_ref(), PATIENCE), "the load hangs");
    let mut line = String::new();
    stdout.read_line(&mut line).expect("reading the load");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// What a load did in two runs, and what is traced of it, must be the same.
fn assert_traced(line: &str) -> Ran {
    let mut load = Load::start(line);
    let before = load.run(20);
    let command = Tracer::command(&format!("--quiet --netns {}", load.ready.netns));
    let tracer = Tracer::start_as(command);
    let first = load.run(100);
    let second = load.run(100);
    let finished = tracer.stop().lossless();
    assert_eq!(
        second.total.since(&before.total).tx(),
        first.did.tx() + second.did.tx()
    );
    let mut did = first.did;
    did += second.did;
    for window in first.windows.iter().chain(&second.windows) {
        assert!(
            window.ops > 0 && window.cpu_ns > 0 && window.wall_ns > 0,
            "{window:?}"
        );
    }
    let measured: u64 = second.windows.iter().map(|window| window.wall_ns).sum();
    assert!(
        measured > 0 && measured < second.working_ns,
        "{measured} of {second:?}"
    );
    assert_eq!(
        assert_sums(&finished.summary),
        [
            did.server.connections,
            did.client.connections,
            0,
            0,
            load.ready.open,
            did.tx(),
            did.rx()
        ]
    );
    assert_eq!(finished.summary["total"]["pre_existing"], load.ready.open);
    second
}

fn ops(ran: &Ran) -> u64 {
    ran.windows.iter().map(|window| window.ops).sum()
}

#[test]
fn what_churns_is_traced() {
    if !can_trace() {
        return;
    }
    let ran = assert_traced("churn");
    let end = ran.did.client;
    assert!(end.connections >= ops(&ran));
    assert_eq!(
        (end.tx, end.rx),
        (100 * end.connections, 200 * end.connections)
    );
}

#[test]
fn what_goes_over_connections_that_stay_is_traced() {
    if !can_trace() {
        return;
    }
    assert_traced("ping-pong");
    let ran = assert_traced("bulk");
    assert_eq!(ran.did.client.tx, ran.did.server.rx);
    assert!(ran.did.client.tx >= ops(&ran) * 65_536);
    assert_traced("idle --connections 300");
}
