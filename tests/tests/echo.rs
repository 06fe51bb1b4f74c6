//! The plain case over IPv4, IPv6, and IPv4 on IPv6 sockets.

use tests::compare::{assert_closers, assert_equal, assert_whole_lives, finals};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tracer::{Finished, Tracer};

fn echo(options: &str) -> Option<Finished> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, &format!("echo {options}"));
    let finished = tracer.stop().lossless();
    assert_eq!(truth.ends().count(), 20);
    assert_equal(&finished, truth.ends());
    assert_closers(&finished, &truth, |_| true);
    assert_whole_lives(&finished);
    for record in finals(&finished) {
        assert_eq!(record["netns"].to_string(), namespace.inode(), "{record}");
        assert_eq!(record["process"]["name"], "workload", "{record}");
        assert_eq!(record["process"]["uid"], 0, "{record}");
        assert!(record["duration_ns"].as_u64() > Some(0), "{record}");
        assert!(
            record["reason"].is_null(),
            "an orderly end needs no reason: {record}"
        );
        // The client closes first on every connection.
        let by = if record["direction"] == "outbound" {
            "local"
        } else {
            "remote"
        };
        assert_eq!(record["closed_by"], by, "{record}");
    }
    Some(finished)
}

#[test]
fn ipv4_is_exact() {
    let Some(finished) = echo("--bytes 70000") else {
        return;
    };
    for record in finals(&finished) {
        assert_eq!(record["family"], "ipv4", "{record}");
        assert!(record["socket_family"].is_null(), "{record}");
    }
}

#[test]
fn ipv6_is_exact() {
    let Some(finished) = echo("--family ipv6") else {
        return;
    };
    for record in finals(&finished) {
        assert_eq!(record["family"], "ipv6", "{record}");
        assert!(record["socket_family"].is_null(), "{record}");
    }
}

#[test]
fn ipv4_on_an_ipv6_socket_is_reported_as_ipv4_with_its_socket_family() {
    let Some(finished) = echo("--family mapped") else {
        return;
    };
    let finals = finals(&finished);
    let mapped = |inbound: &str| {
        let found = finals
            .iter()
            .filter(|record| record["direction"] == inbound);
        found
            .filter(|record| record["socket_family"] == "ipv6")
            .count()
    };
    assert!(finals.iter().all(|record| record["family"] == "ipv4"));
    assert_eq!((mapped("inbound"), mapped("outbound")), (10, 5));
}

#[test]
fn an_accept_that_waits_since_before_the_start_is_seen() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut echo = Workload::start(&namespace, "echo --gate");
    echo.ready();
    let tracer = Tracer::start(&namespace, "");
    echo.go();
    let truth = echo.finish();
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    assert_eq!(finished.events("accept").len(), 10);
}

#[test]
fn a_socket_that_connects_again_is_another_connection() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, "reconnect --connections 10");
    let finished = tracer.stop().lossless();
    assert_eq!(truth.clients.len(), 20);
    assert_equal(&finished, truth.ends());
    assert_closers(&finished, &truth, |end| end.ending == "orderly");
    assert_whole_lives(&finished);
}
