//! The text of each cell.

use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::record::{ClosedBy, Direction, Endpoint, EventKind, Record, WallTime};

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

pub(super) fn write_clock(time: WallTime, zone: &TimeZone, cell: &mut String) -> std::fmt::Result {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
    let local = zone.to_datetime(time);
    let (hour, minute, second) = (local.hour(), local.minute(), local.second());
    write!(
        cell,
        "{hour:02}:{minute:02}:{second:02}.{:03}",
        local.millisecond()
    )
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
    let Some(reason) = record.reason else {
        return Ok(());
    };
    cell.write_str(reason)?;
    match record.closed_by {
        Some(ClosedBy::Local) => cell.write_str(" by local"),
        Some(ClosedBy::Remote) => cell.write_str(" by remote"),
        Some(ClosedBy::Kernel) => cell.write_str(" by kernel"),
        None => Ok(()),
    }
}
