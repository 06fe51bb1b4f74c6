//! The handlers of a connection's life, whatever hook reported it.
//!
//! They do nothing for what is done already, because two programs report most events (see
//! `hooks/set_state.rs`); and they are not inlined, because two copies would be the larger part of
//! the object.

use tracer_common::{
    config::feature,
    connection::{Connection, flags},
    counters::Counter,
    filter::Verdict,
    tcp_state,
};

use crate::{
    bits::{clear, set},
    emit, filter, folded,
    kernel::Socket,
    maps::gate_is_closed,
    no_route,
    table::{Context, create, fill, find, forget, now, stage_time, take_owner, tell},
    task,
    traffic::{only_calls_count, settle_rest},
    untracked::{self, Reporter},
    wire,
};

/// Whether the ports that the socket has now are not wanted.
#[inline(always)]
fn has_other_ports(sock: impl Socket) -> bool {
    filter::has_other_ports(sock.local_port(), || sock.remote_port())
}

/// A SYN is about to be sent. Process context: the running task is the owner.
#[inline(never)]
pub fn opened(sock: impl Socket, reporter: Reporter) {
    if gate_is_closed() {
        return;
    }
    if emit::wants(feature::ROUTES) {
        no_route::found();
    }
    if let Some(previous) = find(sock) {
        let is_told =
            !previous.is(flags::INBOUND) && previous.established_ns == 0 && previous.closed_ns == 0;
        if is_told {
            return;
        }
        // A socket that was disconnected and connects again, or whose release was missed.
        release(sock, previous);
    }
    if let Some(connection) = create(sock, 0, Counter::TableFullOutbound, reporter) {
        take_owner(connection);
        connection.birth_ns = now();
        if !emit::wants(feature::CONNECT_HOOK) {
            tell(sock, connection, Context::Owner);
        }
    }
}

/// The attempt has its local port; the SYN follows.
#[inline(always)]
pub fn bound(sock: impl Socket) {
    if gate_is_closed() {
        return;
    }
    if let Some(connection) = find(sock) {
        sock.read_flow(&mut connection.flow);
        tell(sock, connection, Context::Owner);
    }
}

/// The handshake is done. Any context.
#[inline(never)]
pub fn established(sock: impl Socket, old_state: u8, reporter: Reporter) {
    if gate_is_closed() {
        return;
    }
    if let Some(connection) = find(sock) {
        if connection.established_ns == 0 && connection.closed_ns == 0 {
            connection.established_ns = stage_time(connection);
            sock.read_flow(&mut connection.flow);
            tell(sock, connection, Context::Any);
            return;
        }
        if connection.closed_ns == 0 {
            return;
        }
        // The pointer lives on in a new child; the release of the old one was missed.
        release(sock, connection);
    }
    if old_state != tcp_state::SYN_RECV {
        untracked::attempted(sock, reporter);
        return;
    }
    if has_other_ports(sock) {
        return;
    }
    let created = create(sock, flags::INBOUND, Counter::TableFullInbound, reporter);
    // Without: the filter, no room, or a process that accepted it just now (`accepted_early`).
    if let Some(connection) = created.or_else(|| find(sock)) {
        if connection.birth_ns == 0 {
            connection.birth_ns = now();
            connection.established_ns = connection.birth_ns;
        } else {
            connection.established_ns = stage_time(connection);
        }
        // No news: they come when a process accepts, or at the end.
    }
}

/// A process took the connection from the accept queue. Process context: the running task is it.
#[inline(never)]
pub fn accepted(sock: impl Socket, reporter: Reporter) {
    if gate_is_closed() {
        return;
    }
    if has_other_ports(sock) {
        return;
    }
    if let Some(connection) = find(sock).or_else(|| accepted_early(sock, reporter)) {
        if connection.birth_ns == 0 && connection.flags == 0 {
            // Another processor makes the entry in this moment, and writes the same.
            fill(sock, connection, flags::INBOUND);
        }
        take(sock, connection, By::Accept);
    } else {
        untracked::accepted(sock, reporter);
    }
}

/// A child is in the accept queue before its handshake is told, and with Fast Open long before: a
/// process on another CPU can be that fast.
#[inline(always)]
fn accepted_early(sock: impl Socket, reporter: Reporter) -> Option<&'static mut Connection> {
    if sock.state() != tcp_state::SYN_RECV {
        return None;
    }
    match create(sock, flags::INBOUND, Counter::TableFullInbound, reporter) {
        Some(connection) => {
            connection.birth_ns = now();
            Some(connection)
        }
        None => find(sock),
    }
}

/// How the running task becomes the owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    Accept,
    /// It sends, receives or closes, and nobody saw an accept.
    Use,
}

/// Makes the running task the owner; `false` if the filter does not want it, and the entry is gone.
#[inline(always)]
pub fn take(sock: impl Socket, connection: &mut Connection, by: By) -> bool {
    if connection.owner.tgid != 0 || !connection.is(flags::INBOUND) {
        return true;
    }
    if !connection.is(flags::PRE_EXISTING) {
        connection.accepted_ns = stage_time(connection);
    }
    if by == By::Use {
        set::<{ flags::OWNER_INFERRED }>(connection);
    }
    take_owner(connection);
    tell(sock, connection, Context::Owner)
}

/// Our FIN is queued. Process context: the running task dropped the last descriptor or shut down.
#[inline(never)]
pub fn closing(sock: impl Socket) {
    if gate_is_closed() || has_other_ports(sock) {
        return;
    }
    if let Some(connection) = find(sock) {
        take_closer(sock, connection, sock.is_held());
    }
}

/// The running task ends the connection: makes it the closer, unless there is one, and the owner if
/// nobody saw the accept. (What nobody accepted is closed by the listener's end, and not held.)
/// `false` as in [`take`].
#[inline(always)]
fn take_closer(sock: impl Socket, connection: &mut Connection, held: bool) -> bool {
    if task::is_kernel_thread() {
        return true;
    }
    // No table has it.
    if emit::wants(feature::STAGES) && connection.closer.tgid == 0 {
        task::write_closer(&mut connection.closer);
    }
    !held || take(sock, connection, By::Use)
}

/// TCP is over. Any context, unless the state says that a local call did it.
#[inline(never)]
pub fn closed(sock: impl Socket, old_state: u8, reporter: Reporter) {
    if gate_is_closed() {
        return;
    }
    // An attempt may have an entry that was made before it had a port.
    if old_state != tcp_state::SYN_SENT
        && filter::has_other_ports(sock.source_port(), || sock.remote_port())
    {
        return;
    }
    let Some(connection) = find(sock) else {
        untracked::closed(sock, old_state, reporter);
        return;
    };
    // The entry of one that is over stays until the last reporter has seen it: without one it would
    // be taken for untracked.
    if (connection.closed_ns != 0 || end(sock, connection, old_state))
        && connection.is(flags::OVER)
        && reporter == Reporter::Last
    {
        release(sock, connection);
    }
}

/// Whether a local call ended TCP at once: `close` with unread data or linger 0, `connect` to
/// `AF_UNSPEC`, or a listener's own close. Nothing can be read or sent afterwards.
#[inline(always)]
pub fn is_abort(error: u32, old_state: u8) -> bool {
    error == 0 && matches!(old_state, tcp_state::ESTABLISHED | tcp_state::CLOSE_WAIT)
}

/// Notes how TCP ended; `false` if the filter does not want the connection, and the entry is gone.
#[inline(always)]
fn end(sock: impl Socket, connection: &mut Connection, old_state: u8) -> bool {
    connection.closed_ns = stage_time(connection);
    connection.error = sock.error();
    connection.state_before_close = u32::from(old_state);
    sock.read_counters(&mut connection.tcp);
    set::<{ flags::HAS_COUNTERS }>(connection);
    wire::ended(sock, connection, old_state);
    if only_calls_count(sock) {
        set::<{ flags::BY_CALLS }>(connection);
    }
    if sock.fin_received() {
        set::<{ flags::FIN_RECEIVED }>(connection);
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
    if failed {
        set::<{ flags::FAILED | flags::OVER }>(connection);
        return connection.error != 0 || take_closer(sock, connection, false);
    }
    if is_abort(connection.error, old_state) {
        // After AF_UNSPEC the socket lives on without ever being destroyed under this identity.
        set::<{ flags::OVER }>(connection);
        return take_closer(sock, connection, sock.is_held());
    }
    if sock.is_held() {
        set::<{ flags::HELD }>(connection);
        return tell(sock, connection, Context::Any);
    }
    // The release follows at once and tells this too.
    true
}

/// The socket is gone: the application's counts are final.
#[inline(always)]
pub fn released(sock: impl Socket) {
    if gate_is_closed() {
        return;
    }
    let Some(connection) = find(sock) else {
        untracked::released(sock);
        return;
    };
    // What the peer reset before a process accepted it ended without one that held it, too, and only
    // who accepted it closes it.
    let is_closed = connection.is(flags::HELD) || (connection.was_cut_off() && sock.is_shut_down());
    if !is_closed || take_closer(sock, connection, true) {
        release(sock, connection);
    }
}

/// The end of an entry: tells the totals, and frees it.
#[inline(never)]
pub fn release(sock: impl Socket, connection: &mut Connection) {
    if connection.closed_ns == 0 {
        connection.closed_ns = stage_time(connection);
        connection.error = sock.error();
        if connection.established_ns == 0 && !connection.is(flags::INBOUND) {
            set::<{ flags::FAILED }>(connection);
        }
    } else if sock.bytes_received() == connection.tcp.bytes_received {
        // Reads may have followed ->CLOSE. (tcp_disconnect zeroes the counters: keep ours then.)
        connection.tcp.copied_seq = sock.copied_seq();
    }
    settle_rest(sock, connection);
    if emit::wants(feature::SOCKET) {
        connection.credit_owner();
    }
    if !connection.is(flags::UNDECIDED) || filter::judge_end(sock, connection) == Verdict::Keep {
        set::<{ flags::RELEASED }>(connection);
        clear::<{ flags::UNDECIDED }>(connection);
        // Who else moved its bytes, and what it put on the wire, is told to the reader only.
        let told = !emit::wants(feature::STAGES | feature::WIRE)
            && connection.last_user == 0
            && folded::tally(connection);
        if !told && !emit::news(sock.key(), connection) {
            folded::keep_for_later(sock, connection);
        }
    }
    forget(sock, connection);
}
