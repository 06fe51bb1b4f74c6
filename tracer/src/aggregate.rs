//! Records to tables. Only the records that carry totals count: `close`, `open_at_exit` and
//! `failed`; so a recorded run re-adds to the same tables. Pure.
//!
//! Nothing here grows for ever: each table keeps to a number of rows, and [`Tally`] has one a
//! network namespace, whose numbers the kernel uses again.

mod finished;
pub(crate) mod hosts;
pub(crate) mod rows;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use tracer_common::folded::{FoldedKey, FoldedTotals};

use crate::names::escape;
use crate::reconcile::{Reconciliation, Tally};
use crate::record::{Direction, EventKind, Peer, ProcessDetails, Record, SCHEMA_VERSION, WallTime};
use crate::summary::{Counts, KnownProcess, Loss, Others, Replayed, Sampled, Summary, Traced};
use finished::{peer_rows, port_row, process_rows};
use hosts::Hosts;
use rows::Rows;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PortKey {
    host: u32,
    netns: u32,
    direction: Direction,
    port: u16,
}

/// A process for good: on one host numbers are reused, (number, start) is not.
type ProcessKey = (u32, u32, u64);

/// As it was when it was first seen; it may execute another program and become another user.
#[derive(Clone, Debug)]
struct ProcessLabel {
    name: CompactString,
    uid: u32,
    known: Option<Box<KnownProcess>>,
}

/// An address in a network namespace of a host.
type PeerKey = (u32, IpAddr, u32);

/// The tables while they grow.
#[derive(Debug)]
pub struct Aggregate {
    hosts: Hosts,
    ports: Rows<PortKey, ()>,
    processes: Rows<ProcessKey, ProcessLabel>,
    /// What no process is known for, by host.
    nobody: Vec<Counts>,
    peers: Rows<PeerKey, Option<Arc<Peer>>>,
    /// Connections whose peer was not kept, by network namespace.
    without_peer: BTreeMap<u32, Counts>,
    total: Counts,
    /// For [`crate::reconcile`].
    pub seen: Tally,
    /// The records are made here and now, so that their network namespaces are few.
    is_live: bool,
}

impl Aggregate {
    /// Empty tables that will have at most `max_rows` rows each, and one for the rest.
    pub fn new(max_rows: usize) -> Self {
        Self {
            hosts: Hosts::default(),
            ports: Rows::new(max_rows),
            processes: Rows::new(max_rows),
            nobody: Vec::new(),
            peers: Rows::new(max_rows),
            without_peer: BTreeMap::new(),
            total: Counts::default(),
            seen: Tally::default(),
            is_live: true,
        }
    }

    /// The same for recorded records, which the kernel's counters of here and now do not tell of.
    #[must_use]
    pub fn of_recorded(max_rows: usize) -> Self {
        Self {
            is_live: false,
            ..Self::new(max_rows)
        }
    }

    /// Counts a record, if it carries totals.
    pub fn add(&mut self, record: &Record) {
        if self.is_live {
            self.seen.add(record);
        }
        let Some(counts) = counts(record) else { return };
        let host = self.hosts.number(&record.host);
        self.count(&Row {
            host,
            direction: record.direction,
            netns: record.netns,
            port: service_port(record),
            peer: Some((record.remote.ip, record.peer.as_ref())),
            owner: record.process.as_ref().map(|process| Who {
                key: (process.pid, process.start_ns),
                name: &process.name,
                uid: process.uid,
                details: process.details.as_deref(),
            }),
            counts,
        });
        // Bytes go from the owner to those who moved them, and to nobody for the rest.
        for user in &record.users {
            let who = Who {
                key: (user.pid, user.start_ns),
                name: &user.name,
                uid: user.uid,
                details: None,
            };
            self.credit(
                host,
                Some(who),
                Counts {
                    tx: user.tx,
                    rx: user.rx,
                    ..Counts::default()
                },
            );
        }
        let bytes = record.bytes.unwrap_or_default();
        let (tx, rx) = (
            bytes.unattributed_tx.unwrap_or(0),
            bytes.unattributed_rx.unwrap_or(0),
        );
        if tx | rx != 0 {
            self.credit(
                host,
                None,
                Counts {
                    tx,
                    rx,
                    ..Counts::default()
                },
            );
        }
    }

    /// Counts connections of this host that were kept as sums only. Who moved the bytes that their owner did not
    /// is not known.
    pub fn add_folded(&mut self, key: &FoldedKey, totals: &FoldedTotals) {
        self.seen.add_folded(key, totals);
        let inbound = key.inbound == 1;
        let accepted = key.tgid != 0;
        let name = escape(&totals.name);
        let who = Who {
            key: (key.tgid, key.start_ns),
            name: &name,
            uid: key.uid,
            details: None,
        };
        let counts = folded_counts(key, totals);
        let owner = accepted.then_some(who);
        self.count(&Row {
            host: THIS_HOST,
            direction: if inbound {
                Direction::Inbound
            } else {
                Direction::Outbound
            },
            netns: key.netns,
            port: key.port,
            peer: (key.remote_ip != [0; 16]).then(|| (crate::track::address(key.remote_ip), None)),
            owner,
            counts,
        });
        let by_owner = Counts {
            tx: totals.owner_tx,
            rx: totals.owner_rx,
            ..Counts::default()
        };
        let by_others = Counts {
            tx: totals.tx.saturating_sub(totals.owner_tx),
            rx: totals.rx.saturating_sub(totals.owner_rx),
            ..Counts::default()
        };
        self.credit(THIS_HOST, owner, by_owner);
        self.credit(THIS_HOST, None, by_others);
    }

    fn count(&mut self, row: &Row<'_>) {
        self.total += row.counts;
        let port = PortKey {
            host: row.host,
            netns: row.netns,
            direction: row.direction,
            port: row.port,
        };
        self.ports.add(port, row.counts, || ());
        match row.peer {
            Some((ip, known)) => {
                let key = (row.host, ip, row.netns);
                self.peers.add(key, row.counts, || None);
                // Later ones may know more, as a name that came meanwhile.
                if known.is_some() {
                    self.peers.relabel(key, known.cloned());
                }
            }
            None => *self.without_peer.entry(row.netns).or_default() += row.counts,
        }
        self.credit(
            row.host,
            row.owner,
            Counts {
                tx: 0,
                rx: 0,
                ..row.counts
            },
        );
    }

    fn credit(&mut self, host: u32, who: Option<Who<'_>>, counts: Counts) {
        if counts == Counts::default() {
            return;
        }
        if let Some(who) = who {
            let (pid, start_ns) = who.key;
            let label = || ProcessLabel {
                name: who.name.clone(),
                uid: who.uid,
                known: who.details.and_then(known),
            };
            self.processes.add((host, pid, start_ns), counts, label);
        } else {
            let host = host as usize;
            if self.nobody.len() <= host {
                self.nobody.resize(host + 1, Counts::default());
            }
            self.nobody[host] += counts;
        }
    }

    /// The tables, busiest rows first; rows that are equally busy are in the order of their key.
    pub fn finish(self, run: Run) -> Summary {
        let hosts = &self.hosts;
        let (ports, other_ports) = self.ports.finish();
        let (processes, other_processes) = self.processes.finish();
        let (peers, other_peers) = self.peers.finish();
        let mut unattributed = Counts::default();
        self.nobody
            .iter()
            .for_each(|counts| unattributed += *counts);
        Summary {
            v: SCHEMA_VERSION,
            event: "summary",
            time: run.time,
            host: run.host.or_else(|| hosts.only().cloned()),
            traced: run.traced,
            ports: ports.into_iter().map(|row| port_row(hosts, row)).collect(),
            processes: process_rows(hosts, processes, self.nobody),
            peers: peer_rows(hosts, peers, self.without_peer),
            other: Others {
                ports: other_ports,
                processes: other_processes,
                peers: other_peers,
            },
            total: self.total,
            unattributed_tx: unattributed.tx,
            unattributed_rx: unattributed.rx,
            loss: run.loss,
            kernel: run.kernel,
            replay: run.replay,
            sampled: run.sampled,
        }
    }
}

/// The number of the host in a run whose records are made here.
const THIS_HOST: u32 = 0;

/// Facts of the run that the records do not carry.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it ended.
    pub time: WallTime,
    /// Host name; `None` = that of the records, if all are of one.
    pub host: Option<Arc<str>>,
    /// How it traced; `None` = not known.
    pub traced: Option<Traced>,
    /// What is missing; `None` = not known.
    pub loss: Option<Loss>,
    /// What the kernel counted; `None` = not comparable.
    pub kernel: Option<Reconciliation>,
    /// What was read, of a replay.
    pub replay: Option<Replayed>,
    /// How often was looked, of a run that samples.
    pub sampled: Option<Sampled>,
}

#[derive(Clone, Copy)]
struct Who<'a> {
    key: (u32, u64),
    name: &'a CompactString,
    uid: u32,
    details: Option<&'a ProcessDetails>,
}

/// What tables keep of it. There can be very many rows, so nothing is long.
fn known(details: &ProcessDetails) -> Option<Box<KnownProcess>> {
    const LONGEST: usize = 255;
    let short = |text: &Option<CompactString>| text.clone().filter(|text| text.len() <= LONGEST);
    let known = KnownProcess {
        exe: short(&details.exe),
        user: short(&details.user),
        unit: short(&details.unit),
        container: details.container.clone(),
    };
    (known != KnownProcess::default()).then(|| Box::new(known))
}

struct Row<'a> {
    host: u32,
    direction: Direction,
    netns: u32,
    port: u16,
    peer: Option<(IpAddr, Option<&'a Arc<Peer>>)>,
    owner: Option<Who<'a>>,
    counts: Counts,
}

/// What sums of connections count.
pub(crate) fn folded_counts(key: &FoldedKey, totals: &FoldedTotals) -> Counts {
    let connections = totals.connections;
    let (inbound, accepted) = (key.inbound == 1, key.tgid != 0);
    let if_so = |is_so: bool| if is_so { connections } else { 0 };
    Counts {
        accepts: if_so(inbound && accepted),
        unaccepted: if_so(inbound && !accepted),
        connects: if_so(!inbound),
        failures: totals.failures,
        pre_existing: totals.pre_existing,
        tx: totals.tx,
        rx: totals.rx,
        ..Counts::default()
    }
}

/// The port that says what the connection is for.
pub(crate) fn service_port(record: &Record) -> u16 {
    let end = match record.direction {
        Direction::Inbound => record.local,
        Direction::Outbound => record.remote,
    };
    end.port.unwrap_or(0)
}

/// What a record counts, if it carries totals.
pub(crate) fn counts(record: &Record) -> Option<Counts> {
    let bytes = record.bytes.unwrap_or_default();
    let mut counts = Counts {
        tx: bytes.tx,
        rx: bytes.rx,
        wire: record.wire,
        ..Counts::default()
    };
    match record.event {
        EventKind::Close | EventKind::OpenAtExit => {
            // Of a sampled one it may only be that nobody here may see it.
            let accepted = record.process.is_some() || record.sampled;
            match record.direction {
                _ if record.pre_existing => counts.pre_existing = 1,
                Direction::Inbound => {
                    counts.accepts = u64::from(accepted);
                    counts.unaccepted = u64::from(!accepted);
                }
                Direction::Outbound => {
                    counts.connects = u64::from(record.latency_ns.is_some() || record.sampled);
                }
            }
            counts.open = u64::from(record.event == EventKind::OpenAtExit);
        }
        EventKind::Failed => counts.failures = 1,
        _ => return None,
    }
    Some(counts)
}

#[cfg(test)]
mod tests;
