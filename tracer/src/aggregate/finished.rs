//! Rows of the grown tables to rows of the summary. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hosts::Hosts;
use super::rows::Row;
use super::{PeerKey, PortKey, ProcessKey, ProcessLabel, THIS_HOST};
use crate::record::Peer;
use crate::summary::{Counts, PeerRow, PortRow, ProcessRow};

pub(super) fn port_row(hosts: &Hosts, (key, row): (PortKey, Row<()>)) -> PortRow {
    PortRow {
        host: hosts.of_row(key.host),
        port: key.port,
        direction: key.direction,
        netns: key.netns,
        at_least: row.at_least,
        counts: row.counts,
    }
}

pub(super) fn peer_rows(
    hosts: &Hosts,
    peers: Vec<(PeerKey, Row<Option<Arc<Peer>>>)>,
    without: BTreeMap<u32, Counts>,
) -> Vec<PeerRow> {
    let row = |(host, ip, netns), known, at_least, counts| PeerRow {
        host: hosts.of_row(host),
        ip,
        known,
        netns,
        at_least,
        counts,
    };
    let mut rows: Vec<_> = peers
        .into_iter()
        .map(|((host, ip, netns), kept)| {
            let key = (host, Some(ip), netns);
            row(key, kept.label, kept.at_least, kept.counts)
        })
        .collect();
    for (netns, counts) in without {
        rows.insert(
            place(&rows, &counts, |row| &row.counts),
            row((THIS_HOST, None, netns), None, false, counts),
        );
    }
    rows
}

pub(super) fn process_rows(
    hosts: &Hosts,
    processes: Vec<(ProcessKey, Row<ProcessLabel>)>,
    nobody: Vec<Counts>,
) -> Vec<ProcessRow> {
    let mut rows: Vec<_> = processes
        .into_iter()
        .map(|((host, pid, start_ns), kept)| ProcessRow {
            host: hosts.of_row(host),
            pid: Some(pid),
            name: Some(kept.label.name),
            uid: Some(kept.label.uid),
            start_ns: Some(start_ns),
            known: kept.label.known,
            at_least: kept.at_least,
            counts: kept.counts,
        })
        .collect();
    for (host, counts) in (0..).zip(nobody) {
        if counts == Counts::default() {
            continue;
        }
        let row = ProcessRow {
            host: hosts.of_row(host),
            pid: None,
            name: None,
            uid: None,
            start_ns: None,
            known: None,
            at_least: false,
            counts,
        };
        rows.insert(place(&rows, &counts, |row| &row.counts), row);
    }
    rows
}

/// Where among sorted rows one without a key belongs: before those that are as busy.
fn place<T>(rows: &[T], counts: &Counts, counts_of: impl Fn(&T) -> &Counts) -> usize {
    let busy = |counts: &Counts| (counts.connections(), counts.bytes());
    rows.partition_point(|row| busy(counts_of(row)) > busy(counts))
}
