//! What the kernel keeps for one connection end, and the arithmetic on its TCP counters.
//!
//! A [`Connection`] is the whole truth of one end: identity, owner, stage times and totals. Every
//! news record carries a copy of it, so a lost record costs nothing once a later one arrives.

use crate::flow::Flow;
use crate::tcp_state;
use crate::wire::Wire;

/// Length of a kernel `comm`, with its NUL.
pub const NAME_LEN: usize = 16;

/// A task as the kernel names it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Task {
    /// Start of the process (its leader) in nanoseconds of boot time; with `tgid` it names one
    /// process for good, however often the number is reused.
    pub start_ns: u64,
    /// Process id in the initial pid namespace; 0 means "no task known".
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Effective uid in the initial user namespace.
    pub uid: u32,
    /// Zero.
    pub reserved: u32,
    /// `comm` of the thread-group leader.
    pub name: [u8; NAME_LEN],
    /// `comm` of the thread.
    pub thread: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<Task>() == 56 && align_of::<Task>() == 8);

impl Task {
    /// No task known.
    pub const NOBODY: Self = Self {
        start_ns: 0,
        tgid: 0,
        tid: 0,
        uid: 0,
        reserved: 0,
        name: [0; NAME_LEN],
        thread: [0; NAME_LEN],
    };
}

/// The process that ended a connection: of it only the name is told.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Closer {
    /// Process id in the initial pid namespace; 0 means "not known".
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
    /// `comm` of the thread-group leader.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<Closer>() == 24);

impl Closer {
    /// Not known.
    pub const NOBODY: Self = Self {
        tgid: 0,
        reserved: 0,
        name: [0; NAME_LEN],
    };
}

/// `struct tcp_sock`'s own counters, read at the connection's end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct TcpCounters {
    /// `bytes_acked`: acknowledged by the peer, with one for our SYN (active side) and our FIN.
    pub bytes_acked: u64,
    /// `bytes_received`: in-order bytes that arrived, with one for the peer's FIN.
    pub bytes_received: u64,
    /// `write_seq`: end of what send calls queued.
    pub write_seq: u32,
    /// `snd_una`: first unacknowledged sequence number.
    pub snd_una: u32,
    /// `rcv_nxt`: next sequence number expected.
    pub rcv_nxt: u32,
    /// `copied_seq`: first sequence number the application has not read.
    pub copied_seq: u32,
    /// Smoothed round-trip time in microseconds.
    pub srtt_us: u32,
    /// Segments sent again (`total_retrans`).
    pub retransmits: u32,
}

const _: () = assert!(size_of::<TcpCounters>() == 40 && align_of::<TcpCounters>() == 8);

impl TcpCounters {
    /// Bytes that send calls put into the socket.
    ///
    /// Sequence numbers also count our SYN (once the handshake is done, on the side that
    /// connected) and our FIN once it is queued.
    pub const fn queued(&self, outbound: bool, state_before_close: u8) -> u64 {
        let control = outbound as u64 + tcp_state::sent_fin(state_before_close) as u64;
        let outstanding = self.write_seq.wrapping_sub(self.snd_una) as u64;
        (self.bytes_acked + outstanding).saturating_sub(control)
    }

    /// Bytes that were queued and never acknowledged.
    pub const fn unsent(&self, state_before_close: u8) -> u64 {
        let outstanding = self.write_seq.wrapping_sub(self.snd_una) as u64;
        // Our FIN is the last sequence number: while anything is outstanding, it is.
        outstanding.saturating_sub(tcp_state::sent_fin(state_before_close) as u64)
    }

    /// Sequence number of the first byte sent, known at any time once the handshake is done.
    pub const fn first_sent(&self, outbound: bool) -> u32 {
        let acked = self.bytes_acked as u32;
        self.snd_una
            .wrapping_sub(acked)
            .wrapping_add(outbound as u32)
    }

    /// Sequence number of the first byte received, likewise.
    pub const fn first_received(&self) -> u32 {
        self.rcv_nxt.wrapping_sub(self.bytes_received as u32)
    }

    /// Bytes that left the receive queue for the application.
    pub const fn copied(&self, fin_received: bool) -> u64 {
        let waiting = self.rcv_nxt.wrapping_sub(self.copied_seq) as u64;
        // Reading the end of file moves `copied_seq` past the FIN.
        let fin_read = fin_received && waiting == 0;
        self.bytes_received
            .saturating_sub(waiting)
            .saturating_sub(fin_read as u64)
    }

    /// Bytes that arrived and were never read.
    pub const fn unread(&self, fin_received: bool) -> u64 {
        let waiting = self.rcv_nxt.wrapping_sub(self.copied_seq) as u64;
        waiting.saturating_sub(fin_received as u64)
    }
}

/// One end of one TCP connection. What every call needs comes first, in one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Connection {
    /// [`flags`].
    pub flags: u32,
    /// Traffic epoch of the last "touched" news.
    pub epoch: u32,
    /// Bytes the owner's send calls accepted.
    pub owner_tx: u64,
    /// Bytes copied to the owner.
    pub owner_rx: u64,
    /// Bytes sent by other processes; who they are is in the users map.
    pub other_tx: u64,
    /// Bytes copied to other processes.
    pub other_rx: u64,
    /// Monotonic time of birth: SYN sent, or handshake done on the accepting side. With the
    /// socket pointer it is the connection's identity.
    pub birth_ns: u64,
    /// The process that connected or accepted.
    pub owner: Task,
    /// When the handshake was done; 0 = not yet.
    pub established_ns: u64,
    /// When a process took an inbound connection from the queue; 0 = not yet.
    pub accepted_ns: u64,
    /// When TCP was over (`->CLOSE`); 0 = not yet.
    pub closed_ns: u64,
    /// Bytes sent before the tracer started, on a connection that is older.
    pub before_tx: u64,
    /// Bytes received by the application before that.
    pub before_rx: u64,
    /// cgroup v2 id of the owner.
    pub cgroup: u64,
    /// The process that dropped the last descriptor or reset the connection.
    pub closer: Closer,
    /// The kernel's counters at `->CLOSE`, or at release where those are later.
    pub tcp: TcpCounters,
    /// What it put on the wire, if [`flags::HAS_WIRE`]; until then, what was before it.
    pub wire: Wire,
    /// The two ends.
    pub flow: Flow,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Process that joined last: head of the chain in the users map; 0 = none but the owner.
    pub last_user: u32,
    /// `sk_err` at `->CLOSE`.
    pub error: u32,
    /// TCP state before `->CLOSE`.
    pub state_before_close: u32,
    /// `write_seq` up to which sends are credited (hooks on the socket lock only).
    pub write_seq: u32,
    /// `copied_seq` up to which receives are credited, likewise.
    pub copied_seq: u32,
}

const _: () = assert!(size_of::<Connection>() == 312 && align_of::<Connection>() == 8);

/// Bits of [`Connection::flags`]. Programs that do not hold the socket's lock (those of accepts, sends
/// and receives) run at the same time as one that does: each group is in bytes of its own, so that a
/// program writes nothing of the others'.
pub mod flags {
    /// Written by who holds the socket's lock.
    pub const LOCKED: u32 = 0x0000_ffff;
    /// Written by who makes a process the owner.
    pub const OWNERS: u32 = 0x00ff_0000;
    /// Written by who decides the filter.
    pub const VERDICTS: u32 = 0xff00_0000;

    /// This end accepted; otherwise it connected.
    pub const INBOUND: u32 = 1 << 0;
    /// The socket is gone: these are the final totals.
    pub const RELEASED: u32 = 1 << 1;
    /// The attempt ended without a connection.
    pub const FAILED: u32 = 1 << 2;
    /// The peer's FIN had arrived (`SOCK_DONE`).
    pub const FIN_RECEIVED: u32 = 1 << 3;
    /// `tcp` holds the kernel's counters.
    pub const HAS_COUNTERS: u32 = 1 << 4;
    /// `write_seq` and `copied_seq` are set.
    pub const SETTLES: u32 = 1 << 5;
    /// Our FIN's sequence number is behind `write_seq`.
    pub const FIN_SETTLED: u32 = 1 << 6;
    /// The peer's FIN's sequence number is behind `copied_seq`.
    pub const END_SETTLED: u32 = 1 << 7;
    /// A process still held the socket when TCP was over: its release is that process's close.
    pub const HELD: u32 = 1 << 8;
    /// Older than the tracer: found by the snapshot at its start. `birth_ns` is when that was.
    pub const PRE_EXISTING: u32 = 1 << 9;
    /// Its handshake was before the tracer's start, its accept not yet.
    pub const QUEUED_BEFORE: u32 = 1 << 10;
    /// TCP ended by a call or without a connection: nothing can follow.
    pub const OVER: u32 = 1 << 11;
    /// An upper-layer protocol (TLS, MPTCP) makes something else of what calls move, and the kernel's
    /// counters are of that: only the calls count.
    pub const BY_CALLS: u32 = 1 << 12;
    /// Older than the tracer: a call on it can span the start, and then returns bytes of before, too.
    pub const SPANS: u32 = 1 << 13;
    /// `wire` is what the connection put on the wire.
    pub const HAS_WIRE: u32 = 1 << 14;

    /// No accept was seen: the owner is who first sent, received or closed.
    pub const OWNER_INFERRED: u32 = 1 << 16;
    /// Who its owner is was told, if anybody wants to know.
    pub const OWNER_TOLD: u32 = 1 << 17;
    /// The owner was followed when it became the owner.
    pub const FOLLOWED: u32 = 1 << 18;
    /// The owner was in a cgroup of the filter's set when it became the owner.
    pub const IN_CGROUP: u32 = 1 << 19;

    /// A filter cannot be decided yet; no news is sent.
    pub const UNDECIDED: u32 = 1 << 24;
}

impl Connection {
    /// Nothing known yet.
    pub const EMPTY: Self = Self {
        birth_ns: 0,
        established_ns: 0,
        accepted_ns: 0,
        closed_ns: 0,
        owner_tx: 0,
        owner_rx: 0,
        other_tx: 0,
        other_rx: 0,
        before_tx: 0,
        before_rx: 0,
        cgroup: 0,
        owner: Task::NOBODY,
        closer: Closer::NOBODY,
        tcp: TcpCounters {
            bytes_acked: 0,
            bytes_received: 0,
            write_seq: 0,
            snd_una: 0,
            rcv_nxt: 0,
            copied_seq: 0,
            srtt_us: 0,
            retransmits: 0,
        },
        wire: Wire::EMPTY,
        flow: Flow {
            local_ip: [0; 16],
            remote_ip: [0; 16],
            local_port: 0,
            remote_port: 0,
            socket_family: 0,
            reserved: 0,
        },
        netns: 0,
        flags: 0,
        epoch: 0,
        last_user: 0,
        error: 0,
        state_before_close: 0,
        write_seq: 0,
        copied_seq: 0,
    };

    /// Whether all bits of `flag` are set.
    #[inline(always)]
    pub const fn is(&self, flag: u32) -> bool {
        self.flags & flag == flag
    }

    /// Whether the kernel counted no opening in this run: its handshake was before, or it never got
    /// as far as to queue its SYN.
    #[inline(always)]
    pub const fn is_unopened(&self) -> bool {
        self.flags & (flags::PRE_EXISTING | flags::QUEUED_BEFORE) != 0
            || (self.is(flags::FAILED) && !self.syn_was_queued())
    }

    /// A SYN, with the data of Fast Open, is the only thing that can be outstanding in a failed
    /// attempt. Before there is one, both numbers are zero, or the second is far off.
    #[inline(always)]
    pub const fn syn_was_queued(&self) -> bool {
        const MOST: u32 = 1 << 24;
        let outstanding = self.tcp.write_seq.wrapping_sub(self.tcp.snd_una);
        self.flow.local_port != 0
            && (!self.is(flags::HAS_COUNTERS) || (outstanding >= 1 && outstanding < MOST))
    }

    /// Whether it ended by an error before it was established.
    #[inline(always)]
    pub const fn failed_by_error(&self) -> bool {
        self.closed_ns != 0
            && self.error != 0
            && (self.state_before_close == tcp_state::SYN_SENT as u32
                || self.state_before_close == tcp_state::SYN_RECV as u32)
    }

    /// Whether it ended while established, without a FIN from here.
    #[inline(always)]
    pub const fn was_cut_off(&self) -> bool {
        self.closed_ns != 0
            && (self.state_before_close == tcp_state::ESTABLISHED as u32
                || self.state_before_close == tcp_state::CLOSE_WAIT as u32)
    }

    /// Bytes that hooks saw send calls accept, by any process.
    pub const fn hooked_tx(&self) -> u64 {
        self.owner_tx + self.other_tx
    }

    /// Bytes that hooks saw copied to any process.
    pub const fn hooked_rx(&self) -> u64 {
        self.owner_rx + self.other_rx
    }

    /// Whether `tcp` says what the application moved.
    const fn counters_count(&self) -> bool {
        self.is(flags::HAS_COUNTERS) && !self.is(flags::BY_CALLS)
    }

    /// What the socket carried is its owner's, if the owner and the counters are known.
    #[inline(always)]
    pub const fn credit_owner(&mut self) {
        if self.owner.tgid != 0 && self.is(flags::HAS_COUNTERS) {
            self.owner_tx = self.tx();
            self.owner_rx = self.rx();
        }
    }

    /// Bytes sent over the connection since the tracer started: the larger of what the hooks and what the kernel counted,
    /// so that a path without a hook is in the total and only its process stays unknown.
    pub const fn tx(&self) -> u64 {
        let hooked = self.hooked_tx();
        if !self.counters_count() {
            return hooked;
        }
        let queued = self
            .tcp
            .queued(!self.is(flags::INBOUND), self.state_before_close as u8)
            .saturating_sub(self.before_tx);
        if queued > hooked { queued } else { hooked }
    }

    /// Bytes received by the application, counted like [`Connection::tx`].
    pub const fn rx(&self) -> u64 {
        let hooked = self.hooked_rx();
        if !self.counters_count() {
            return hooked;
        }
        let copied = self
            .tcp
            .copied(self.is(flags::FIN_RECEIVED))
            .saturating_sub(self.before_rx);
        if copied > hooked { copied } else { hooked }
    }
}

/// Identity of a connection end: socket pointers are reused within milliseconds, births are not.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct ConnectionKey {
    /// The socket's kernel address; never leaves the program.
    pub sk: u64,
    /// [`Connection::birth_ns`].
    pub birth_ns: u64,
}

const _: () = assert!(size_of::<ConnectionKey>() == 16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp_state::{CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK};

    #[test]
    fn an_orderly_active_end_owes_one_for_syn_and_one_for_fin() {
        // 100 bytes sent, all acknowledged, both control numbers acknowledged.
        let tcp = TcpCounters {
            bytes_acked: 102,
            write_seq: 5,
            snd_una: 5,
            ..Default::default()
        };
        assert_eq!(tcp.queued(true, FIN_WAIT2), 100);
        assert_eq!(tcp.unsent(FIN_WAIT2), 0);
    }

    #[test]
    fn an_orderly_passive_end_owes_one_for_fin_only() {
        let tcp = TcpCounters {
            bytes_acked: 101,
            write_seq: 5,
            snd_una: 5,
            ..Default::default()
        };
        assert_eq!(tcp.queued(false, LAST_ACK), 100);
    }

    #[test]
    fn a_reset_end_keeps_what_was_queued_and_not_acknowledged() {
        // Sequence numbers wrap.
        let tcp = TcpCounters {
            bytes_acked: 1 + 60,
            write_seq: 20,
            snd_una: u32::MAX - 19,
            ..Default::default()
        };
        assert_eq!(tcp.queued(true, ESTABLISHED), 100);
        assert_eq!(tcp.unsent(ESTABLISHED), 40);
        let with_fin = TcpCounters {
            write_seq: 21,
            ..tcp
        };
        assert_eq!(with_fin.queued(true, FIN_WAIT1), 100);
        assert_eq!(with_fin.unsent(FIN_WAIT1), 40);
    }

    #[test]
    fn data_begins_at_the_same_number_at_any_time() {
        let first = u32::MAX - 5;
        for (acked, received) in [(0, 0), (3, 7), (1_000, 60), ((1 << 33) + 9, 1 << 32)] {
            let at = |outbound: u64| TcpCounters {
                bytes_acked: acked + outbound,
                snd_una: first.wrapping_add(acked as u32),
                bytes_received: received,
                rcv_nxt: first.wrapping_add(received as u32),
                ..TcpCounters::default()
            };
            assert_eq!(at(0).first_sent(false), first);
            assert_eq!(at(1).first_sent(true), first);
            assert_eq!(at(0).first_received(), first);
        }
    }

    #[test]
    fn a_fin_counts_once_read_and_once_waiting() {
        // 70 bytes and a FIN arrived; everything read, the end of file too.
        let read = TcpCounters {
            bytes_received: 71,
            rcv_nxt: 1071,
            copied_seq: 1071,
            ..Default::default()
        };
        assert_eq!((read.copied(true), read.unread(true)), (70, 0));
        // The end of file not read.
        let waiting = TcpCounters {
            copied_seq: 1070,
            ..read
        };
        assert_eq!((waiting.copied(true), waiting.unread(true)), (70, 0));
        // 30 bytes and the end of file not read.
        let unread = TcpCounters {
            copied_seq: 1040,
            ..read
        };
        assert_eq!((unread.copied(true), unread.unread(true)), (40, 30));
        // No FIN came.
        let open = TcpCounters {
            bytes_received: 70,
            rcv_nxt: 1070,
            copied_seq: 1040,
            ..read
        };
        assert_eq!((open.copied(false), open.unread(false)), (40, 30));
    }

    #[test]
    fn totals_take_the_larger_count() {
        let mut connection = Connection {
            owner_tx: 10,
            other_tx: 5,
            ..Connection::EMPTY
        };
        assert_eq!(connection.tx(), 15);
        connection.flags = flags::HAS_COUNTERS;
        connection.state_before_close = u32::from(CLOSE_WAIT);
        connection.tcp.bytes_acked = 21;
        assert_eq!(connection.tx(), 20, "20 queued, 15 of them seen by hooks");
        connection.tcp.bytes_acked = 1;
        assert_eq!(
            connection.tx(),
            15,
            "counters that tcp_disconnect zeroed change nothing"
        );
    }
}
