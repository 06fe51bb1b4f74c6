use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::record::{ConnectionId, Endpoint, Family, Process, User, WallTime};

const CLIENT_PORT: u16 = 20_001;
const SERVER_PORT: u16 = 20_002;
const PID: u32 = 77;

fn truth() -> Truth {
    Truth {
        client_port: CLIENT_PORT,
        server_port: SERVER_PORT,
        to_server: 100,
        to_client: 200,
        process: Own {
            name: "conntracer".to_owned(),
            pid: Some(PID),
        },
    }
}

fn record(event: EventKind, direction: Direction) -> Record {
    let is_client = direction == Direction::Outbound;
    let (tx, rx) = if is_client { (100, 200) } else { (200, 100) };
    let closed_by = if is_client {
        ClosedBy::Local
    } else {
        ClosedBy::Remote
    };
    let end = |port| Endpoint {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: Some(port),
    };
    let (client, server) = (end(CLIENT_PORT), end(SERVER_PORT));
    Record {
        v: 1,
        time: WallTime(0),
        mono_ns: 0,
        seq: 0,
        host: "h".into(),
        event,
        id: ConnectionId(1),
        proto: "tcp",
        direction,
        family: Family::Ipv4,
        socket_family: None,
        local: if is_client { client } else { server },
        remote: if is_client { server } else { client },
        peer: None,
        process: Some(Process {
            pid: PID,
            tid: PID,
            name: "conntracer".into(),
            thread: "conntracer".into(),
            uid: 0,
            start_ns: 1,
            details: None,
        }),
        closer: None,
        users: smallvec::smallvec![User {
            pid: PID,
            name: "conntracer".into(),
            uid: 0,
            start_ns: 1,
            tx,
            rx,
        }],
        netns: 1,
        cgroup: None,
        bytes: Some(Bytes {
            tx,
            rx,
            ..Bytes::default()
        }),
        wire: None,
        duration_ns: None,
        latency_ns: None,
        queue_ns: None,
        rtt_us: None,
        retransmits: None,
        reason: None,
        closed_by: Some(closed_by),
        pre_existing: false,
        sampled: false,
        ending: crate::reconcile::Ending::default(),
    }
}

fn records() -> Vec<Record> {
    use Direction::{Inbound, Outbound};
    [
        (EventKind::Open, Outbound),
        (EventKind::Established, Outbound),
        (EventKind::Accept, Inbound),
        (EventKind::Close, Outbound),
        (EventKind::Close, Inbound),
    ]
    .map(|(event, direction)| record(event, direction))
    .into()
}

/// The sentences of what differs.
fn wrong(records: &[Record]) -> Vec<String> {
    let all = compare(&truth(), records, true);
    differing(&all).map(Comparison::sentence).collect()
}

#[test]
fn the_records_of_what_happened_are_right() {
    assert_eq!(wrong(&records()), [""; 0]);
}

#[test]
fn nothing_seen_is_wrong() {
    let wrong = wrong(&[]);
    assert!(wrong.contains(&"accepts: 1 expected, 0 seen".to_owned()));
    assert!(wrong.contains(&"bytes sent by the client: 100 expected, nothing seen".to_owned()));
}

#[test]
fn each_deviation_is_found_alone() {
    type Change = fn(&mut Vec<Record>);
    let changes: [(&str, Change); 9] = [
        ("connects", |all| {
            all.remove(1);
        }),
        ("accepts", |all| {
            all.push(record(EventKind::Accept, Direction::Inbound));
        }),
        ("failed attempts", |all| {
            all.push(record(EventKind::Failed, Direction::Outbound));
        }),
        ("closed clients", |all| {
            all.push(record(EventKind::Close, Direction::Outbound));
        }),
        ("process that accepted", |all| {
            all[4].process.as_mut().unwrap().pid = 1;
        }),
        ("bytes received by the server", |all| {
            all[4].bytes.as_mut().unwrap().rx += 1;
        }),
        ("bytes the client's process", |all| all[3].users[0].pid = 1),
        ("client's end closed by", |all| {
            all[3].closed_by = Some(ClosedBy::Remote);
        }),
        ("server's end closed by", |all| {
            all[4].reason = Some("reset");
        }),
    ];
    for (what, change) in changes {
        let mut records = records();
        change(&mut records);
        let wrong = wrong(&records);
        assert!(!wrong.is_empty(), "{what}");
        assert!(wrong.iter().all(|it| it.starts_with(what)), "{wrong:?}");
    }
}

#[test]
fn other_connections_do_not_count() {
    let mut records = records();
    let mut other = record(EventKind::Close, Direction::Outbound);
    other.local.port = Some(20_003);
    records.push(other);
    assert_eq!(wrong(&records), [""; 0]);
}

#[test]
fn bytes_by_process_are_not_expected_of_hooks_that_do_not_see_them() {
    let mut records = records();
    for record in &mut records {
        record.users.clear();
    }
    assert!(!wrong(&records).is_empty());
    let all = compare(&truth(), &records, false);
    assert_eq!(differing(&all).count(), 0);
    let unseen = all.iter().filter(|it| it.verdict == Verdict::Warning);
    assert_eq!(unseen.count(), 4);
}

#[test]
fn where_the_own_pid_is_not_known_the_name_decides() {
    let mut truth = truth();
    truth.process.pid = None;
    let mut records = records();
    assert_eq!(differing(&compare(&truth, &records, true)).count(), 0);
    for record in &mut records {
        record.process.as_mut().unwrap().name = "other".into();
    }
    assert_eq!(differing(&compare(&truth, &records, true)).count(), 2);
}
