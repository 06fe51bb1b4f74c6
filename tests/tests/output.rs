//! Standard output and standard error, and how a run ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::process::Signal;
use tests::generator::Workload;
use tests::harness::{PATIENCE, can_trace, readable};
use tests::namespace::Namespace;
use tests::tables::{assert_sums, assert_tables};
use tests::tracer::{Finished, Tracer, parse_lines};

/// The grand total of one echo run.
const ECHO_TOTAL: [u64; 7] = [10, 10, 0, 0, 0, 20_000, 20_000];

fn line(namespace: &Namespace, options: &str) -> String {
    format!("--netns {} {options}", namespace.inode())
}

/// Reads one line from the tracer, closes the pipe, and makes more traffic.
fn first_line_then_close(format: &str) -> Option<(String, Finished)> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let options = line(&namespace, &format!("--format {format}"));
    let (tracer, stdout) = Tracer::start_with_pipe(Tracer::command(&options));
    Workload::run(&namespace, "echo");
    assert!(readable(&stdout, PATIENCE), "no output");
    let mut first = String::new();
    BufReader::new(stdout)
        .read_line(&mut first)
        .expect("a line of output");
    Workload::run(&namespace, "echo");
    let finished = tracer.finish();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert_tables(&finished.stderr);
    assert!(
        assert_sums(&finished.summary)[0] >= 10,
        "{}",
        finished.summary
    );
    Some((first, finished))
}

#[test]
fn a_reader_that_has_enough_ends_the_run_cleanly() {
    let Some((first, _)) = first_line_then_close("json") else {
        return;
    };
    assert_eq!(parse_lines(first.as_bytes()).len(), 1);
}

#[test]
fn a_reader_that_has_enough_of_live_lines_still_gets_the_tables_on_standard_error() {
    let Some((first, _)) = first_line_then_close("live") else {
        return;
    };
    assert!(first.ends_with('\n'));
}

#[test]
fn a_reader_that_stalls_costs_records_and_nothing_else() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let options = line(&namespace, "--format json");
    let (tracer, stdout) = Tracer::start_with_pipe(Tracer::command(&options));
    let truth = Workload::run(&namespace, "churn --connections 5000");
    let finished = tracer.stop();
    drop(stdout);
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert!(
        finished.summary["loss"]["output_dropped"].as_u64() > Some(0),
        "{}",
        finished.summary
    );
    assert_tables(&finished.stderr);
    assert!(finished.stderr.contains("output"), "{}", finished.stderr);
    let (tx, rx) = truth.bytes();
    assert_eq!(
        assert_sums(&finished.summary),
        [5000, 5000, 0, 0, 0, tx, rx],
        "{}",
        finished.summary["loss"]
    );
}

#[test]
fn a_second_ctrl_c_ends_a_run_that_cannot_write_its_tables() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let (tracer, stdout) = Tracer::start_with_pipe(Tracer::command(&line(&namespace, "")));
    Workload::run(&namespace, "churn --connections 3000");
    tracer.signal(Signal::INT);
    tracer.signal(Signal::INT);
    let finished = tracer.finish();
    drop(stdout);
    assert!(
        finished.status.code().is_some_and(|code| code != 101),
        "{}",
        finished.stderr
    );
}

#[test]
fn sigterm_ends_a_run_cleanly() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    Workload::run(&namespace, "echo");
    tracer.signal(Signal::TERM);
    let finished = tracer.finish().lossless();
    assert_tables(&finished.stderr);
    assert_eq!(assert_sums(&finished.summary), ECHO_TOTAL);
    assert_eq!(finished.events("close").len(), 20);
}

#[test]
fn a_duration_ends_a_run_cleanly() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--duration 1");
    let finished = tracer.finish().lossless();
    assert!(
        finished.stderr.contains("no connections"),
        "{}",
        finished.stderr
    );
    assert_eq!(assert_sums(&finished.summary), [0; 7]);
    assert!(finished.summary["duration_ns"].as_u64() >= Some(1_000_000_000));
}

#[test]
fn live_lines_and_tables_go_to_standard_output_without_colours_in_a_pipe() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start_as(Tracer::command(&line(&namespace, "")));
    let truth = Workload::run(&namespace, "echo");
    let finished = tracer.stop().lossless();
    let text = String::from_utf8(finished.stdout).expect("text");
    assert_tables(&text);
    assert!(!text.contains('\x1b'), "{text}");
    for end in &truth.clients {
        assert!(
            text.contains(&end.local.port().to_string()),
            "{} in {text}",
            end.local
        );
    }
    assert!(
        finished.stderr.contains("ready: backend"),
        "{}",
        finished.stderr
    );
}

#[test]
fn quiet_leaves_the_tables_and_the_ready_line() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start_as(Tracer::command(&line(&namespace, "--quiet")));
    let truth = Workload::run(&namespace, "echo");
    let finished = tracer.stop().lossless();
    let text = String::from_utf8(finished.stdout).expect("text");
    assert_tables(&text);
    let port = truth.clients[0].local.port().to_string();
    assert!(!text.contains(&port), "a live line: {text}");
    assert!(
        finished.stderr.contains("ready: backend"),
        "{}",
        finished.stderr
    );
}

#[test]
fn output_over_a_connection_is_not_traced_itself() {
    if !can_trace() {
        return;
    }
    let [here, there] = [Namespace::new(), Namespace::new()];
    let reader = Ipv4Addr::new(10, 78, 0, 2);
    here.link(Ipv4Addr::new(10, 78, 0, 1), &there, reader);
    let listener = there.run(|| TcpListener::bind((reader, 7016)).expect("a listener"));
    let stream = here.run(|| TcpStream::connect((reader, 7016)).expect("a connection"));
    let (mut accepted, _) = listener.accept().expect("the connection");
    let thread = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        accepted
            .read_to_end(&mut bytes)
            .expect("reading the tracer's output");
        bytes
    });
    let mut command = Tracer::command(&line(&here, "--format json --events io"));
    command.stdout(Stdio::from(OwnedFd::from(stream)));
    let tracer = Tracer::start_with_own_output(command);
    let pid = tracer.pid();
    let truth = Workload::run(&here, "echo");
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let records = parse_lines(&thread.join().expect("the reader"));
    let own = |record: &&serde_json::Value| {
        let users = record["users"].as_array().into_iter().flatten();
        record["remote"]["port"] == 7016 || users.into_iter().any(|user| user["pid"] == pid)
    };
    assert_eq!(records.iter().find(own), None);
    let closes = records.iter().filter(|record| record["event"] == "close");
    assert_eq!(closes.count(), truth.ends().count());
}
