//! One table of the running interval. Pure.

use std::net::IpAddr;

use compact_str::CompactString;
use hashbrown::HashMap;
use tracer_common::folded::{FoldedKey, FoldedTotals};

use super::Dimension;
use crate::address::{self, Class};
use crate::aggregate::hosts::Hosts;
use crate::aggregate::rows::Rows;
use crate::aggregate::{folded_counts, service_port};
use crate::names::escape;
use crate::record::{Container, Direction, Peer, Process, Record, User, Users};
use crate::summary::Counts;

/// What a row is about. Texts are by their number in the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// What is not known.
    Unknown,
    /// An address in a network namespace; `None` = it was not kept.
    Peer {
        /// The address.
        ip: Option<IpAddr>,
        /// The namespace.
        netns: u32,
    },
    /// A service port.
    Port {
        /// Its network namespace.
        netns: u32,
        /// Whose it is: `inbound` = ours.
        direction: Direction,
        /// The port.
        port: u16,
    },
    /// A process.
    Process {
        /// Its id,
        pid: u32,
        /// and start, which tell it from all others of this host.
        start_ns: u64,
    },
    /// A user, by uid.
    User(u32),
    /// A country, whose code is the label.
    Country(u32),
    /// An autonomous system.
    Asn(u32),
    /// A kind of address.
    Class(Class),
    /// A container, which is the label.
    Container(u32),
    /// The cgroup of what is in no known container.
    Cgroup(u64),
    /// A network namespace.
    Netns(u32),
}

/// What else is known of what a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// Nothing.
    None,
    /// Of a process: as it was when it was first seen in the interval.
    Process {
        /// `comm` of its leader.
        name: CompactString,
        /// Effective uid.
        uid: u32,
    },
    /// The name of a user, the code of a country, who runs an autonomous system.
    Text(CompactString),
    /// A container.
    Container(Container),
}

/// What a record tells of its connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    host: u32,
    netns: u32,
    direction: Direction,
    port: u16,
    ip: Option<IpAddr>,
    peer: Option<&'a Peer>,
    owner: Option<&'a Process>,
    cgroup: Option<u64>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(record: &'a Record, host: u32) -> Self {
        Self {
            host,
            netns: record.netns,
            direction: record.direction,
            port: service_port(record),
            ip: Some(record.remote.ip),
            peer: record.peer.as_deref(),
            owner: record.process.as_ref(),
            cgroup: record.cgroup.as_ref().map(|cgroup| cgroup.id),
        }
    }
}

/// What a sum of connections tells of them.
#[derive(Debug)]
pub(super) struct FoldedFacts {
    key: FoldedKey,
    owner: Option<Process>,
}

impl FoldedFacts {
    pub(super) fn facts(&self) -> Facts<'_> {
        let Self { key, owner } = self;
        let is_kept = key.remote_ip != [0; 16];
        Facts {
            // Of this host, which is the first one.
            host: 0,
            netns: key.netns,
            direction: if key.inbound == 1 {
                Direction::Inbound
            } else {
                Direction::Outbound
            },
            port: key.port,
            ip: is_kept.then(|| crate::track::address(key.remote_ip)),
            peer: None,
            owner: owner.as_ref(),
            cgroup: None,
        }
    }
}

/// A sum of connections as facts, counts, and bytes by process.
pub(super) fn folded(key: &FoldedKey, totals: &FoldedTotals) -> (FoldedFacts, Counts, Users) {
    let name = escape(&totals.name);
    let owner = (key.tgid != 0).then(|| Process {
        pid: key.tgid,
        tid: key.tgid,
        thread: name.clone(),
        name,
        uid: key.uid,
        start_ns: key.start_ns,
        details: None,
    });
    let user = owner.iter().map(|owner| User {
        pid: owner.pid,
        name: owner.name.clone(),
        uid: owner.uid,
        start_ns: owner.start_ns,
        tx: totals.owner_tx,
        rx: totals.owner_rx,
    });
    let users = user.filter(|user| user.tx | user.rx != 0).collect();
    (
        FoldedFacts { key: *key, owner },
        folded_counts(key, totals),
        users,
    )
}

/// A table while it grows.
#[derive(Debug)]
pub(super) struct Table {
    by: Dimension,
    max_rows: usize,
    rows: Rows<(u32, Key), Label>,
    /// Numbers of texts, which keys are small by.
    texts: HashMap<CompactString, u32>,
}

impl Table {
    pub(super) fn new(by: Dimension, max_rows: usize) -> Self {
        Self {
            by,
            max_rows,
            rows: Rows::new(max_rows),
            texts: HashMap::new(),
        }
    }

    /// Counts what is new of a connection; `users` moved part of the bytes.
    pub(super) fn add(&mut self, facts: &Facts<'_>, counts: Counts, users: &[User]) {
        if matches!(self.by, Dimension::Process | Dimension::User) {
            self.by_mover(facts, counts, users);
            return;
        }
        let (key, label) = self.of_connection(facts);
        self.rows.add((facts.host, key), counts, || label);
    }

    /// Connections at their owner, bytes at who moved them, and what is left at nobody.
    fn by_mover(&mut self, facts: &Facts<'_>, counts: Counts, users: &[User]) {
        let owner = facts.owner.map(|owner| {
            let details = owner.details.as_deref();
            Mover {
                pid: owner.pid,
                start_ns: owner.start_ns,
                uid: owner.uid,
                name: &owner.name,
                user: details.and_then(|details| details.user.as_ref()),
            }
        });
        let (mut tx, mut rx) = (counts.tx, counts.rx);
        let bytes = |tx, rx| Counts {
            tx,
            rx,
            ..Counts::default()
        };
        self.credit(
            facts.host,
            owner,
            Counts {
                tx: 0,
                rx: 0,
                ..counts
            },
        );
        for user in users {
            let is_owner =
                |owner: &Mover<'_>| (owner.pid, owner.start_ns) == (user.pid, user.start_ns);
            let mover = owner.filter(is_owner).unwrap_or(Mover {
                pid: user.pid,
                start_ns: user.start_ns,
                uid: user.uid,
                name: &user.name,
                user: None,
            });
            self.credit(facts.host, Some(mover), bytes(user.tx, user.rx));
            (tx, rx) = (tx.saturating_sub(user.tx), rx.saturating_sub(user.rx));
        }
        self.credit(facts.host, None, bytes(tx, rx));
    }

    fn credit(&mut self, host: u32, mover: Option<Mover<'_>>, counts: Counts) {
        if counts == Counts::default() {
            return;
        }
        let Some(mover) = mover else {
            self.rows.add((host, Key::Unknown), counts, || Label::None);
            return;
        };
        if self.by == Dimension::User {
            let name = || {
                mover
                    .user
                    .map_or(Label::None, |user| Label::Text(user.clone()))
            };
            self.rows.add((host, Key::User(mover.uid)), counts, name);
            return;
        }
        let key = Key::Process {
            pid: mover.pid,
            start_ns: mover.start_ns,
        };
        self.rows.add((host, key), counts, || Label::Process {
            name: mover.name.clone(),
            uid: mover.uid,
        });
    }

    fn of_connection(&mut self, facts: &Facts<'_>) -> (Key, Label) {
        let Facts {
            netns,
            direction,
            port,
            ip,
            ..
        } = *facts;
        let peer = facts.peer;
        match self.by {
            Dimension::Peer => (Key::Peer { ip, netns }, Label::None),
            Dimension::Port => {
                let key = Key::Port {
                    netns,
                    direction,
                    port,
                };
                (key, Label::None)
            }
            Dimension::Class => {
                let class = |ip| Key::Class(address::of(ip).class);
                (ip.map_or(Key::Unknown, class), Label::None)
            }
            Dimension::Netns => (Key::Netns(netns), Label::None),
            Dimension::Country => {
                let Some(country) = peer.and_then(|peer| peer.country.as_ref()) else {
                    return (Key::Unknown, Label::None);
                };
                let number = self.number(country);
                (Key::Country(number), Label::Text(country.clone()))
            }
            Dimension::Asn => {
                let Some(asn) = peer.and_then(|peer| peer.asn) else {
                    return (Key::Unknown, Label::None);
                };
                let who = peer.and_then(|peer| peer.organization.clone());
                (Key::Asn(asn), who.map_or(Label::None, Label::Text))
            }
            Dimension::Container => self.container(facts),
            // Not of the connection as a whole.
            Dimension::Process | Dimension::User => (Key::Unknown, Label::None),
        }
    }

    fn container(&mut self, facts: &Facts<'_>) -> (Key, Label) {
        let details = facts.owner.and_then(|owner| owner.details.as_ref());
        if let Some(container) = details.and_then(|details| details.container.as_ref()) {
            let number = self.number(&container.id);
            return (Key::Container(number), Label::Container(container.clone()));
        }
        let key = facts.cgroup.map_or(Key::Unknown, Key::Cgroup);
        (key, Label::None)
    }

    fn number(&mut self, text: &CompactString) -> u32 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.insert(text.clone(), number);
        number
    }

    /// The rows; starts anew.
    pub(super) fn take(&mut self, hosts: &Hosts) -> super::Rows {
        self.texts.clear();
        let rows = std::mem::replace(&mut self.rows, Rows::new(self.max_rows));
        let (rows, other) = rows.finish();
        let rows = rows.into_iter().map(|((host, key), row)| super::Row {
            host: hosts.of_row(host),
            key,
            label: row.label,
            at_least: row.at_least,
            counts: row.counts,
        });
        super::Rows {
            by: self.by,
            rows: rows.collect(),
            other,
        }
    }
}

/// A process that connected, accepted or moved bytes.
#[derive(Clone, Copy)]
struct Mover<'a> {
    pid: u32,
    start_ns: u64,
    uid: u32,
    name: &'a CompactString,
    user: Option<&'a CompactString>,
}
