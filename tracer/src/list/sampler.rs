//! Readings of sockets to records of connections. Pure.
//!
//! A connection is the same one as long as its ends and its inode are. The kernel takes the inode
//! away when the last process has closed it, and goes on to say goodbye: for us it is over then.

use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use tracer_common::connection::ConnectionKey;

use super::socket::{Socket, State};
pub use crate::clock::Moment;
use crate::identity::Identity;
use crate::reconcile::Ending;
use crate::record::{
    Bytes, ConnectionId, Direction, Endpoint, EventKind, Family, Out, Process, Record,
    SCHEMA_VERSION, User, Users,
};

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// What is new. Connections of the first reading are older than the run, and those that are
    /// over by then no part of it.
    News,
    /// Every connection at every reading, the first one like the others.
    Sightings,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ends {
    netns: u32,
    local: SocketAddr,
    remote: SocketAddr,
    interface: Option<u32>,
}

/// What was told of a connection.
#[derive(Debug)]
struct Seen {
    id: ConnectionId,
    inode: Option<u32>,
    direction: Direction,
    socket_family: Option<Family>,
    process: Option<Process>,
    /// At the first reading, on a connection that was there: sent and received before.
    before: (u64, u64),
    /// At the last one; `None` = never known.
    bytes: Option<(u64, u64)>,
    older: bool,
    /// Of the last reading that had it.
    round: u64,
    /// Its end was told.
    is_over: bool,
}

/// How far a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No connection, or none that a process has.
    Early,
    Open,
    /// No process has it any more.
    Over,
}

impl Stage {
    const fn of(socket: &Socket) -> Self {
        match (socket.state, socket.inode) {
            (State::Listen | State::Close | State::SynSent | State::SynRecv, _)
            // Waits to be accepted.
            | (State::Established | State::CloseWait, None) => Self::Early,
            (State::TimeWait, _) | (_, None) => Self::Over,
            (_, Some(_)) => Self::Open,
        }
    }
}

/// Finds out what is new from reading to reading.
#[derive(Debug)]
pub struct Sampler {
    identity: Identity,
    host: Arc<str>,
    tell: Tell,
    seen: HashMap<Ends, Seen>,
    round: u64,
    /// Connections so far.
    number: u64,
}

impl Sampler {
    /// Nothing was read yet.
    pub fn new(identity: Identity, host: Arc<str>, tell: Tell) -> Self {
        Self {
            identity,
            host,
            tell,
            seen: HashMap::new(),
            round: 0,
            number: 0,
        }
    }

    /// Readings so far.
    pub const fn rounds(&self) -> u64 {
        self.round
    }

    /// Takes a reading, which began at `now`.
    pub fn take(&mut self, sockets: &[Socket], now: Moment, out: &mut impl Out) {
        self.round += 1;
        for socket in sockets {
            self.see(socket, now, out);
        }
        let Self {
            host, seen, round, ..
        } = self;
        seen.retain(|ends, seen| {
            let stays = seen.round == *round;
            if !stays && !seen.is_over {
                out.push(seen.last(EventKind::Close, ends, host, now));
            }
            stays
        });
    }

    /// Tells what is still open when the run ends.
    pub fn stop(self, now: Moment, out: &mut impl Out) {
        for (ends, seen) in self.seen.iter().filter(|(_, seen)| !seen.is_over) {
            out.push(seen.last(EventKind::OpenAtExit, ends, &self.host, now));
        }
    }

    fn see(&mut self, socket: &Socket, now: Moment, out: &mut impl Out) {
        let stage = Stage::of(socket);
        let (Some(remote), Some(direction)) = (socket.remote, socket.direction) else {
            return;
        };
        if stage == Stage::Early {
            return;
        }
        let ends = Ends {
            netns: socket.netns,
            local: socket.local,
            remote,
            interface: socket.interface,
        };
        let Self {
            identity,
            host,
            tell,
            seen: all,
            round,
            number,
        } = self;
        if let Some(seen) = all.get_mut(&ends) {
            if seen.is(socket, stage) {
                seen.round = *round;
                seen.go_on(
                    socket,
                    stage,
                    &ends,
                    host,
                    now,
                    *tell == Tell::Sightings,
                    out,
                );
                return;
            }
            if !seen.is_over {
                out.push(seen.last(EventKind::Close, &ends, host, now));
            }
        }
        *number += 1;
        let is_first = *round == 1;
        let is_older = is_first && *tell == Tell::News;
        let key = ConnectionKey {
            sk: *number,
            birth_ns: now.mono_ns,
        };
        let mut seen = Seen {
            id: identity.of(key),
            inode: socket.inode,
            direction,
            socket_family: (socket.socket_family != socket.family())
                .then_some(socket.socket_family),
            process: process(socket),
            before: (0, 0),
            bytes: None,
            older: is_older,
            round: *round,
            is_over: false,
        };
        if is_older && stage == Stage::Over {
            seen.is_over = true;
            all.insert(ends, seen);
            return;
        }
        if is_first {
            seen.bytes = bytes(socket);
            seen.before = seen.bytes.unwrap_or_default();
        }
        let event = match direction {
            Direction::Inbound => EventKind::Accept,
            Direction::Outbound => EventKind::Established,
        };
        out.push(seen.record(event, &ends, host, now));
        seen.go_on(socket, stage, &ends, host, now, false, out);
        all.insert(ends, seen);
    }
}

impl Seen {
    /// Whether `socket`, with the same ends, is the same connection.
    fn is(&self, socket: &Socket, stage: Stage) -> bool {
        let is_again = self.is_over && stage == Stage::Open;
        !is_again && (socket.inode.is_none() || socket.inode == self.inode)
    }

    /// Tells what is new; with `always`, that it is there, too.
    #[expect(
        clippy::too_many_arguments,
        reason = "it has no more state than it needs"
    )]
    fn go_on(
        &mut self,
        socket: &Socket,
        stage: Stage,
        ends: &Ends,
        host: &Arc<str>,
        now: Moment,
        always: bool,
        out: &mut impl Out,
    ) {
        if self.is_over {
            return;
        }
        let told = self.bytes.unwrap_or(self.before);
        // Counters never go back; those of a socket that is over are not known.
        if let Some((tx, rx)) = bytes(socket) {
            self.bytes = Some((tx.max(told.0), rx.max(told.1)));
        }
        if stage == Stage::Over {
            self.is_over = true;
            out.push(self.last(EventKind::Close, ends, host, now));
            return;
        }
        let (tx, rx) = self.bytes.unwrap_or(told);
        let moved = Bytes {
            tx: tx - told.0,
            rx: rx - told.1,
            ..Bytes::default()
        };
        if always || moved != Bytes::default() {
            let mut record = self.record(EventKind::Traffic, ends, host, now);
            record.bytes = Some(moved);
            out.push(record);
        }
    }

    /// With the totals.
    fn last(&self, event: EventKind, ends: &Ends, host: &Arc<str>, now: Moment) -> Record {
        let mut record = self.record(event, ends, host, now);
        let Some((tx, rx)) = self.bytes else {
            return record;
        };
        let (tx, rx) = (tx - self.before.0, rx - self.before.1);
        let owner = self.process.as_ref();
        let unknown = owner.is_none();
        record.users = owner
            .filter(|_| tx | rx != 0)
            .map(|owner| User {
                pid: owner.pid,
                name: owner.name.clone(),
                uid: owner.uid,
                start_ns: owner.start_ns,
                tx,
                rx,
            })
            .into_iter()
            .collect();
        record.bytes = Some(Bytes {
            tx,
            rx,
            unattributed_tx: unknown.then_some(tx),
            unattributed_rx: unknown.then_some(rx),
            before_tx: self.older.then_some(self.before.0),
            before_rx: self.older.then_some(self.before.1),
            ..Bytes::default()
        });
        record
    }

    fn record(&self, event: EventKind, ends: &Ends, host: &Arc<str>, now: Moment) -> Record {
        Record {
            v: SCHEMA_VERSION,
            time: now.time,
            mono_ns: now.mono_ns,
            seq: 0,
            host: Arc::clone(host),
            event,
            id: self.id,
            proto: "tcp",
            direction: self.direction,
            family: if ends.local.is_ipv4() {
                Family::Ipv4
            } else {
                Family::Ipv6
            },
            socket_family: self.socket_family,
            local: endpoint(ends.local),
            remote: endpoint(ends.remote),
            peer: None,
            process: self.process.clone(),
            closer: None,
            users: Users::new(),
            netns: ends.netns,
            cgroup: None,
            bytes: None,
            wire: None,
            duration_ns: None,
            latency_ns: None,
            queue_ns: None,
            rtt_us: None,
            retransmits: None,
            reason: None,
            closed_by: None,
            pre_existing: self.older,
            sampled: true,
            ending: Ending::default(),
        }
    }
}

fn bytes(socket: &Socket) -> Option<(u64, u64)> {
    socket.bytes.map(|bytes| (bytes.tx, bytes.rx))
}

/// The oldest that has it open, as the user that made the socket.
fn process(socket: &Socket) -> Option<Process> {
    let holder = socket.holders.first()?;
    Some(Process {
        pid: holder.pid,
        tid: holder.pid,
        name: holder.name.clone(),
        thread: holder.name.clone(),
        uid: socket.uid?,
        start_ns: holder.start_ns,
        details: None,
    })
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        ip: address.ip(),
        port: Some(address.port()).filter(|port| *port != 0),
    }
}

#[cfg(test)]
mod tests;
