use std::sync::Arc;

use super::*;
use crate::record::{Bytes, ClosedBy, Direction, Endpoint, Peer, User};
use crate::sink::samples::{between, closed, endpoint, inbound, outbound};

const OPTIONS: LiveOptions = LiveOptions {
    colour: false,
    traffic: false,
    milliseconds: true,
    zone: TimeZone::UTC,
    time: TimeStyle::Wall,
    measure: Measure::Mono,
    width: 200,
};

fn lines(options: LiveOptions, records: &[Record]) -> Vec<String> {
    let mut live = Live::new(options);
    let mut out = BytesMut::new();
    live.header(&mut out);
    for record in records {
        live.record(record, &mut out);
    }
    let text = String::from_utf8(out.to_vec()).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

fn failed() -> Record {
    Record {
        latency_ns: Some(61_400),
        reason: Some("refused"),
        closed_by: Some(ClosedBy::Remote),
        ..outbound(EventKind::Failed)
    }
}

#[test]
fn a_connection_reads_from_left_to_right() {
    let connect = Record {
        latency_ns: Some(12_345_678),
        ..outbound(EventKind::Established)
    };
    let reset = Record {
        reason: Some("reset"),
        closed_by: Some(ClosedBy::Remote),
        duration_ns: Some(61_234_000_000),
        ..closed(1_234_567, 0)
    };
    let records = [
        inbound(EventKind::Accept),
        connect,
        failed(),
        closed(300_000, 12),
        reset,
    ];
    assert_eq!(
        lines(OPTIONS, &records),
        [
            "TIME         EVENT     PID NAME  LOCAL           REMOTE            TX   RX    MS",
            "12:00:00.123 accept   1234 nginx 10.0.0.5:80  <- 10.0.0.9:20122",
            "12:00:00.123 connect  1234 nginx 10.0.0.5:20122 -> 10.0.0.9:443              12.34",
            "12:00:00.123 failed   1234 nginx 10.0.0.5:20122 -> 10.0.0.9:443              0.061 \
             refused by remote",
            "12:00:00.123 close    1234 nginx 10.0.0.5:80    <- 10.0.0.9:20122  300000   12 3.214",
            "12:00:00.123 close    1234 nginx 10.0.0.5:80    <- 10.0.0.9:20122  1234567    0 \
             61234 reset by remote",
        ]
    );
}

#[test]
fn a_small_loopback_exchange_fits_eighty_columns() {
    let (local, remote) = (endpoint("127.0.0.1", 80), endpoint("127.0.0.1", 20_122));
    let close = between(EventKind::Close, Direction::Inbound, local, remote);
    let close = Record {
        bytes: closed(1024, 78).bytes,
        duration_ns: Some(999_999),
        ..close
    };
    for line in lines(
        OPTIONS,
        &[
            Record {
                event: EventKind::Accept,
                ..close.clone()
            },
            close,
        ],
    ) {
        assert!(line.len() <= 80, "{} columns: {line}", line.len());
    }
}

#[test]
fn ipv6_addresses_are_bracketed_and_widen_only_their_own_line() {
    let local = endpoint("2001:db8:aaaa:bbbb:cccc:dddd:eeee:1", 443);
    let remote = Endpoint {
        port: None,
        ..endpoint("::1", 0)
    };
    let wide = between(EventKind::Accept, Direction::Inbound, local, remote);
    let lines = lines(OPTIONS, &[wide, inbound(EventKind::Accept)]);
    assert_eq!(
        lines[1],
        "12:00:00.123 accept   1234 nginx [2001:db8:aaaa:bbbb:cccc:dddd:eeee:1]:443 <- [::1]:*"
    );
    assert_eq!(
        lines[2],
        "12:00:00.123 accept   1234 nginx 10.0.0.5:80           <- 10.0.0.9:20122"
    );
}

#[test]
fn an_unknown_owner_is_a_dash_and_wide_letters_keep_the_columns() {
    let unknown = Record {
        process: None,
        ..inbound(EventKind::Accept)
    };
    let mut wide = inbound(EventKind::Accept);
    wide.process.as_mut().unwrap().name = "日本".into();
    let lines = lines(OPTIONS, &[unknown, wide]);
    assert_eq!(
        lines[1],
        "12:00:00.123 accept      - -     10.0.0.5:80  <- 10.0.0.9:20122"
    );
    assert_eq!(
        lines[2],
        "12:00:00.123 accept   1234 日本  10.0.0.5:80  <- 10.0.0.9:20122"
    );
}

#[test]
fn traffic_and_calls_are_shown_only_if_asked_and_calls_with_their_caller() {
    let bytes = Some(Bytes {
        tx: 5,
        rx: 0,
        ..Bytes::default()
    });
    let worker = User {
        pid: 9,
        name: "worker".into(),
        uid: 0,
        start_ns: 0,
        tx: 5,
        rx: 0,
    };
    let io = Record {
        bytes,
        users: smallvec::smallvec![worker],
        ..inbound(EventKind::Io)
    };
    let traffic = Record {
        bytes,
        ..inbound(EventKind::Traffic)
    };
    let records = [
        inbound(EventKind::Open),
        io,
        traffic,
        inbound(EventKind::Ended),
    ];
    assert_eq!(lines(OPTIONS, &records).len(), 1);
    let asked = lines(
        LiveOptions {
            traffic: true,
            ..OPTIONS
        },
        &records,
    );
    assert_eq!(
        asked[1..],
        [
            "12:00:00.123 io          9 worker 10.0.0.5:80  <- 10.0.0.9:20122     5    0",
            "12:00:00.123 traffic  1234 nginx  10.0.0.5:80  <- 10.0.0.9:20122     5    0",
        ]
    );
}

#[test]
fn what_is_known_of_a_peer_stands_at_the_end_of_the_line() {
    let note = |peer: Peer, record: Record| {
        let record = Record {
            peer: Some(Arc::new(peer)),
            ..record
        };
        let line = lines(OPTIONS, &[record]).pop().unwrap();
        let (_, note) = line.split_once("20122 ").unwrap_or_default();
        note.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let peer = |country: &str, asn, name: &str| Peer {
        country: (!country.is_empty()).then(|| country.into()),
        asn,
        reverse_dns: (!name.is_empty()).then(|| name.into()),
        ..Peer::default()
    };
    let accept = || inbound(EventKind::Accept);
    assert_eq!(note(peer("DE", Some(64_500), ""), accept()), "DE");
    assert_eq!(note(peer("", Some(64_500), ""), accept()), "AS64500");
    assert_eq!(
        note(peer("DE", None, "a.example"), accept()),
        "DE a.example?"
    );
    let long = "host-192-0-2-7.dynamic.subscribers.example.org";
    let shown = note(peer("", None, long), accept());
    assert_eq!(shown, "…dynamic.subscribers.example.org?");
    let refused = note(peer("DE", None, ""), failed());
    assert!(refused.ends_with("refused by remote DE"), "{refused}");
}

#[test]
fn colour_marks_failures_and_closes_and_only_on_request() {
    let records = [inbound(EventKind::Accept), failed(), closed(1, 2)];
    let coloured = lines(
        LiveOptions {
            colour: true,
            ..OPTIONS
        },
        &records,
    );
    let plain = lines(OPTIONS, &records);
    assert!(plain.iter().all(|line| !line.contains('\x1b')));
    assert_eq!(coloured[1], plain[1]);
    assert_eq!(coloured[2], format!("\x1b[31m{}\x1b[0m", plain[2]));
    assert_eq!(coloured[3], format!("\x1b[2m{}\x1b[0m", plain[3]));
}

#[test]
fn times_are_local_to_the_given_zone() {
    let zone = TimeZone::fixed(jiff::tz::offset(-5));
    let lines = lines(
        LiveOptions { zone, ..OPTIONS },
        &[inbound(EventKind::Accept)],
    );
    assert!(lines[1].starts_with("07:00:00.123 "), "{}", lines[1]);
}

#[test]
fn a_narrow_line_has_whole_seconds() {
    let options = LiveOptions {
        milliseconds: false,
        ..OPTIONS
    };
    let lines = lines(options, &[inbound(EventKind::Accept)]);
    assert!(lines[0].starts_with("TIME     EVENT"), "{}", lines[0]);
    assert!(lines[1].starts_with("12:00:00 accept"), "{}", lines[1]);
}

#[test]
fn other_times_line_up_and_none_leaves_no_column() {
    let records = [
        inbound(EventKind::Accept),
        Record {
            mono_ns: 12_000_000_077,
            ..closed(1, 2)
        },
    ];
    let with = |time| {
        let lines = lines(LiveOptions { time, ..OPTIONS }, &records);
        let first = |line: &String| line.split("1234").next().unwrap().to_owned();
        (first(&lines[1]), first(&lines[2]), lines[0].clone())
    };
    let (first, second, head) = with(TimeStyle::Delta);
    assert_eq!(
        (first.as_str(), second.as_str()),
        ("0.000000 accept   ", "12.000000 close    ")
    );
    assert!(head.starts_with("    TIME EVENT  "), "{head}");
    let (first, _, head) = with(TimeStyle::None);
    assert_eq!(first, "accept   ");
    assert!(head.starts_with("EVENT     PID NAME"), "{head}");
}

#[test]
fn durations_keep_at_least_three_digits() {
    for (ns, text) in [
        (0, "0.000"),
        (999, "0.000"),
        (9_999_999, "9.999"),
        (10_000_000, "10.00"),
        (999_960_000, "999.9"),
        (1_000_000_000, "1000"),
        (u64::MAX, "18446744073709"),
    ] {
        let mut cell = String::new();
        write_milliseconds(ns, &mut cell).unwrap();
        assert_eq!(cell, text);
    }
}
