//! An interval for tests.

use compact_str::CompactString;

use crate::interval::dimension::Dimension;
use crate::interval::table::{Key, Label};
use crate::interval::{Interval, Row, Rows};
use crate::record::{Container, Direction, WallTime};
use crate::summary::{Counts, Missing, Other};

/// 2026-01-31 12:00:00 UTC.
const START: i64 = 1_769_860_800_000_000_000;

pub(super) fn counts(accepts: u64, tx: u64, rx: u64) -> Counts {
    Counts {
        accepts,
        tx,
        rx,
        ..Counts::default()
    }
}

fn row(key: Key, label: Label, counts: Counts) -> Row {
    Row {
        host: None,
        key,
        label,
        at_least: false,
        counts,
    }
}

fn text(text: &str) -> Label {
    Label::Text(CompactString::from(text))
}

/// A row of each kind.
pub(super) fn rows(by: Dimension) -> Vec<Row> {
    let keys = match by {
        Dimension::Peer => vec![(
            Key::Peer {
                ip: Some("10.0.0.9".parse().unwrap()),
                netns: 4,
            },
            Label::None,
        )],
        Dimension::Port => vec![
            (
                Key::Port {
                    netns: 4,
                    direction: Direction::Inbound,
                    port: 80,
                },
                Label::None,
            ),
            (
                Key::Port {
                    netns: 4,
                    direction: Direction::Outbound,
                    port: 443,
                },
                Label::None,
            ),
        ],
        Dimension::Process => {
            let (pid, start_ns) = (1234, 5);
            let label = Label::Process {
                name: "nginx".into(),
                uid: 33,
            };
            vec![
                (Key::Process { pid, start_ns }, label),
                (Key::Unknown, Label::None),
            ]
        }
        Dimension::User => vec![(Key::User(33), text("www-data"))],
        Dimension::Country => vec![(Key::Country(0), text("NZ"))],
        Dimension::Asn => vec![(Key::Asn(64_500), text("Example"))],
        Dimension::Class => vec![(Key::Class(crate::address::Class::PrivateUse), Label::None)],
        Dimension::Container => {
            let container = Container {
                id: "0123456789abcdef".into(),
                runtime: Some("docker"),
            };
            vec![
                (Key::Container(0), Label::Container(container)),
                (Key::Cgroup(77), Label::None),
            ]
        }
        Dimension::Netns => vec![(Key::Netns(4), Label::None)],
    };
    let last = keys.len() - 1;
    let rows = keys.into_iter().enumerate();
    // The last one has the bytes, too.
    rows.map(|(index, (key, label))| {
        let of_all = counts(10, 40_000, 2_000);
        let counts = if index == last {
            counts(10 - last as u64, of_all.tx, of_all.rx)
        } else {
            counts(1, 0, 0)
        };
        row(key, label, counts)
    })
    .collect()
}

/// Twenty seconds with ten accepts.
pub(super) fn interval(by: &[Dimension]) -> Interval {
    Interval {
        start: WallTime(START),
        end: WallTime(START + 20_001_000_000),
        duration_ns: 20_000_000_000,
        host: Some("box".into()),
        total: counts(10, 40_000, 2_000),
        tables: by
            .iter()
            .map(|by| Rows {
                by: *by,
                rows: rows(*by),
                other: None,
            })
            .collect(),
        top: None,
        has_wire: false,
    }
}

/// The same with more peers than there is room for.
pub(super) fn crowded() -> Interval {
    let peer = |last: u8, counts| Row {
        at_least: last == 2,
        ..row(
            Key::Peer {
                ip: Some(std::net::IpAddr::from([10, 0, 0, last])),
                netns: 4,
            },
            Label::None,
            counts,
        )
    };
    let mut interval = interval(&[]);
    interval.tables.push(Rows {
        by: Dimension::Peer,
        rows: vec![
            peer(1, counts(4, 30_000, 0)),
            peer(2, counts(2, 0, 0)),
            peer(3, counts(1, 0, 0)),
            peer(4, counts(1, 0, 1_000)),
        ],
        other: Some(Other {
            rows: 2,
            most_missing: Missing {
                connections: 1,
                tx: 9_000,
                rx: 900,
            },
            counts: counts(2, 10_000, 1_000),
        }),
    });
    interval.top = Some(2);
    interval
}
