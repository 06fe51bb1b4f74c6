//! A map for tests.

use std::sync::Arc;

use crate::map::{Forgotten, Map, Relation, Source, Uses};
use crate::record::{Direction, WallTime};

/// 2026-01-31 12:00:00 UTC.
pub(crate) const NOON: WallTime = WallTime(1_769_860_800_000_000_000);

pub(crate) fn inbound(service: &str, peer: &str, process: &str) -> Relation {
    Relation {
        host: Arc::from("box"),
        direction: Direction::Inbound,
        service: Some(service.parse().unwrap()),
        peer: Some(peer.parse().unwrap()),
        process: Some(process.into()),
        source: Source::Traced,
    }
}

pub(crate) fn outbound(service: &str, process: &str) -> Relation {
    Relation {
        direction: Direction::Outbound,
        peer: None,
        ..inbound(service, "::", process)
    }
}

pub(crate) fn imported(peer: &str) -> Relation {
    Relation {
        service: None,
        process: None,
        source: Source::Imported,
        ..inbound("0.0.0.0:0", peer, "")
    }
}

/// Used `connections` times until as many minutes after noon.
pub(crate) fn uses(connections: u64) -> Uses {
    let minutes = i64::try_from(connections).unwrap();
    Uses {
        last_seen: WallTime(NOON.0 + minutes * 60_000_000_000),
        connections,
        tx: connections * 1000,
        rx: connections,
        pid: Some(7),
        uid: Some(33),
        ..Uses::at(NOON)
    }
}

/// Two services here, two elsewhere, loopback, and an imported address.
pub(crate) fn map() -> Map {
    let relations = vec![
        (inbound("10.0.0.5:80", "10.0.0.10", "nginx"), uses(3)),
        (inbound("10.0.0.5:80", "9.0.0.1", "nginx"), uses(1)),
        (inbound("10.0.0.5:80", "10.0.0.10", "apache"), uses(2)),
        (inbound("[2001:db8::5]:80", "2001:db8::a", "nginx"), uses(4)),
        (inbound("127.0.0.1:80", "127.0.0.1", "nginx"), uses(9)),
        (outbound("10.0.0.9:5432", "php \"fpm\""), uses(5)),
        (outbound("10.0.0.9:5432", "psql"), uses(1)),
        (outbound("[::]:1", "psql"), uses(1)),
        (imported("192.0.2.1"), Uses::at(NOON)),
    ];
    Map {
        relations,
        forgotten: Forgotten::default(),
    }
}
