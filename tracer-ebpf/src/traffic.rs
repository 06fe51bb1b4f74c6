//! The handlers of bytes: which process moved how many.

use tracer_common::{
    config::feature,
    connection::{Connection, flags},
    tcp_state,
};

use crate::{
    bits::set,
    emit,
    kernel::Socket,
    lifecycle::{By, take},
    maps::{add, epoch},
    table::{find, now},
    task, untracked, users,
};

/// A send or receive call moved `bytes` (> 0). Process context: the running task called.
#[inline(always)]
pub fn moved(sock: impl Socket, send: bool, bytes: u64, is_mptcp: impl FnOnce() -> bool) {
    // The look-up comes first: most sockets of a host may be none of ours.
    let Some(connection) = find(sock) else {
        if is_mptcp() {
            moved_above(sock, send, bytes);
        } else if untracked::are_there() {
            untracked::moved(sock, send, bytes);
        }
        return;
    };
    let Some(epoch) = epoch() else { return };
    let bytes = if connection.is(flags::SPANS) {
        bytes.min(since_start(sock, connection, send))
    } else {
        bytes
    };
    if bytes != 0 {
        credit(sock, connection, epoch, send, bytes);
    }
}

/// Bytes that moved since the tracer's start and have not been credited: a call that was in its
/// middle then tells what it moved before, too.
#[inline(never)]
fn since_start(sock: impl Socket, connection: &Connection, send: bool) -> u64 {
    let (now, start, credited) = if send {
        (
            sock.write_seq(),
            connection.write_seq,
            connection.hooked_tx(),
        )
    } else {
        (
            sock.copied_seq(),
            connection.copied_seq,
            connection.hooked_rx(),
        )
    };
    u64::from(now.wrapping_sub(start).wrapping_sub(credited as u32))
}

/// The same on an MPTCP socket.
#[inline(never)]
fn moved_above(sock: impl Socket, send: bool, bytes: u64) {
    let (Some(sock), Some(epoch)) = (sock.first_subflow(), epoch()) else {
        return;
    };
    match find(sock) {
        Some(connection) => credit(sock, connection, epoch, send, bytes),
        None if untracked::are_there() => untracked::moved(sock, send, bytes),
        None => {}
    }
}

/// Whether the calls say what the application moved, and the kernel's counters do not.
#[inline(always)]
pub fn only_calls_count(sock: impl Socket) -> bool {
    (emit::wants(feature::CALLS) && sock.has_ulp())
        || (emit::wants(feature::MPTCP_CALLS) && sock.is_subflow())
}

/// The running task releases the socket's lock. Whatever the call was, what it wrote and read is
/// in the sequence numbers now, and no other task has moved them since it took the lock.
#[inline(always)]
pub fn settle(sock: impl Socket) {
    let Some(connection) = find(sock) else { return };
    let Some(epoch) = epoch() else { return };
    // The snapshot releases the lock of older ones, too, in our process.
    if connection.owner.tgid == 0
        && connection.flags & (flags::INBOUND | flags::PRE_EXISTING) == flags::INBOUND
        && sock.is_held()
        && !task::is_kernel_thread()
        && !take(sock, connection, By::Accept)
    {
        return;
    }
    if !settles(sock, connection) {
        return;
    }
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
fn credit_settled(
    sock: impl Socket,
    connection: &mut Connection,
    epoch: u32,
    send: bool,
    bytes: u64,
) {
    credit(sock, connection, epoch, send, bytes);
}

/// Credits what no release of the lock has told to the owner: the kernel can skip a program (see
/// `hooks/set_state.rs`), but hardly ever for the last time that a second process had the lock.
#[inline(always)]
pub fn settle_rest(sock: impl Socket, connection: &mut Connection) {
    if connection.owner.tgid == 0
        || !connection.is(flags::HAS_COUNTERS)
        || !emit::wants(feature::SETTLE)
        || !settles(sock, connection)
    {
        return;
    }
    let sent = settle_sends(sock, connection);
    let copied = settle_receives(sock, connection);
    add(&raw mut connection.owner_tx, sent);
    add(&raw mut connection.owner_rx, copied);
}

/// Sequence numbers that the end of a direction takes.
const FIN: u32 = 1;

/// Whether there is something to settle: not before the handshake is done. The first time, finds
/// out where the data began: its first sequence numbers follow from the kernel's counters.
#[inline(always)]
fn settles(sock: impl Socket, connection: &mut Connection) -> bool {
    if connection.is(flags::SETTLES) {
        return true;
    }
    if connection.is(flags::BY_CALLS) {
        return false;
    }
    if connection.closed_ns != 0 {
        if connection.established_ns == 0 || !connection.is(flags::HAS_COUNTERS) {
            return false;
        }
    } else {
        if sock.state() == tcp_state::SYN_SENT {
            return false;
        }
        if only_calls_count(sock) {
            set::<{ flags::BY_CALLS }>(connection);
            return false;
        }
        sock.read_counters(&mut connection.tcp);
    }
    let outbound = !connection.is(flags::INBOUND);
    connection.write_seq = connection.tcp.first_sent(outbound);
    connection.copied_seq = connection.tcp.first_received();
    set::<{ flags::SETTLES }>(connection);
    true
}

/// Bytes queued since the last time. After `->CLOSE` the numbers read then are the last that count:
/// a disconnect sets new ones.
#[inline(always)]
fn settle_sends(sock: impl Socket, connection: &mut Connection) -> u64 {
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
        set::<{ flags::FIN_SETTLED }>(connection);
        sent -= FIN;
    }
    u64::from(sent)
}

/// Bytes copied to the application since the last time. A disconnect sets `copied_seq` and zeroes
/// `bytes_received`: the number read at `->CLOSE` is the last one then.
#[inline(always)]
fn settle_receives(sock: impl Socket, connection: &mut Connection) -> u64 {
    let disconnected =
        connection.closed_ns != 0 && sock.bytes_received() != connection.tcp.bytes_received;
    let copied_seq = if disconnected {
        connection.tcp.copied_seq
    } else {
        sock.copied_seq()
    };
    let mut copied = copied_seq.wrapping_sub(connection.copied_seq);
    if copied == 0 {
        return 0;
    }
    connection.copied_seq = copied_seq;
    let at_end = sock.fin_received() && copied_seq == sock.rcv_nxt();
    if !connection.is(flags::END_SETTLED) && at_end {
        set::<{ flags::END_SETTLED }>(connection);
        copied -= FIN;
    }
    u64::from(copied)
}

/// Credits bytes to the running task.
#[inline(always)]
fn credit(sock: impl Socket, connection: &mut Connection, epoch: u32, send: bool, bytes: u64) {
    let tgid = task::current_tgid();
    if connection.owner.tgid != tgid && task::is_kernel_thread() {
        // In the total, without a process.
        return touch(sock, connection, epoch);
    }
    if connection.owner.tgid == 0 && !take(sock, connection, By::Use) {
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
    touch(sock, connection, epoch);
}

#[inline(always)]
fn touch(sock: impl Socket, connection: &mut Connection, epoch: u32) {
    if emit::wants(feature::TRAFFIC) && connection.epoch != epoch && emit::touched(sock.key()) {
        connection.epoch = epoch;
    }
}
