//! Connection states to records: what is new since this connection was last reported.
//!
//! A state is self-contained (stage times, totals), so it does not matter which news were late:
//! every stage is told once, in order, by the first state that shows it. Pure: no clock, no I/O.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::HashMap;
use tracer_common::connection::{Closer, Connection, ConnectionKey, Task, flags};
use tracer_common::event::Io;
use tracer_common::flow::{AF_INET6, is_v4_mapped};
use tracer_common::users::{UserKey, UserTotals};

use crate::classify;
use crate::clock::wall_time;
use crate::identity::Identity;
use crate::names::escape;
use crate::reconcile::Ending;
use crate::record::{
    Bytes, Cgroup, Direction, Endpoint, EventKind, Family, Out, Process, ProcessName, Record,
    SCHEMA_VERSION, User, Users,
};
use crate::wire;

/// Stages that were told.
mod told {
    pub(super) const OPEN: u8 = 1 << 0;
    pub(super) const ESTABLISHED: u8 = 1 << 1;
    pub(super) const ACCEPT: u8 = 1 << 2;
    pub(super) const ENDED: u8 = 1 << 3;
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    told: u8,
    /// The sweep during or since which there was a sign of it.
    sweep: u32,
    tx: u64,
    rx: u64,
    /// Of the last sample.
    position: u64,
}

/// What `traffic` records told of a process that moved bytes of a connection.
#[derive(Clone, Copy, Debug)]
struct UserTold {
    pid: u32,
    start_ns: u64,
    tx: u64,
    rx: u64,
}

/// What is live, and what was said about it.
#[derive(Debug)]
pub struct Track {
    identity: Identity,
    host: Arc<str>,
    /// Wall clock minus monotonic clock, nanoseconds.
    hooks_see_bytes: bool,
    wall_offset_ns: i64,
    /// Whether more than the end of a connection is told.
    stages: bool,
    live: HashMap<ConnectionKey, Progress>,
    /// Of those whose owner did not move all bytes alone: what was told of each process.
    shared: HashMap<ConnectionKey, Vec<UserTold>>,
    /// Counts sweeps of the table.
    sweep: u32,
    /// Closed by way of the pending map: news that overtook them must not revive them. The second
    /// generation is dropped when the next one starts.
    finished: [HashMap<ConnectionKey, ()>; 2],
}

impl Track {
    /// Tracks nothing yet.
    ///
    /// Without hooks that see bytes (`hooks_see_bytes`) they are not known before TCP is over.
    pub fn new(identity: Identity, host: Arc<str>, hooks_see_bytes: bool) -> Self {
        Self {
            identity,
            host,
            hooks_see_bytes,
            wall_offset_ns: 0,
            stages: true,
            live: HashMap::new(),
            shared: HashMap::new(),
            sweep: 0,
            finished: Default::default(),
        }
    }

    /// Tells of the end of each connection only.
    #[must_use]
    pub fn ends_only(self) -> Self {
        Self {
            stages: false,
            ..self
        }
    }

    /// Sets what turns monotonic times into wall times from now on.
    pub fn set_wall_offset(&mut self, wall_offset_ns: i64) {
        self.wall_offset_ns = wall_offset_ns;
    }

    /// Connections that were told and not closed.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// A state from the ring or from a sweep of the table: tells the stages it shows for the first
    /// time. `users` are the processes beyond the owner, needed for a released connection only.
    pub fn news(
        &mut self,
        key: ConnectionKey,
        connection: &Connection,
        users: &[(UserKey, UserTotals)],
        out: &mut impl Out,
    ) {
        if self
            .finished
            .iter()
            .any(|generation| generation.contains_key(&key))
        {
            return;
        }
        let mut progress = self.live.get(&key).copied().unwrap_or_default();
        self.stages(key, connection, &mut progress, out);
        if connection.is(flags::RELEASED) {
            self.live.remove(&key);
            self.shared.remove(&key);
            if !connection.is(flags::FAILED) {
                out.push(self.last(
                    EventKind::Close,
                    key,
                    connection,
                    users,
                    connection.closed_ns,
                ));
            }
        } else {
            progress.sweep = self.sweep;
            self.live.insert(key, progress);
        }
    }

    /// A released connection that found the ring full.
    pub fn late_release(
        &mut self,
        key: ConnectionKey,
        connection: &Connection,
        users: &[(UserKey, UserTotals)],
        out: &mut impl Out,
    ) {
        self.news(key, connection, users, out);
        let [current, _] = &mut self.finished;
        current.insert(key, ());
    }

    /// Forgets late releases from two calls ago: news of theirs cannot be in the ring any more.
    pub fn age_late_releases(&mut self) {
        let [current, previous] = &mut self.finished;
        std::mem::swap(current, previous);
        current.clear();
    }

    /// Whether the connection moved since it was sampled last, or may have.
    pub fn has_moved(&mut self, key: ConnectionKey, position: u64) -> bool {
        let Some(progress) = self.live.get_mut(&key) else {
            return true;
        };
        std::mem::replace(&mut progress.position, position) != position
    }

    /// A live state at the end of a traffic interval: tells what moved since the last record, and by
    /// whom where that was not the owner alone. `users` are the processes beyond the owner.
    pub fn traffic(
        &mut self,
        key: ConnectionKey,
        connection: &Connection,
        users: &[(UserKey, UserTotals)],
        now_ns: u64,
        out: &mut impl Out,
    ) {
        if connection.flags & (flags::RELEASED | flags::UNDECIDED) != 0 {
            return;
        }
        self.news(key, connection, &[], out);
        let Some(progress) = self.live.get_mut(&key) else {
            return;
        };
        let mut bytes = Bytes {
            tx: connection.tx().saturating_sub(progress.tx),
            rx: connection.rx().saturating_sub(progress.rx),
            ..Bytes::default()
        };
        if (bytes.tx, bytes.rx) == (0, 0) {
            return;
        }
        let before = (progress.tx, progress.rx);
        (progress.tx, progress.rx) = (connection.tx(), connection.rx());
        let mut record = self.record(EventKind::Traffic, key, connection, now_ns);
        let all = (connection.tx(), connection.rx());
        if record.process.is_some() && (connection.owner_tx, connection.owner_rx) != all {
            record.users = self.moved_by(key, connection, users, before);
            let (tx, rx) = sum(&record.users);
            let unknown = |all: u64, known| Some(all.saturating_sub(known)).filter(|it| *it > 0);
            bytes.unattributed_tx = unknown(bytes.tx, tx);
            bytes.unattributed_rx = unknown(bytes.rx, rx);
        }
        record.bytes = Some(bytes);
        out.push(record);
    }

    /// Who moved bytes of a connection since that was last told. `before` is what was told of all
    /// of them: as long as nobody else is known, it was the owner's.
    fn moved_by(
        &mut self,
        key: ConnectionKey,
        connection: &Connection,
        others: &[(UserKey, UserTotals)],
        before: (u64, u64),
    ) -> Users {
        let told = self.shared.entry(key).or_insert_with(|| {
            vec![UserTold {
                pid: connection.owner.tgid,
                start_ns: connection.owner.start_ns,
                tx: before.0,
                rx: before.1,
            }]
        });
        let mut moved = all_users(connection, others);
        moved.retain(|user| {
            let is_it =
                |told: &&mut UserTold| (told.pid, told.start_ns) == (user.pid, user.start_ns);
            let (tx, rx) = (user.tx, user.rx);
            if let Some(told) = told.iter_mut().find(is_it) {
                user.tx = tx.saturating_sub(told.tx);
                user.rx = rx.saturating_sub(told.rx);
                (told.tx, told.rx) = (told.tx.max(tx), told.rx.max(rx));
            } else {
                let (pid, start_ns) = (user.pid, user.start_ns);
                told.push(UserTold {
                    pid,
                    start_ns,
                    tx,
                    rx,
                });
            }
            user.tx | user.rx != 0
        });
        moved
    }

    /// One call.
    pub fn io(&mut self, io: &Io, out: &mut impl Out) {
        let key = ConnectionKey {
            sk: io.sk,
            birth_ns: io.connection.birth_ns,
        };
        self.news(key, &io.connection, &[], out);
        let mut record = self.record(EventKind::Io, key, &io.connection, io.time_ns);
        let (tx, rx) = if io.send == 1 {
            (io.bytes, 0)
        } else {
            (0, io.bytes)
        };
        record.bytes = Some(Bytes {
            tx,
            rx,
            ..Bytes::default()
        });
        record.users.push(User {
            pid: io.tgid,
            name: escape(&io.name),
            uid: io.uid,
            start_ns: io.start_ns,
            tx,
            rx,
        });
        out.push(record);
    }

    /// A connection that is still open when the tracer stops.
    pub fn open_at_exit(
        &mut self,
        key: ConnectionKey,
        connection: &Connection,
        users: &[(UserKey, UserTotals)],
        now_ns: u64,
        out: &mut impl Out,
    ) {
        let mut progress = self.live.remove(&key).unwrap_or_default();
        self.shared.remove(&key);
        self.stages(key, connection, &mut progress, out);
        out.push(self.last(EventKind::OpenAtExit, key, connection, users, now_ns));
    }

    /// Starts a sweep of the table.
    pub fn start_sweep(&mut self) {
        self.sweep = self.sweep.wrapping_add(1);
    }

    /// The sweep found it in the table.
    pub fn in_table(&mut self, key: &ConnectionKey) {
        if let Some(progress) = self.live.get_mut(key) {
            progress.sweep = self.sweep;
        }
    }

    /// Drops connections of which there was no sign since the sweep started: their end was kept as
    /// a sum only.
    pub fn forget_vanished(&mut self, out: &mut impl Out) {
        self.live.retain(|key, progress| {
            let stays = progress.sweep == self.sweep;
            if !stays {
                self.shared.remove(key);
                out.vanished(self.identity.of(*key));
            }
            stays
        });
    }

    fn stages(
        &self,
        key: ConnectionKey,
        connection: &Connection,
        progress: &mut Progress,
        out: &mut impl Out,
    ) {
        let wanted = self.stages || connection.is(flags::FAILED);
        let mut tell = |stage: u8, reached: bool| {
            let is_new = wanted && reached && progress.told & stage == 0;
            progress.told |= if is_new { stage } else { 0 };
            is_new
        };
        let inbound = connection.is(flags::INBOUND);
        let older = connection.is(flags::PRE_EXISTING);
        if tell(told::OPEN, self.stages && !inbound && !older) {
            out.push(self.record(EventKind::Open, key, connection, connection.birth_ns));
        }
        if tell(
            told::ESTABLISHED,
            !inbound && connection.established_ns != 0 && !was_established_before(connection),
        ) {
            let at = connection.established_ns;
            let mut record = self.record(EventKind::Established, key, connection, at);
            record.latency_ns = since_birth(connection, at);
            out.push(record);
        }
        if tell(
            told::ACCEPT,
            inbound && connection.accepted_ns != 0 && connection.owner.tgid != 0,
        ) {
            let at = connection.accepted_ns;
            let mut record = self.record(EventKind::Accept, key, connection, at);
            record.queue_ns = queued(connection);
            out.push(record);
        }
        if connection.is(flags::FAILED) {
            if tell(told::ENDED, true) {
                let at = connection.closed_ns;
                let mut record = self.record(EventKind::Failed, key, connection, at);
                record.latency_ns = since_birth(connection, at);
                record.reason = Some(classify::failure(connection));
                record.retransmits = Some(connection.tcp.retransmits);
                record.wire = wire::of(connection);
                out.push(record);
            }
        } else if tell(told::ENDED, connection.closed_ns != 0) {
            let mut record = self.record(EventKind::Ended, key, connection, connection.closed_ns);
            end(&mut record, connection, connection.closed_ns);
            out.push(record);
        }
    }

    /// The record that carries the totals.
    fn last(
        &self,
        event: EventKind,
        key: ConnectionKey,
        connection: &Connection,
        users: &[(UserKey, UserTotals)],
        at_ns: u64,
    ) -> Record {
        let mut record = self.record(event, key, connection, at_ns);
        end(&mut record, connection, at_ns);
        record.users = all_users(connection, users);
        let known = self.hooks_see_bytes || connection.is(flags::HAS_COUNTERS);
        record.bytes = known.then(|| totals(connection, &record.users));
        record.wire = wire::of(connection);
        record
    }

    fn record(
        &self,
        event: EventKind,
        key: ConnectionKey,
        connection: &Connection,
        at_ns: u64,
    ) -> Record {
        let flow = &connection.flow;
        let family = if is_v4_mapped(&flow.remote_ip) {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        let on_v6_socket = flow.socket_family == AF_INET6 && family == Family::Ipv4;
        let owned = connection.owner.tgid != 0;
        Record {
            v: SCHEMA_VERSION,
            time: wall_time(at_ns, self.wall_offset_ns),
            mono_ns: at_ns,
            seq: 0,
            host: Arc::clone(&self.host),
            event,
            id: self.identity.of(key),
            proto: "tcp",
            direction: direction(connection),
            family,
            socket_family: on_v6_socket.then_some(Family::Ipv6),
            local: endpoint(flow.local_ip, flow.local_port),
            remote: endpoint(flow.remote_ip, flow.remote_port),
            peer: None,
            process: owned.then(|| process(&connection.owner)),
            closer: None,
            users: Users::new(),
            netns: connection.netns,
            cgroup: owned.then_some(Cgroup {
                id: connection.cgroup,
                path: None,
            }),
            bytes: None,
            wire: None,
            duration_ns: None,
            latency_ns: None,
            queue_ns: None,
            rtt_us: None,
            retransmits: None,
            reason: None,
            closed_by: None,
            pre_existing: connection.is(flags::PRE_EXISTING),
            sampled: false,
            ending: Ending::of(connection),
        }
    }
}

/// Which end a connection is.
fn direction(connection: &Connection) -> Direction {
    if connection.is(flags::INBOUND) {
        Direction::Inbound
    } else {
        Direction::Outbound
    }
}

/// Whether the snapshot found it established.
fn was_established_before(connection: &Connection) -> bool {
    connection.is(flags::PRE_EXISTING) && connection.established_ns == connection.birth_ns
}

/// Time from a birth that was seen.
fn since_birth(connection: &Connection, at_ns: u64) -> Option<u64> {
    let is_seen = !connection.is(flags::PRE_EXISTING);
    is_seen.then(|| at_ns.saturating_sub(connection.birth_ns))
}

/// Handshake done to accepted, where the accept was seen; a process can be faster than the news of
/// the handshake.
fn queued(connection: &Connection) -> Option<u64> {
    if connection.accepted_ns == 0 || connection.is(flags::OWNER_INFERRED) {
        return None;
    }
    Some(match connection.established_ns {
        0 => 0,
        established_ns => connection.accepted_ns.saturating_sub(established_ns),
    })
}

/// What is known once TCP is over, or so far.
fn end(record: &mut Record, connection: &Connection, at_ns: u64) {
    let over_at = if connection.closed_ns == 0 {
        at_ns
    } else {
        connection.closed_ns
    };
    record.duration_ns = since_birth(connection, over_at);
    record.queue_ns = queued(connection);
    if connection.established_ns != 0 && !connection.is(flags::INBOUND) {
        record.latency_ns = since_birth(connection, connection.established_ns);
    }
    if connection.closer.tgid != 0 {
        let Closer { tgid, name, .. } = connection.closer;
        record.closer = Some(ProcessName {
            pid: tgid,
            name: escape(&name),
        });
    }
    if connection.is(flags::HAS_COUNTERS) {
        record.rtt_us = Some(connection.tcp.srtt_us);
        record.retransmits = Some(connection.tcp.retransmits);
        if connection.closed_ns != 0 {
            record.reason = classify::abnormal_end(connection);
            record.closed_by = Some(classify::closed_by(connection));
        }
    }
}

fn totals(connection: &Connection, users: &[User]) -> Bytes {
    let (tx, rx) = (connection.tx(), connection.rx());
    let (user_tx, user_rx) = sum(users);
    let is_over = connection.is(flags::HAS_COUNTERS) && connection.closed_ns != 0;
    let counters = is_over.then_some(&connection.tcp);
    let before = u8::try_from(connection.state_before_close).unwrap_or_default();
    let is_older = connection.is(flags::PRE_EXISTING);
    Bytes {
        tx,
        rx,
        unread: counters.map(|tcp| tcp.unread(connection.is(flags::FIN_RECEIVED))),
        unsent: counters.map(|tcp| tcp.unsent(before)),
        unattributed_tx: Some(tx.saturating_sub(user_tx)),
        unattributed_rx: Some(rx.saturating_sub(user_rx)),
        before_tx: is_older.then_some(connection.before_tx),
        before_rx: is_older.then_some(connection.before_rx),
    }
}

/// Bytes of all of them.
fn sum(users: &[User]) -> (u64, u64) {
    let sum = |(tx, rx), user: &User| (tx + user.tx, rx + user.rx);
    users.iter().fold((0, 0), sum)
}

fn all_users(connection: &Connection, others: &[(UserKey, UserTotals)]) -> Users {
    let owner = &connection.owner;
    let by_owner = (connection.owner_tx | connection.owner_rx != 0).then(|| User {
        pid: owner.tgid,
        name: escape(&owner.name),
        uid: owner.uid,
        start_ns: owner.start_ns,
        tx: connection.owner_tx,
        rx: connection.owner_rx,
    });
    let others = others.iter().map(|(key, user)| User {
        pid: key.tgid,
        name: escape(&user.name),
        uid: user.uid,
        start_ns: user.start_ns,
        tx: user.tx,
        rx: user.rx,
    });
    by_owner.into_iter().chain(others).collect()
}

fn process(task: &Task) -> Process {
    Process {
        pid: task.tgid,
        tid: task.tid,
        name: escape(&task.name),
        thread: escape(&task.thread),
        uid: task.uid,
        start_ns: task.start_ns,
        details: None,
    }
}

/// An address as the kernel side keeps it: IPv4 is mapped.
pub(crate) fn address(ip: [u8; 16]) -> IpAddr {
    let ip = Ipv6Addr::from(ip);
    ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
}

fn endpoint(ip: [u8; 16], port: u16) -> Endpoint {
    Endpoint {
        ip: address(ip),
        port: (port != 0).then_some(port),
    }
}

#[cfg(test)]
mod tests;
