//! Attempts without a connection, and what only looks like one.

use serde_json::Value;
use tests::compare::{address, assert_equal, assert_whole_lives, finals, number};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::assert_sums;
use tests::tracer::{Finished, Tracer};
use tests::truth::{Attempt, Span, Truth};
use tests::workload::never_failed_names;

/// The kernel reads its clock for programs in a way that may be off by a tick's correction.
const CLOCK_ERROR_NS: u64 = 100_000;

/// How attempts are made.
const HOWS: [&str; 3] = ["sync", "nonblocking", "uring"];

fn trace(line: &str) -> (Finished, Truth) {
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, line);
    (tracer.stop().lossless(), truth)
}

/// Checks a kind of failure, by all kinds of calls.
fn assert_kind(kind: &str, family: &str) {
    if !can_trace() {
        return;
    }
    for how in HOWS {
        let line = format!("failed --kind {kind} --how {how} --family {family}");
        let (finished, truth) = trace(&line);
        if truth.not_here.is_some() {
            continue;
        }
        assert_eq!(truth.failed.len(), 3, "{line}");
        // It makes no system call, and no tracepoint is on its way.
        if (kind, how) == ("no-route", "uring") && finished.summary["backend"] == "tracepoint" {
            assert_eq!(finished.records.len(), 0, "{line}");
            continue;
        }
        assert_failed(&finished, &truth, kind, &line);
    }
}

/// Checks that each attempt has exactly one `failed` record, and that no other record claims more
/// than the connections in the truth.
fn assert_failed(finished: &Finished, truth: &Truth, kind: &str, line: &str) {
    let mut records = finished.events("failed");
    for attempt in &truth.failed {
        let is_of = |record: &&Value| {
            let reason = &record["reason"];
            let known = *reason == attempt.reason.as_str();
            is_of(record, attempt, kind)
                && (known || (loses_its_error(line) && reason == "aborted"))
        };
        let place = records.iter().position(is_of);
        let place = place.unwrap_or_else(|| {
            panic!(
                "{line}: no record is of {attempt:?}, of these: {records:#?}, in all {:#?}, loss {}",
                finished.records, finished.summary["loss"]
            )
        });
        let record = records.remove(place);
        assert_times(record, attempt);
    }
    assert!(records.is_empty(), "{line}: too many: {records:#?}");
    assert_equal(finished, truth.ends());
    assert_whole_lives(finished);
    let failures = truth.failed.len() as u64;
    let clients = truth.clients.len();
    assert_eq!(finished.events("open").len(), truth.failed.len() + clients);
    assert_eq!(finished.events("established").len(), clients);
    let [_, connects, counted, _, open, ..] = assert_sums(&finished.summary);
    assert_eq!([connects, counted, open], [clients as u64, failures, 0]);
}

/// A debt: with an ICMP error the kernel (5.13+, IPv4) wakes who polls before it changes the state.
/// `io_uring` polls, takes the error and clears it, sometimes before the tracer can see it.
fn loses_its_error(line: &str) -> bool {
    let by_icmp = ["no-neighbour", "router-"];
    line.ends_with("--how uring --family ipv4") && by_icmp.iter().any(|kind| line.contains(kind))
}

fn is_of(record: &Value, attempt: &Attempt, kind: &str) -> bool {
    let local = address(&record["local"]);
    let family = if attempt.v6_socket { "ipv6" } else { "ipv4" };
    // Without a port there is nothing else to be known.
    let has_none = ["no-port", "no-route"].contains(&kind) && attempt.local.is_none();
    let is_bound = (local.port() == 0) == has_none;
    attempt.local.is_none_or(|bound| bound == local)
        && is_bound
        && address(&record["remote"]) == attempt.remote
        && record["family"] == family
        && record["direction"] == "outbound"
        && record["process"]["pid"] == attempt.owner_pid
        // Of several that are alike, the one that was at that time.
        && is_within(number(&record["mono_ns"]), attempt.ended)
}

fn assert_times(record: &Value, attempt: &Attempt) {
    let ended_ns = number(&record["mono_ns"]);
    let latency_ns = record["latency_ns"].as_u64().expect("a latency");
    let began_ns = ended_ns - latency_ns;
    assert!(is_within(began_ns, attempt.began), "{attempt:?}: {record}");
    let Attempt { began, ended, .. } = attempt;
    let shortest = ended.from_ns.saturating_sub(began.to_ns);
    let longest = ended.to_ns - began.from_ns;
    let span = Span {
        from_ns: shortest,
        to_ns: longest,
    };
    assert!(is_within(latency_ns, span), "{attempt:?}: {record}");
}

fn is_within(ns: u64, span: Span) -> bool {
    (span.from_ns.saturating_sub(CLOCK_ERROR_NS)..=span.to_ns + CLOCK_ERROR_NS).contains(&ns)
}

#[test]
fn a_refused_attempt_is_one_failed_record() {
    assert_kind("refused", "ipv4");
}

#[test]
fn a_refused_attempt_on_ipv6_is_one_failed_record() {
    assert_kind("refused", "ipv6");
}

#[test]
fn an_attempt_that_nobody_answers_has_timed_out() {
    assert_kind("timed-out", "ipv4");
}

#[test]
fn an_attempt_that_nobody_answers_on_ipv6_has_timed_out() {
    assert_kind("timed-out", "ipv6");
}

#[test]
fn a_neighbour_that_is_not_there_is_unreachable() {
    assert_kind("no-neighbour", "ipv4");
    assert_kind("no-neighbour", "ipv6");
}

#[test]
fn what_a_router_knows_no_way_to_is_unreachable() {
    assert_kind("router-without-route", "ipv4");
    assert_kind("router-without-route", "ipv6");
}

#[test]
fn what_a_router_prohibits_is_unreachable() {
    assert_kind("router-prohibits", "ipv4");
    assert_kind("router-prohibits", "ipv6");
}

#[test]
fn unreachable_at_once_is_one_failed_record() {
    assert_kind("no-route", "ipv4");
    assert_kind("no-route", "ipv6");
}

#[test]
fn a_handshake_that_is_reset_is_one_failed_record() {
    assert_kind("reset", "ipv4");
    assert_kind("reset", "ipv6");
}

#[test]
fn an_attempt_for_which_no_port_is_left_says_so() {
    assert_kind("no-port", "ipv4");
    assert_kind("no-port", "ipv6");
}

#[test]
fn an_attempt_from_a_port_that_is_taken_says_so() {
    assert_kind("port-taken", "ipv4");
    assert_kind("port-taken", "ipv6");
}

#[test]
fn an_attempt_that_is_given_up_is_aborted() {
    for kind in ["closed", "disconnected", "shut-down"] {
        assert_kind(kind, "ipv4");
    }
    assert_kind("closed", "ipv6");
}

#[test]
fn an_attempt_of_a_killed_process_is_aborted() {
    assert_kind("killed", "ipv4");
    assert_kind("killed", "ipv6");
}

#[test]
fn every_kind_of_failure_is_tried() {
    let source = include_str!("failed.rs");
    for kind in tests::workload::failed_names() {
        assert!(source.contains(&format!("\"{kind}\"")), "{kind} is not");
    }
}

#[test]
fn an_orderly_connection_is_never_failed() {
    if !can_trace() {
        return;
    }
    let (finished, truth) = trace("echo");
    assert_failed(&finished, &truth, "echo", "echo");
    assert_eq!(finished.events("close").len(), 20);
}

/// A poll before connect is done, a stop of either side, an interrupted call, a listener's close
/// with half a handshake.
#[test]
fn what_only_looks_like_a_failure_is_none() {
    if !can_trace() {
        return;
    }
    for kind in never_failed_names() {
        let line = format!("never-failed --kind {kind}");
        let (finished, truth) = trace(&line);
        assert!(!truth.clients.is_empty());
        assert_failed(&finished, &truth, kind, &line);
    }
}

#[test]
fn a_connection_that_nobody_accepts_has_no_owner() {
    if !can_trace() {
        return;
    }
    let (finished, truth) = trace("never-accepted --connections 10");
    assert_failed(&finished, &truth, "never-accepted", "never-accepted");
    assert_eq!(finished.events("accept").len(), 0);
    let records = finals(&finished).into_iter();
    for record in records.filter(|record| record["direction"] == "inbound") {
        assert_eq!(record["bytes"]["unread"], 100, "{record}");
    }
    assert_eq!(assert_sums(&finished.summary), [0, 10, 0, 10, 0, 1000, 0]);
}
