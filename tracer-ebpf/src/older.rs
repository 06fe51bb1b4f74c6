//! The handlers of the snapshot: sockets that are older than the tracer, and who holds them. It is
//! taken while the other hooks run, so what it finds may be known already, and may end meanwhile.

use tracer_common::{
    connection::{TcpCounters, flags},
    counters::Counter,
    filter::Verdict,
    tcp_state::{self, CLOSE_WAIT, CLOSING, ESTABLISHED, FIN_WAIT1, FIN_WAIT2, LAST_ACK, SYN_SENT},
};

use crate::{
    bits::{clear, set},
    filter, follow,
    kernel::{Cgroup, Socket, TaskStruct},
    table::{create, find, forget, now},
    task,
    untracked::{self, Reporter},
};

/// Makes an entry for a socket that has none. What it moved so far was before. The kernel holds the
/// socket's lock meanwhile (5.15+), so nothing moves.
#[inline(always)]
pub fn socket(sock: impl Socket) {
    let state = sock.state();
    let is_alive = match state {
        ESTABLISHED | SYN_SENT | CLOSE_WAIT => true,
        // Without a holder the kernel alone is finishing it.
        FIN_WAIT1 | FIN_WAIT2 | CLOSING | LAST_ACK => sock.is_held(),
        _ => false,
    };
    if !is_alive || !sock.is_tcp() || find(sock).is_some() {
        return;
    }
    let inbound = state != SYN_SENT && sock.is_passive();
    let entry = match (inbound, sock.is_held()) {
        // Its handshake is done, but its accept is still to come.
        (true, false) => flags::INBOUND | flags::QUEUED_BEFORE,
        (true, true) => flags::INBOUND | flags::PRE_EXISTING,
        (false, _) => flags::PRE_EXISTING,
    };
    let mut tcp = TcpCounters::default();
    let (mut before_tx, mut before_rx) = (0, 0);
    let fin_received = sock.fin_received();
    if state != SYN_SENT {
        sock.read_counters(&mut tcp);
        before_tx = tcp.queued(!inbound, state);
        before_rx = tcp.copied(fin_received);
    }
    let Some(connection) = create(sock, entry, Counter::TableFullOlder, Reporter::Last) else {
        untracked::carried_before(sock, before_tx, before_rx);
        return;
    };
    let birth_ns = now();
    if state != SYN_SENT {
        connection.tcp = tcp;
        connection.before_tx = before_tx;
        connection.before_rx = before_rx;
        connection.write_seq = tcp.write_seq;
        connection.copied_seq = tcp.copied_seq;
        let end_read = fin_received && tcp.copied_seq == tcp.rcv_nxt;
        set::<{ flags::SETTLES }>(connection);
        // Of an upper-layer protocol the sequence numbers are of something else.
        if entry & flags::PRE_EXISTING != 0 && !sock.has_ulp() {
            set::<{ flags::SPANS }>(connection);
        }
        if tcp_state::sent_fin(state) {
            set::<{ flags::FIN_SETTLED }>(connection);
        }
        if end_read {
            set::<{ flags::END_SETTLED }>(connection);
        }
        connection.established_ns = birth_ns;
    }
    connection.birth_ns = birth_ns;
    if sock.state() == tcp_state::CLOSE {
        // It ended before it had an entry.
        forget(sock, connection);
    }
}

/// Makes `holder`, which has a descriptor of the socket, the owner, unless there is one. Of several
/// holders it is the one that started first: others have it from that one.
#[inline(always)]
pub fn held(sock: impl Socket, holder: TaskStruct) {
    let Some(connection) = find(sock) else { return };
    if !connection.is(flags::PRE_EXISTING) {
        return;
    }
    let is_used = connection.hooked_tx() | connection.hooked_rx() != 0;
    if connection.owner.tgid != 0
        && (is_used || connection.owner.start_ns <= holder.process_start())
    {
        return;
    }
    connection.cgroup = holder.cgroup().and_then(Cgroup::id).unwrap_or_default();
    filter::note_cgroup(connection, || holder);
    task::write(holder, &mut connection.owner);
    clear::<{ flags::FOLLOWED }>(connection);
    if follow::is_on() && follow::is_followed(holder) {
        set::<{ flags::FOLLOWED }>(connection);
    }
    if connection.is(flags::UNDECIDED) {
        match filter::judge(sock, connection) {
            Verdict::Keep => clear::<{ flags::UNDECIDED }>(connection),
            Verdict::Undecided => {}
            Verdict::Drop => forget(sock, connection),
        }
    }
}
