//! An interval as `interval` records: a line a row, and one for the total, so that each is found by
//! `grep` and fits any reader's limit.

use std::net::IpAddr;

use bytes::BytesMut;
use serde::Serialize;

use crate::interval::table::{Key, Label};
use crate::interval::{Interval, Row, Rows};
use crate::record::{Direction, SCHEMA_VERSION, WallTime};
use crate::sink::json::write_line;
use crate::summary::{Counts, Missing};
use crate::wire::Wire;

/// One line. What is not known is absent.
#[derive(Debug, Serialize)]
struct Line<'a> {
    v: u8,
    time: WallTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    event: &'static str,
    start: WallTime,
    end: WallTime,
    duration_ns: u64,
    by: &'static str,
    #[serde(flatten)]
    about: About<'a>,
    accepts: u64,
    connects: u64,
    failures: u64,
    unaccepted: u64,
    pre_existing: u64,
    tx: u64,
    rx: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<Wire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_per_second: Option<f64>,
}

/// What a line is about; nothing at all of the total and of what is not known.
#[derive(Debug, Default, Serialize)]
struct About<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
    /// As text, as in records.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
    /// Rows beyond `--top`,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_rows: Option<u64>,
    /// and beyond `--max-rows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_missing: Option<Missing>,
}

/// Appends `interval`: all rows, unless the user said how many a table, and what is beyond in one.
/// `sequence` counts the lines, where they are part of a run's records.
pub fn write(interval: &Interval, mut sequence: Option<&mut u64>, out: &mut BytesMut) {
    let mut line = |by, host, about, counts: &Counts| {
        let seq = sequence.as_deref_mut().map(|sequence| {
            *sequence += 1;
            *sequence
        });
        write_line(&new_line(interval, seq, by, host, about, counts), out);
    };
    for table in &interval.tables {
        let by = table.by.name();
        let (shown, more) = split(table, interval.top);
        for row in shown {
            line(by, row.host.as_deref(), about(row), &row.counts);
        }
        if !more.is_empty() {
            let about = About {
                more_rows: Some(more.len() as u64),
                ..About::default()
            };
            line(by, None, about, &super::sum(more));
        }
        if let Some(other) = &table.other {
            let about = About {
                other_rows: Some(other.rows),
                most_missing: Some(other.most_missing),
                ..About::default()
            };
            line(by, None, about, &other.counts);
        }
    }
    line(TOTAL, None, About::default(), &interval.total);
}

/// What the line with the sum of each table is by.
const TOTAL: &str = "total";

fn split(table: &Rows, top: Option<usize>) -> (&[Row], &[Row]) {
    let shown = top.unwrap_or(usize::MAX).min(table.rows.len());
    table.rows.split_at(shown)
}

fn new_line<'a>(
    interval: &'a Interval,
    seq: Option<u64>,
    by: &'static str,
    host: Option<&'a str>,
    about: About<'a>,
    counts: &Counts,
) -> Line<'a> {
    let Counts {
        accepts,
        connects,
        failures,
        unaccepted,
        pre_existing,
        open: _,
        tx,
        rx,
        wire,
    } = *counts;
    // A thousandth is enough, and keeps the lines short.
    let rate = |number| interval.rate(number).map(|it| (it * 1e3).round() / 1e3);
    Line {
        v: SCHEMA_VERSION,
        time: interval.end,
        seq,
        host: host.or(interval.host.as_deref()),
        event: "interval",
        start: interval.start,
        end: interval.end,
        duration_ns: interval.duration_ns,
        by,
        about,
        accepts,
        connects,
        failures,
        unaccepted,
        pre_existing,
        tx,
        rx,
        wire,
        connections_per_second: rate(counts.connections()),
        tx_per_second: rate(tx),
        rx_per_second: rate(rx),
    }
}

fn about(row: &Row) -> About<'_> {
    let mut about = About {
        at_least: row.at_least,
        ..About::default()
    };
    let text = match &row.label {
        Label::Text(text) => Some(text.as_str()),
        _ => None,
    };
    match row.key {
        Key::Unknown => {}
        Key::Peer { ip, netns } => (about.ip, about.netns) = (ip, Some(netns)),
        Key::Port {
            netns,
            direction,
            port,
        } => {
            (about.port, about.direction) = (Some(port), Some(direction));
            about.netns = Some(netns);
        }
        Key::Process { pid, start_ns } => {
            (about.pid, about.start_ns) = (Some(pid), Some(start_ns));
            if let Label::Process { name, uid } = &row.label {
                (about.name, about.uid) = (Some(name.as_str()), Some(*uid));
            }
        }
        Key::User(uid) => (about.uid, about.user) = (Some(uid), text),
        Key::Country(_) => about.country = text,
        Key::Asn(asn) => (about.asn, about.organization) = (Some(asn), text),
        Key::Class(class) => about.class = Some(class.name()),
        Key::Container(_) => {
            if let Label::Container(container) = &row.label {
                about.container = Some(&container.id);
                about.runtime = container.runtime;
            }
        }
        Key::Cgroup(id) => about.cgroup = Some(id.to_string()),
        Key::Netns(netns) => about.netns = Some(netns),
    }
    about
}
