//! The handlers: what a connection's life means, whatever hook reported it.
//!
//! The table entry is the truth. Each stage is written to it first and sent second, so news that
//! find the ring full are contained in the next ones; what is unsent at release moves to the
//! pending map, and from there into sums.
//!
//! Handlers of events that happen in softirqs do nothing for what is done already, because two
//! programs report each of these events (see `hooks/set_state.rs`).

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{bpf_get_current_cgroup_id, bpf_ktime_get_ns},
};
use aya_log_ebpf::debug;
use tracer_common::{
    config::feature,
    connection::{Connection, ConnectionKey, flags},
    counters::Counter,
    filter::Verdict,
    folded::{FoldedKey, FoldedTotals},
    tcp_state,
};

use crate::{
    emit, filter,
    kernel::Sock,
    maps::{
        CONNECTIONS, FOLDED, NO_CONNECTION, NO_FOLD, PENDING, add, count, epoch, gate_is_closed,
    },
    task, users,
};

/// A program's place among those that report the same event.
#[derive(Clone, Copy)]
pub enum Reporter {
    First,
    Second,
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
fn find(sock: Sock) -> Option<&'static mut Connection> {
    let connection = CONNECTIONS.get_ptr_mut(sock.key())?;
    // SAFETY: the value lives until the socket's release, and whoever calls a handler holds the
    // socket. Fields that two CPUs may write at once are only touched by `maps::add`.
    let connection = unsafe { &mut *connection };
    (!connection.is(flags::RELEASED)).then_some(connection)
}

/// A SYN is about to be sent. Process context: the running task is the owner.
#[inline(always)]
pub fn opened(sock: Sock) {
    if gate_is_closed() {
        return;
    }
    // A socket that was disconnected and connects again, or whose release was missed.
    if let Some(previous) = find(sock) {
        release(sock, previous);
    }
    if let Some(connection) = create(sock, 0, Some(Counter::TableFullOutbound)) {
        take_owner(connection);
        connection.birth_ns = now();
        if !emit::wants(feature::CONNECT_HOOK) {
            tell(sock, connection);
        }
    }
}

/// The attempt has its local port and its first sequence number; the SYN follows.
#[inline(always)]
pub fn bound(sock: Sock) {
    if gate_is_closed() {
        return;
    }
    if let Some(connection) = find(sock) {
        sock.read_flow(&mut connection.flow);
        connection.write_seq = sock.write_seq().wrapping_add(SYN);
        connection.flags |= flags::SENDS_SETTLED;
        tell(sock, connection);
    }
}

/// The handshake is done. Any context. `reporter` is the program's place among those that report
/// this event: only the first counts what found no room.
#[inline(always)]
pub fn established(sock: Sock, old_state: u8, reporter: Reporter) {
    if gate_is_closed() {
        return;
    }
    if let Some(connection) = find(sock) {
        if connection.established_ns == 0 && connection.closed_ns == 0 {
            connection.established_ns = now();
            sock.read_flow(&mut connection.flow);
            settle_from_here(sock, connection);
            tell(sock, connection);
            return;
        }
        if connection.closed_ns == 0 {
            return;
        }
        // The pointer lives on in a new child; the release of the old one was missed.
        release(sock, connection);
    }
    if old_state != tcp_state::SYN_RECV {
        untracked_attempt(sock, reporter);
        return;
    }
    let table_full = match reporter {
        Reporter::First => Some(Counter::TableFullInbound),
        Reporter::Second => None,
    };
    let created = create(sock, flags::INBOUND, table_full);
    // Without: the filter, no room, or a process that accepted it just now (`accepted_early`).
    if let Some(connection) = created.or_else(|| find(sock)) {
        let now = now();
        connection.established_ns = now;
        if connection.birth_ns == 0 {
            connection.birth_ns = now;
        }
        settle_from_here(sock, connection);
        // No news: they come when a process accepts, or at the end.
    }
}

/// An outbound attempt has its port now, and no entry: counts it as missing if it should have one
/// and the filter could not tell when it was made.
#[inline(always)]
fn untracked_attempt(sock: Sock, reporter: Reporter) {
    if matches!(reporter, Reporter::First) && filter::was_undecided(sock) {
        count(Counter::TableFullOutbound, 1);
    }
}

/// A process took the connection from the accept queue. Process context: the running task is it.
#[inline(always)]
pub fn accepted(sock: Sock) {
    if gate_is_closed() {
        return;
    }
    match find(sock).or_else(|| accepted_early(sock)) {
        Some(connection) => {
            take(sock, connection, 0);
        }
        None => {
            if filter::would_trace(sock, true) {
                count(Counter::UntrackedAccepts, 1);
                debug!(
                    (),
                    "process {} accepted an untraced connection",
                    task::current_tgid()
                );
            }
        }
    }
}

/// A child is in the accept queue before its handshake is told, and with Fast Open long before: a
/// process on another CPU can be that fast.
#[inline(always)]
fn accepted_early(sock: Sock) -> Option<&'static mut Connection> {
    if sock.state() != tcp_state::SYN_RECV {
        return None;
    }
    match create(sock, flags::INBOUND, Some(Counter::TableFullInbound)) {
        Some(connection) => {
            connection.birth_ns = now();
            Some(connection)
        }
        None => find(sock),
    }
}

/// Makes the running task the owner; `false` if the filter does not want it, and the entry is gone.
#[inline(always)]
fn take(sock: Sock, connection: &mut Connection, how: u32) -> bool {
    if connection.owner.tgid != 0 || !connection.is(flags::INBOUND) {
        return true;
    }
    connection.accepted_ns = now();
    connection.flags |= how;
    take_owner(connection);
    tell(sock, connection)
}

/// A send or receive call moved `bytes` (> 0). Process context: the running task called.
#[inline(always)]
pub fn moved(sock: Sock, send: bool, bytes: u64) {
    let Some(epoch) = epoch() else { return };
    match find(sock) {
        Some(connection) => credit(sock, connection, epoch, send, bytes),
        None => untracked(sock, send, bytes),
    }
}

/// The running task releases the socket's lock. Whatever the call was, what it wrote and read is
/// in the sequence numbers now, and no other task has moved them since it took the lock.
#[inline(always)]
pub fn settle(sock: Sock) {
    let Some(epoch) = epoch() else { return };
    let Some(connection) = find(sock) else { return };
    let sent = settle_sends(sock, connection);
    let copied = settle_receives(sock, connection);
    if sent != 0 {
        credit_settled(sock, connection, epoch, true, sent);
    }
    if copied != 0 {
        credit_settled(sock, connection, epoch, false, copied);
    }
}

/// Not inlined: called twice by each of the settling programs.
#[inline(never)]
fn credit_settled(sock: Sock, connection: &mut Connection, epoch: u32, send: bool, bytes: u64) {
    credit(sock, connection, epoch, send, bytes);
}

/// Sequence numbers that a control bit takes.
const SYN: u32 = 1;
const FIN: u32 = 1;

#[inline(always)]
fn settle_from_here(sock: Sock, connection: &mut Connection) {
    if !emit::wants(feature::SETTLE) {
        return;
    }
    if !connection.is(flags::SENDS_SETTLED) {
        connection.flags |= flags::SENDS_SETTLED;
        connection.write_seq = sock.write_seq();
    }
    connection.copied_seq = sock.copied_seq();
}

/// Bytes queued since the last time. After `->CLOSE` the numbers read then are the last that count:
/// a disconnect sets new ones.
#[inline(always)]
fn settle_sends(sock: Sock, connection: &mut Connection) -> u64 {
    if !connection.is(flags::SENDS_SETTLED) {
        return 0;
    }
    let over = connection.closed_ns != 0;
    let write_seq = if over {
        connection.tcp.write_seq
    } else {
        sock.write_seq()
    };
    let mut sent = write_seq.wrapping_sub(connection.write_seq);
    if sent == 0 {
        return 0;
    }
    connection.write_seq = write_seq;
    let state = if over {
        connection.state_before_close as u8
    } else {
        sock.state()
    };
    if !connection.is(flags::FIN_SETTLED) && tcp_state::sent_fin(state) {
        connection.flags |= flags::FIN_SETTLED;
        sent -= FIN;
    }
    u64::from(sent)
}

/// Bytes copied to the application since the last time. A disconnect sets `copied_seq` and zeroes
/// `bytes_received`.
#[inline(always)]
fn settle_receives(sock: Sock, connection: &mut Connection) -> u64 {
    if connection.established_ns == 0 {
        return 0;
    }
    let copied_seq = sock.copied_seq();
    let mut copied = copied_seq.wrapping_sub(connection.copied_seq);
    if copied == 0 {
        return 0;
    }
    if connection.closed_ns != 0 && sock.bytes_received() != connection.tcp.bytes_received {
        return 0;
    }
    connection.copied_seq = copied_seq;
    let at_end = sock.fin_received() && copied_seq == sock.rcv_nxt();
    if !connection.is(flags::END_SETTLED) && at_end {
        connection.flags |= flags::END_SETTLED;
        copied -= FIN;
    }
    u64::from(copied)
}

/// Credits bytes to the running task.
#[inline(always)]
fn credit(sock: Sock, connection: &mut Connection, epoch: u32, send: bool, bytes: u64) {
    let tgid = task::current_tgid();
    if connection.owner.tgid == 0 && !take(sock, connection, flags::OWNER_BY_IO) {
        return;
    }
    let is_owner = connection.owner.tgid == tgid;
    let total = match (is_owner, send) {
        (true, true) => &raw mut connection.owner_tx,
        (true, false) => &raw mut connection.owner_rx,
        (false, true) => &raw mut connection.other_tx,
        (false, false) => &raw mut connection.other_rx,
    };
    add(total, bytes);
    if !is_owner {
        users::credit(sock.key(), connection, tgid, send, bytes);
    }
    if connection.is(flags::UNDECIDED) {
        return;
    }
    if emit::wants(feature::IO) {
        emit::io(sock.key(), connection, send, bytes, now());
    }
    if emit::wants(feature::TRAFFIC) && connection.epoch != epoch && emit::touched(sock.key()) {
        connection.epoch = epoch;
    }
}

#[inline(always)]
fn untracked(sock: Sock, send: bool, bytes: u64) {
    if !sock.is_tcp() || !filter::would_trace(sock, false) {
        return;
    }
    let (calls, total) = if send {
        (Counter::UntrackedSends, Counter::UntrackedTx)
    } else {
        (Counter::UntrackedReceives, Counter::UntrackedRx)
    };
    count(calls, 1);
    count(total, bytes);
}

/// Our FIN is queued. Process context: the running task dropped the last descriptor or shut down.
#[inline(always)]
pub fn closing(sock: Sock) {
    if gate_is_closed() {
        return;
    }
    if let Some(connection) = find(sock)
        && connection.closer.tgid == 0
    {
        task::write_current(&mut connection.closer);
    }
}

/// TCP is over. Any context, unless the state says that a local call did it.
#[inline(always)]
pub fn closed(sock: Sock, old_state: u8, reporter: Reporter) {
    if gate_is_closed() {
        return;
    }
    let Some(connection) = find(sock) else {
        if old_state == tcp_state::SYN_SENT {
            untracked_attempt(sock, reporter);
        }
        return;
    };
    if connection.closed_ns != 0 {
        return;
    }
    connection.closed_ns = now();
    connection.error = sock.error();
    connection.state_before_close = u32::from(old_state);
    sock.read_counters(&mut connection.tcp);
    connection.flags |= flags::HAS_COUNTERS;
    if sock.fin_received() {
        connection.flags |= flags::FIN_RECEIVED;
    }
    if connection.flow.local_port == 0 {
        connection.flow.local_port = sock.source_port();
    }
    let failed = !connection.is(flags::INBOUND)
        && matches!(old_state, tcp_state::SYN_SENT | tcp_state::SYN_RECV);
    if connection.established_ns == 0 && !failed {
        // Nobody told us, but it was.
        connection.established_ns = connection.birth_ns;
    }
    let aborted_here = connection.error == 0
        && matches!(old_state, tcp_state::ESTABLISHED | tcp_state::CLOSE_WAIT);
    if failed {
        connection.flags |= flags::FAILED;
        if connection.error == 0 {
            closing(sock);
        }
        release(sock, connection);
    } else if aborted_here {
        // close() with unread data or linger 0, connect(AF_UNSPEC), or a listener's own close:
        // always a call, and nothing can be read or sent afterwards. After AF_UNSPEC the socket
        // lives on without ever being destroyed under this identity.
        closing(sock);
        release(sock, connection);
    } else if sock.is_held() {
        tell(sock, connection);
    }
    // Otherwise the release follows at once and tells this too.
}

/// The socket is gone: the application's counts are final.
#[inline(always)]
pub fn released(sock: Sock) {
    if gate_is_closed() {
        return;
    }
    if let Some(connection) = find(sock) {
        release(sock, connection);
    }
}

/// Not inlined: it is long, and five handlers end here.
#[inline(never)]
fn release(sock: Sock, connection: &mut Connection) {
    if connection.closed_ns == 0 {
        connection.closed_ns = now();
        connection.error = sock.error();
    } else if sock.bytes_received() == connection.tcp.bytes_received {
        // Reads may have followed ->CLOSE. (tcp_disconnect zeroes the counters: keep ours then.)
        connection.tcp.copied_seq = sock.copied_seq();
    }
    if !connection.is(flags::UNDECIDED) || filter::judge_end(connection) == Verdict::Keep {
        connection.flags |= flags::RELEASED;
        connection.flags &= !flags::UNDECIDED;
        if !emit::news(sock.key(), connection) {
            keep_for_later(sock, connection);
        }
    }
    forget(sock, connection);
}

#[inline(always)]
fn forget(sock: Sock, connection: &mut Connection) {
    connection.flags |= flags::RELEASED;
    // It can fail (EBUSY) when this CPU was interrupted in the same hash bucket: the entry stays
    // then, and whoever finds it sees that it is nobody's.
    let _ = CONNECTIONS.remove(sock.key());
}

/// The ring is full: the pending map holds the connection until the reader comes.
#[inline(always)]
fn keep_for_later(sock: Sock, connection: &mut Connection) {
    let key = ConnectionKey {
        sk: sock.key(),
        birth_ns: connection.birth_ns,
    };
    if PENDING
        .insert(key, &*connection, u64::from(BPF_ANY))
        .is_err()
    {
        fold(connection);
    }
}

#[inline(always)]
fn fold(connection: &Connection) {
    let inbound = connection.is(flags::INBOUND);
    let key = FoldedKey {
        start_ns: connection.owner.start_ns,
        netns: connection.netns,
        tgid: connection.owner.tgid,
        uid: connection.owner.uid,
        port: if inbound {
            connection.flow.local_port
        } else {
            connection.flow.remote_port
        },
        inbound: u16::from(inbound),
    };
    let Some(row) = folded_row(key, connection) else {
        count(Counter::FoldLost, 1);
        count(Counter::FoldLostTx, connection.tx());
        count(Counter::FoldLostRx, connection.rx());
        return;
    };
    let failed = connection.is(flags::FAILED);
    // SAFETY: `row` points at a live value of `FOLDED`.
    unsafe {
        add(
            if failed {
                &raw mut (*row).failures
            } else {
                &raw mut (*row).connections
            },
            1,
        );
        add(&raw mut (*row).tx, connection.tx());
        add(&raw mut (*row).rx, connection.rx());
        add(&raw mut (*row).owner_tx, connection.owner_tx);
        add(&raw mut (*row).owner_rx, connection.owner_rx);
    }
    count(Counter::Folded, 1);
}

#[inline(always)]
fn folded_row(key: FoldedKey, connection: &Connection) -> Option<*mut FoldedTotals> {
    if let Some(row) = FOLDED.get_ptr_mut(key) {
        return Some(row);
    }
    // It can fail because another CPU was faster: then its row is there.
    let _ = FOLDED.insert(key, &NO_FOLD, u64::from(BPF_NOEXIST));
    let row = FOLDED.get_ptr_mut(key)?;
    // SAFETY: `row` points at a live value of `FOLDED`; all writers write the same name.
    unsafe { (*row).name = connection.owner.name };
    Some(row)
}

/// Inserts an entry and fills in what every connection has; nothing for one the filter rejects.
/// `birth_ns` stays 0, "not complete", until the caller is done.
#[inline(always)]
fn create(sock: Sock, flags: u32, table_full: Option<Counter>) -> Option<&'static mut Connection> {
    let netns = sock.netns();
    let verdict = filter::judge_birth(sock, flags & flags::INBOUND != 0, netns);
    if verdict == Verdict::Drop {
        return None;
    }
    // An entry that `find` does not show is left from the socket before (see `forget`).
    let exists = CONNECTIONS.get_ptr(sock.key()).is_some();
    let how = if exists { BPF_ANY } else { BPF_NOEXIST };
    if CONNECTIONS
        .insert(sock.key(), &NO_CONNECTION, u64::from(how))
        .is_err()
    {
        if find(sock).is_some() {
            // Another CPU was faster.
            return None;
        }
        // Of an undecided attempt nobody can say yet whether it is missing.
        if verdict == Verdict::Keep
            && let Some(counter) = table_full
        {
            count(counter, 1);
            debug!(
                (),
                "table full: a connection in namespace {} is not traced", netns
            );
        }
        return None;
    }
    let connection = find(sock)?;
    sock.read_flow(&mut connection.flow);
    connection.netns = netns;
    connection.flags = flags;
    if verdict == Verdict::Undecided {
        connection.flags |= flags::UNDECIDED;
    }
    Some(connection)
}

#[inline(always)]
fn take_owner(connection: &mut Connection) {
    // SAFETY: no arguments.
    connection.cgroup = unsafe { bpf_get_current_cgroup_id() };
    task::write_current(&mut connection.owner);
}

/// Sends news once the filter is decided; `false` if it rejects the connection, which is forgotten.
#[inline(always)]
fn tell(sock: Sock, connection: &mut Connection) -> bool {
    if connection.is(flags::UNDECIDED) {
        match filter::judge(sock, connection) {
            Verdict::Keep => connection.flags &= !flags::UNDECIDED,
            Verdict::Undecided => return true,
            Verdict::Drop => {
                forget(sock, connection);
                return false;
            }
        }
    }
    emit::news(sock.key(), connection);
    true
}
