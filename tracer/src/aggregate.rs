//! Records to tables. Only the records that carry totals count: `close`, `open_at_exit` and
//! `failed`; so a recorded run re-adds to the same tables. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;
use tracer_common::folded::{FoldedKey, FoldedTotals};

use crate::names::escape;
use crate::reconcile::{Reconciliation, Tally};
use crate::record::{Direction, EventKind, Record, SCHEMA_VERSION, WallTime};
use crate::summary::{Counts, Loss, PeerRow, PortRow, ProcessRow, Summary};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PortKey {
    netns: u32,
    direction: Direction,
    port: u16,
}

/// A process for good: numbers are reused, (number, start) is not. `None` = not known.
type ProcessKey = Option<(u32, u64)>;

#[derive(Clone, Debug)]
struct ProcessEntry {
    name: CompactString,
    uid: u32,
    counts: Counts,
}

/// `None` = the peer was not kept.
type PeerKey = (Option<IpAddr>, u32);

/// The tables while they grow.
#[derive(Debug, Default)]
pub struct Aggregate {
    ports: HashMap<PortKey, Counts>,
    processes: HashMap<ProcessKey, ProcessEntry>,
    peers: HashMap<PeerKey, Counts>,
    total: Counts,
    /// For [`crate::reconcile`].
    pub seen: Tally,
}

impl Aggregate {
    /// Counts a record, if it carries totals.
    pub fn add(&mut self, record: &Record) {
        self.seen.add(record);
        let Some(counts) = counts(record) else { return };
        self.count(&Row {
            direction: record.direction,
            netns: record.netns,
            port: service_port(record),
            peer: Some(record.remote.ip),
            owner: record.process.as_ref().map(|process| Who {
                key: (process.pid, process.start_ns),
                name: &process.name,
                uid: process.uid,
            }),
            counts,
        });
        // Bytes go from the owner to those who moved them, and to nobody for the rest.
        for user in &record.users {
            let who = Who {
                key: (user.pid, user.start_ns),
                name: &user.name,
                uid: user.uid,
            };
            self.credit(
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
                None,
                Counts {
                    tx,
                    rx,
                    ..Counts::default()
                },
            );
        }
    }

    /// Counts connections that were kept as sums only. Who moved the bytes that their owner did not
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
        };
        let counts = Counts {
            accepts: if inbound && accepted {
                totals.connections
            } else {
                0
            },
            unaccepted: if inbound && !accepted {
                totals.connections
            } else {
                0
            },
            connects: if inbound { 0 } else { totals.connections },
            failures: totals.failures,
            pre_existing: totals.pre_existing,
            tx: totals.tx,
            rx: totals.rx,
            ..Counts::default()
        };
        let owner = accepted.then_some(who);
        self.count(&Row {
            direction: if inbound {
                Direction::Inbound
            } else {
                Direction::Outbound
            },
            netns: key.netns,
            port: key.port,
            peer: None,
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
        self.credit(owner, by_owner);
        self.credit(None, by_others);
    }

    fn count(&mut self, row: &Row<'_>) {
        self.total += row.counts;
        let port = PortKey {
            netns: row.netns,
            direction: row.direction,
            port: row.port,
        };
        *self.ports.entry(port).or_default() += row.counts;
        *self.peers.entry((row.peer, row.netns)).or_default() += row.counts;
        self.credit(
            row.owner,
            Counts {
                tx: 0,
                rx: 0,
                ..row.counts
            },
        );
    }

    fn credit(&mut self, who: Option<Who<'_>>, counts: Counts) {
        if counts == Counts::default() {
            return;
        }
        let entry = self
            .processes
            .entry(who.map(|who| who.key))
            .or_insert_with(|| ProcessEntry {
                name: who.map_or_else(CompactString::default, |who| who.name.clone()),
                uid: who.map_or(0, |who| who.uid),
                counts: Counts::default(),
            });
        entry.counts += counts;
    }

    /// The tables, busiest rows first; rows that are equally busy are in the order of their key.
    pub fn finish(self, run: Run) -> Summary {
        let mut ports: Vec<_> = self.ports.into_iter().collect();
        ports.sort_by_key(|(key, counts)| (busiest_first(counts), *key));
        let mut processes: Vec<_> = self.processes.into_iter().collect();
        processes.sort_by_key(|(key, entry)| (busiest_first(&entry.counts), *key));
        let mut peers: Vec<_> = self.peers.into_iter().collect();
        peers.sort_by_key(|(key, counts)| (busiest_first(counts), *key));
        let nobody = processes
            .iter()
            .find(|(key, _)| key.is_none())
            .map(|(_, entry)| entry.counts);
        let nobody = nobody.unwrap_or_default();
        Summary {
            v: SCHEMA_VERSION,
            event: "summary",
            time: run.time,
            host: run.host,
            duration_ns: run.duration_ns,
            backend: run.backend,
            not_attached: run.not_attached,
            ports: ports
                .into_iter()
                .map(|(key, counts)| PortRow {
                    port: key.port,
                    direction: key.direction,
                    netns: key.netns,
                    counts,
                })
                .collect(),
            processes: processes
                .into_iter()
                .map(|(key, entry)| ProcessRow {
                    pid: key.map(|(pid, _)| pid),
                    name: key.map(|_| entry.name),
                    uid: key.map(|_| entry.uid),
                    start_ns: key.map(|(_, start_ns)| start_ns),
                    counts: entry.counts,
                })
                .collect(),
            peers: peers
                .into_iter()
                .map(|((ip, netns), counts)| PeerRow { ip, netns, counts })
                .collect(),
            total: self.total,
            unattributed_tx: nobody.tx,
            unattributed_rx: nobody.rx,
            loss: run.loss,
            kernel: run.kernel,
        }
    }
}

/// Facts of the run that the records do not carry.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it ended.
    pub time: WallTime,
    /// Host name.
    pub host: Arc<str>,
    /// How long it was.
    pub duration_ns: u64,
    /// How the hooks were attached.
    pub backend: String,
    /// Optional programs that could not be.
    pub not_attached: Vec<&'static str>,
    /// What is missing.
    pub loss: Loss,
    /// What the kernel counted; `None` = not comparable.
    pub kernel: Option<Reconciliation>,
}

#[derive(Clone, Copy)]
struct Who<'a> {
    key: (u32, u64),
    name: &'a CompactString,
    uid: u32,
}

struct Row<'a> {
    direction: Direction,
    netns: u32,
    port: u16,
    peer: Option<IpAddr>,
    owner: Option<Who<'a>>,
    counts: Counts,
}

fn busiest_first(counts: &Counts) -> std::cmp::Reverse<(u64, u64)> {
    let connections = counts.accepts
        + counts.connects
        + counts.failures
        + counts.unaccepted
        + counts.pre_existing;
    std::cmp::Reverse((connections, counts.tx + counts.rx))
}

/// The port that says what the connection is for.
fn service_port(record: &Record) -> u16 {
    let end = match record.direction {
        Direction::Inbound => record.local,
        Direction::Outbound => record.remote,
    };
    end.port.unwrap_or(0)
}

fn counts(record: &Record) -> Option<Counts> {
    let bytes = record.bytes.unwrap_or_default();
    let mut counts = Counts {
        tx: bytes.tx,
        rx: bytes.rx,
        ..Counts::default()
    };
    match record.event {
        EventKind::Close | EventKind::OpenAtExit => {
            let accepted = record.process.is_some();
            match record.direction {
                _ if record.pre_existing => counts.pre_existing = 1,
                Direction::Inbound => {
                    counts.accepts = u64::from(accepted);
                    counts.unaccepted = u64::from(!accepted);
                }
                Direction::Outbound => counts.connects = u64::from(record.latency_ns.is_some()),
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
