use bytes::BytesMut;
use serde_json::{Value, json};

use super::*;
use crate::record::{Container, ProcessDetails, Users};
use crate::sink::Format;
use crate::sink::json::Json;
use crate::sink::samples;

fn written(record: &Record) -> Vec<u8> {
    let mut out = BytesMut::new();
    Json.record(record, &mut out);
    out.to_vec()
}

fn read(line: &[u8]) -> Result<Record, LineError> {
    parse(line, &mut Hosts::default())
}

fn all_details() -> ProcessDetails {
    ProcessDetails {
        exe: Some("/usr/bin/curl".into()),
        command: vec!["curl".into(), CompactString::default(), r"x\n".into()],
        command_cut: true,
        user: Some("www-data".into()),
        parent: Some(ProcessName {
            pid: 3,
            name: "bash".into(),
        }),
        started: Some(WallTime(1)),
        unit: Some("cron.service".into()),
        container: Some(Container {
            id: "0123".into(),
            runtime: Some("cri-o"),
        }),
        pod_uid: Some("7b2a".into()),
        ns_pid: Some(1),
    }
}

/// Every field there is.
fn full() -> Record {
    let mut record = with_all_but_details();
    let process = record.process.as_mut().unwrap();
    process.details = Some(Arc::new(all_details()));
    record
}

fn with_all_but_details() -> Record {
    Record {
        socket_family: Some(Family::Ipv6),
        peer: Some(Arc::new(Peer {
            reverse_dns: Some(r"a\x2eb.example".into()),
            country: Some("DE".into()),
            city: Some("Köln".into()),
            asn: Some(u32::MAX),
            organization: Some("Example Net".into()),
        })),
        closer: Some(ProcessName {
            pid: 8,
            name: "closer".into(),
        }),
        users: Users::from_vec(vec![
            User {
                pid: 9,
                name: "a".into(),
                uid: 1,
                start_ns: 2,
                tx: 3,
                rx: 4,
            };
            3
        ]),
        bytes: Some(Bytes {
            tx: u64::MAX,
            rx: 1,
            unread: Some(2),
            unsent: Some(3),
            unattributed_tx: Some(4),
            unattributed_rx: Some(5),
            before_tx: Some(6),
            before_rx: Some(7),
        }),
        wire: Some(Wire {
            segments_out: 1,
            segments_in: 2,
            wire_bytes_out: 3,
            wire_bytes_in: u64::MAX,
        }),
        latency_ns: Some(1),
        queue_ns: Some(2),
        rtt_us: Some(3),
        retransmits: Some(4),
        reason: Some("timeout"),
        closed_by: Some(ClosedBy::Kernel),
        pre_existing: true,
        sampled: true,
        cgroup: Some(Cgroup {
            id: 5,
            path: Some("/system.slice/cron.service".into()),
        }),
        ..samples::closed(1, 2)
    }
}

fn changed(pointer: &str, value: Value) -> Vec<u8> {
    let mut line: Value = serde_json::from_slice(&written(&full())).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    line.pointer_mut(parent).unwrap()[field] = value;
    serde_json::to_vec(&line).unwrap()
}

#[test]
fn what_was_written_is_read_as_it_was() {
    let mut records = vec![full()];
    for event in [
        EventKind::Open,
        EventKind::Established,
        EventKind::Accept,
        EventKind::Failed,
        EventKind::Traffic,
        EventKind::Io,
        EventKind::Ended,
        EventKind::Close,
        EventKind::OpenAtExit,
    ] {
        records.push(samples::inbound(event));
        records.push(samples::outbound(event));
    }
    for reason in REASONS {
        records.push(Record {
            reason: Some(reason),
            ..samples::outbound(EventKind::Failed)
        });
    }
    let mut unbound = samples::outbound(EventKind::Open);
    unbound.local.port = None;
    unbound.process = None;
    records.push(unbound);
    for time in [i64::MIN, -1, 0, i64::MAX] {
        records.push(Record {
            time: WallTime(time),
            ..full()
        });
    }
    for record in records {
        assert_eq!(read(&written(&record)).unwrap(), record);
    }
}

#[test]
fn a_runtime_that_nobody_knows_is_left_out_and_a_process_may_have_no_details() {
    let other = changed("/process/container/runtime", json!("new"));
    let process = read(&other).unwrap().process.unwrap();
    assert_eq!(
        process.details.unwrap().container.as_ref().unwrap().runtime,
        None
    );
    let record = with_all_but_details();
    assert_eq!(read(&written(&record)).unwrap(), record);
}

#[test]
fn what_is_said_of_a_process_is_short_and_safe_to_print() {
    let hostile = changed("/process/command", json!(["\u{1b}[31m", r"a\n"]));
    let process = read(&hostile).unwrap().process.unwrap();
    assert_eq!(process.details.unwrap().command, [r"\x1b[31m", r"a\n"]);
    let longest = "x".repeat(16 << 10);
    for pointer in ["/process/exe", "/process/unit", "/cgroup/path"] {
        assert!(read(&changed(pointer, json!(longest))).is_ok());
        assert!(read(&changed(pointer, json!(format!("{longest}x")))).is_err());
    }
    assert!(read(&changed("/process/command", json!([longest]))).is_ok());
    for command in [json!([longest, "x"]), json!(vec![""; 5_000])] {
        assert!(read(&changed("/process/command", command)).is_err());
    }
    for (pointer, value) in [
        ("/process/user", json!("x".repeat(300))),
        ("/process/pod_uid", json!("x".repeat(300))),
        ("/process/container/id", json!("x".repeat(300))),
        ("/process/started", json!("yesterday")),
        ("/process/ns_pid", json!(0)),
        ("/process/parent/pid", json!(0)),
    ] {
        assert!(read(&changed(pointer, value)).is_err(), "{pointer}");
    }
}

#[test]
fn names_that_were_escaped_stay_and_those_that_were_not_are() {
    let mut record = full();
    for name in [
        &b"a\"b\n\x1b[2J\xff"[..],
        b"back\\slash",
        "größe".as_bytes(),
    ] {
        record.process.as_mut().unwrap().name = crate::names::escape(name);
        assert_eq!(read(&written(&record)).unwrap(), record);
    }
    let hostile = changed("/process/name", json!("\u{1b}[31m\u{202e}x"));
    let process = read(&hostile).unwrap().process.unwrap();
    assert_eq!(process.name, r"\x1b[31m\u{202e}x");
    let hostile = changed("/peer/reverse_dns", json!("\u{1b}[2Jx"));
    let peer = read(&hostile).unwrap().peer.unwrap();
    assert_eq!(peer.reverse_dns.as_deref(), Some(r"\x1b[2Jx"));
    let hostile = changed("/host", json!("\u{9b}2J"));
    assert_eq!(&*read(&hostile).unwrap().host, r"\u{9b}2J");
}

#[test]
fn what_later_versions_may_add_is_borne() {
    assert_eq!(read(&changed("/new", json!({"a": [1]}))).unwrap(), full());
    let reason = read(&changed("/reason", json!("sunspots"))).unwrap().reason;
    assert_eq!(reason, Some("error"));
    let mapped = json!({"ip": "::ffff:10.0.0.5", "port": 80});
    assert_eq!(read(&changed("/local", mapped)).unwrap(), full());
}

#[test]
fn what_no_record_can_have_is_refused() {
    for (pointer, value, word) in [
        ("/proto", json!("udp"), "protocol"),
        ("/family", json!("ipv6"), "family"),
        ("/time", json!("yesterday"), "time"),
        ("/time", json!("9999-01-01T00:00:00.000000000Z"), "time"),
        ("/id", json!("+123456789abcdef"), "id"),
        ("/id", json!("ab"), "id"),
        ("/cgroup/id", json!("x"), "cgroup"),
        ("/process/name", json!("x".repeat(257)), "name"),
        ("/process/name", json!("\u{1}".repeat(256)), "name"),
        ("/users/2/name", json!("x".repeat(257)), "name"),
        ("/host", json!("x".repeat(257)), "host"),
        ("/peer/city", json!("x".repeat(257)), "too long"),
        ("/peer/asn", json!(-1), "-1"),
        ("/process/pid", json!(0), "nonzero"),
        ("/local/port", json!(0), "nonzero"),
        ("/local/port", json!(65_536), "65536"),
        ("/local/ip", json!("nowhere"), "IP address"),
        ("/netns", json!(-1), "-1"),
        ("/event", json!("reboot"), "unknown variant"),
        ("/direction", json!("sideways"), "unknown variant"),
        ("/bytes/tx", json!(1.5), "1.5"),
    ] {
        let error = read(&changed(pointer, value)).unwrap_err().to_string();
        assert!(
            error.starts_with("not a record (") && error.contains(word),
            "{error}"
        );
    }
}

#[test]
fn what_is_not_a_record_is_told_apart() {
    let told = |line: &[u8]| read(line).unwrap_err().to_string();
    let newer = changed("/v", json!(2));
    assert!(told(&newer).starts_with("a record of schema version 2, "));
    assert!(
        told(br#"{"v":3,"event":"close","other":1}"#).starts_with("a record of schema version 3")
    );
    assert!(told(&changed("/v", json!(0))).starts_with("a record of schema version 0"));
    assert!(told(br#"{"v":1,"event":"summary","ports":[]}"#).starts_with("a summary,"));
    let line = written(&full());
    let twice = [line.trim_ascii_end(), &line].concat();
    assert!(told(&twice).contains("trailing characters"));
    for other in [
        &b"{}"[..],
        b"[]",
        b"null",
        b"7",
        b"GET / HTTP/1.1",
        b"\0\0",
        b"\xff\xfe{",
        b"{\"v\":1",
    ] {
        assert!(told(other).starts_with("not a record ("));
    }
}

#[test]
fn a_line_cut_anywhere_is_no_record() {
    let line = written(&full());
    let line = line.trim_ascii_end();
    for end in 0..line.len() {
        assert!(read(&line[..end]).is_err());
    }
    assert!(read(line).is_ok());
}

#[test]
fn a_line_that_is_no_record_adds_no_host() {
    let mut hosts = Hosts::default();
    let mut bad: Value = serde_json::from_slice(&changed("/host", json!("ghost"))).unwrap();
    bad["id"] = json!("?");
    parse(&serde_json::to_vec(&bad).unwrap(), &mut hosts).unwrap_err();
    assert_eq!(hosts.same_again("ghost"), None);
}
