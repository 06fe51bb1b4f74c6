//! Summaries for tests; their tables add up.

use std::net::IpAddr;

use crate::record::{Direction, WallTime};
use crate::summary::{Counts, Loss, Others, PeerRow, PortRow, ProcessRow, Summary, Traced};

pub(crate) const HOST_NETNS: u32 = 4_026_531_840;

/// In the order of the columns.
pub(crate) fn counts([accepts, connects, failures, open, tx, rx]: [u64; 6]) -> Counts {
    Counts {
        accepts,
        connects,
        failures,
        unaccepted: 0,
        pre_existing: 0,
        open,
        tx,
        rx,
        wire: None,
    }
}

pub(crate) fn port(direction: Direction, port: u16, numbers: [u64; 6]) -> PortRow {
    PortRow {
        host: None,
        port,
        direction,
        netns: HOST_NETNS,
        at_least: false,
        counts: counts(numbers),
    }
}

pub(crate) fn process(process: Option<(u32, &str)>, numbers: [u64; 6]) -> ProcessRow {
    let (pid, name) = process.unzip();
    let (uid, start_ns) = (pid.map(|_| 33), pid.map(|_| 5));
    ProcessRow {
        host: None,
        pid,
        name: name.map(Into::into),
        uid,
        start_ns,
        known: None,
        at_least: false,
        counts: counts(numbers),
    }
}

pub(crate) fn peer(ip: Option<&str>, numbers: [u64; 6]) -> PeerRow {
    let ip: Option<IpAddr> = ip.map(|ip| ip.parse().unwrap());
    PeerRow {
        host: None,
        ip,
        known: None,
        netns: HOST_NETNS,
        at_least: false,
        counts: counts(numbers),
    }
}

pub(crate) fn empty() -> Summary {
    Summary {
        v: 1,
        event: "summary",
        time: WallTime(1_769_860_800_000_000_000),
        host: Some("box".into()),
        traced: Some(Traced {
            duration_ns: 10_250_999_999,
            backend: "tracepoint".to_owned(),
            accounting: "process",
            not_attached: Vec::new(),
        }),
        ports: Vec::new(),
        processes: Vec::new(),
        peers: Vec::new(),
        other: Others::default(),
        total: Counts::default(),
        unattributed_tx: 0,
        unattributed_rx: 0,
        loss: Some(Loss::default()),
        kernel: None,
        replay: None,
        sampled: None,
    }
}

pub(crate) fn busy() -> Summary {
    Summary {
        ports: vec![
            port(
                Direction::Inbound,
                80,
                [10_000, 0, 0, 3, 3_000_000_000, 1_234_567],
            ),
            port(Direction::Outbound, 443, [0, 12, 2, 0, 5_000, 900]),
            port(Direction::Inbound, 22, [1, 0, 0, 1, 700, 33]),
        ],
        processes: vec![
            process(
                Some((1234, "nginx")),
                [10_000, 0, 0, 3, 2_999_999_000, 1_234_567],
            ),
            process(
                Some((1_234_567, "a-15-byte-name!")),
                [0, 12, 2, 0, 5_000, 900],
            ),
            process(Some((7, "sshd")), [1, 0, 0, 1, 700, 33]),
            process(None, [0, 0, 0, 0, 1_000, 0]),
        ],
        peers: vec![
            peer(
                Some("2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"),
                [9_999, 0, 0, 3, 2_999_000_000, 1_234_000],
            ),
            peer(Some("192.168.178.123"), [2, 12, 2, 1, 5_700, 933]),
            peer(None, [0, 0, 0, 0, 1_000_000, 567]),
        ],
        total: counts([10_001, 12, 2, 4, 3_000_005_700, 1_235_500]),
        unattributed_tx: 1_000,
        ..empty()
    }
}
