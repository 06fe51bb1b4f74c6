//! Records for tests.

use std::net::IpAddr;

use compact_str::CompactString;

use crate::reconcile::Ending;
use crate::record::{
    Bytes, Cgroup, ConnectionId, Direction, Endpoint, EventKind, Family, Process, Record,
    SCHEMA_VERSION, Users, WallTime,
};

pub(crate) fn endpoint(ip: &str, port: u16) -> Endpoint {
    Endpoint {
        ip: ip.parse().unwrap(),
        port: Some(port),
    }
}

pub(crate) fn between(
    event: EventKind,
    direction: Direction,
    local: Endpoint,
    remote: Endpoint,
) -> Record {
    let name = CompactString::const_new("nginx");
    Record {
        v: SCHEMA_VERSION,
        // 2026-01-31 12:00:00 UTC.
        time: WallTime(1_769_860_800_123_456_789),
        mono_ns: 77,
        seq: 1,
        host: "box".into(),
        event,
        id: ConnectionId(0xab),
        proto: "tcp",
        direction,
        family: match local.ip {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        },
        socket_family: None,
        local,
        remote,
        peer: None,
        process: Some(Process {
            pid: 1234,
            tid: 1234,
            name: name.clone(),
            thread: name,
            uid: 33,
            start_ns: 5,
            details: None,
        }),
        closer: None,
        users: Users::new(),
        netns: 4_026_531_840,
        cgroup: None,
        bytes: None,
        wire: None,
        duration_ns: None,
        latency_ns: None,
        queue_ns: None,
        rtt_us: None,
        retransmits: None,
        reason: None,
        closed_by: None,
        pre_existing: false,
        sampled: false,
        ending: Ending::default(),
    }
}

pub(crate) fn inbound(event: EventKind) -> Record {
    let (local, remote) = (endpoint("10.0.0.5", 80), endpoint("10.0.0.9", 20_122));
    between(event, Direction::Inbound, local, remote)
}

pub(crate) fn outbound(event: EventKind) -> Record {
    let (local, remote) = (endpoint("10.0.0.5", 20_122), endpoint("10.0.0.9", 443));
    between(event, Direction::Outbound, local, remote)
}

pub(crate) fn closed(tx: u64, rx: u64) -> Record {
    Record {
        bytes: Some(Bytes {
            tx,
            rx,
            ..Bytes::default()
        }),
        duration_ns: Some(3_214_567),
        cgroup: Some(Cgroup {
            id: 7_205_759_403_792_794,
            path: None,
        }),
        ..inbound(EventKind::Close)
    }
}
