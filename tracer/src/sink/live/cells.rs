//! The text of each cell.

use std::fmt::Write;

use crate::record::{ClosedBy, Direction, Endpoint, EventKind, Peer, Record};

/// Letters of a peer's name.
const LONGEST_NAME: usize = 32;

/// What happened, in at most seven letters.
pub(super) const fn label(event: EventKind) -> &'static str {
    match event {
        EventKind::Open => "attempt",
        EventKind::Established => "connect",
        EventKind::Accept => "accept",
        EventKind::Failed => "failed",
        EventKind::Traffic => "traffic",
        EventKind::Io => "io",
        EventKind::Ended => "ended",
        EventKind::Close => "close",
        EventKind::OpenAtExit => "open",
    }
}

pub(super) const fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "<-",
        Direction::Outbound => "->",
    }
}

/// The owner, but for one call (`io`) its caller.
pub(super) fn shown_process(record: &Record) -> Option<(u32, &str)> {
    let caller = record
        .users
        .first()
        .filter(|_| record.event == EventKind::Io);
    let owner = record.process.as_ref();
    caller
        .map(|user| (user.pid, user.name.as_str()))
        .or_else(|| owner.map(|process| (process.pid, process.name.as_str())))
}

pub(super) fn write_known(
    value: Option<impl std::fmt::Display>,
    cell: &mut String,
) -> std::fmt::Result {
    match value {
        Some(value) => write!(cell, "{value}"),
        None => cell.write_str("-"),
    }
}

pub(super) fn write_if_any(number: Option<u64>, cell: &mut String) -> std::fmt::Result {
    number.map_or(Ok(()), |number| write!(cell, "{number}"))
}

pub(super) fn write_endpoint(endpoint: &Endpoint, cell: &mut String) -> std::fmt::Result {
    if endpoint.ip.is_ipv6() {
        write!(cell, "[{}]:", endpoint.ip)?;
    } else {
        write!(cell, "{}:", endpoint.ip)?;
    }
    match endpoint.port {
        Some(port) => write!(cell, "{port}"),
        None => cell.write_str("*"),
    }
}

/// Milliseconds with the decimals that five columns leave room for.
pub(super) fn write_milliseconds(ns: u64, cell: &mut String) -> std::fmt::Result {
    let (ms, us) = (ns / 1_000_000, ns / 1_000 % 1_000);
    match ms {
        0..10 => write!(cell, "{ms}.{us:03}"),
        10..100 => write!(cell, "{ms}.{:02}", us / 10),
        100..1000 => write!(cell, "{ms}.{}", us / 100),
        _ => write!(cell, "{ms}"),
    }
}

pub(super) fn write_note(record: &Record, cell: &mut String) -> std::fmt::Result {
    if let Some(reason) = record.reason {
        cell.write_str(reason)?;
        cell.write_str(match record.closed_by {
            Some(ClosedBy::Local) => " by local",
            Some(ClosedBy::Remote) => " by remote",
            Some(ClosedBy::Kernel) => " by kernel",
            None => "",
        })?;
    }
    record
        .peer
        .as_deref()
        .map_or(Ok(()), |peer| write_peer(peer, cell))
}

/// Where the peer is, in a few letters, and its name, marked as looked up. Of a long name the end,
/// which names the domain.
fn write_peer(peer: &Peer, cell: &mut String) -> std::fmt::Result {
    let gap = |cell: &mut String| cell.push_str(if cell.is_empty() { "" } else { " " });
    if let Some(country) = &peer.country {
        gap(cell);
        cell.write_str(country)?;
    } else if let Some(asn) = peer.asn {
        gap(cell);
        write!(cell, "AS{asn}")?;
    }
    if let Some(name) = &peer.reverse_dns {
        gap(cell);
        let letters = name.chars().count();
        if letters > LONGEST_NAME {
            let end = name.chars().skip(letters + 1 - LONGEST_NAME);
            cell.push('…');
            cell.extend(end);
        } else {
            cell.push_str(name);
        }
        cell.push('?');
    }
    Ok(())
}
