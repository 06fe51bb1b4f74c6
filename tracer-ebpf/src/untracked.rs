//! What connections without a table entry did: it is missing in the tables, so it is counted.
//!
//! What is long is not inlined: it is hardly ever called.

use aya_ebpf::bindings::BPF_ANY;
use tracer_common::{
    config::feature,
    connection::TcpCounters,
    counters::Counter,
    tcp_state::{CLOSE_WAIT, ESTABLISHED, SYN_RECV, SYN_SENT},
};

use crate::{
    emit, filter,
    kernel::Sock,
    maps::{LATE_READS, count},
};

/// Where the application was, at `->CLOSE`, in what the socket had received.
#[derive(Clone, Copy)]
pub struct Position {
    copied_seq: u32,
    /// Lowest bits of `bytes_received`: a disconnect zeroes it.
    received: u32,
}

/// A send or receive call moved `bytes`.
#[inline(always)]
pub fn moved(sock: Sock, send: bool, bytes: u64) {
    if sock.is_stream() && filter::would_trace(sock, false) {
        count(
            if send {
                Counter::UntrackedTx
            } else {
                Counter::UntrackedRx
            },
            bytes,
        );
    }
}

/// An outbound attempt has its port now: counts it if it should have an entry and the filter could
/// not tell when it was made.
#[inline(always)]
pub fn attempted(sock: Sock) {
    if filter::was_undecided(sock) {
        count(Counter::TableFullOutbound, 1);
    }
}

/// A process accepted.
#[inline(always)]
pub fn accepted(sock: Sock) {
    if filter::would_trace(sock, true) {
        count(Counter::UntrackedAccepts, 1);
    }
}

/// TCP is over. Where calls do not tell what they move, the kernel's counters do now.
#[inline(never)]
pub fn closed(sock: Sock, old_state: u8) {
    if old_state == SYN_SENT {
        return attempted(sock);
    }
    let inbound = sock.is_passive();
    if emit::wants(feature::CALLS) || old_state == SYN_RECV || !filter::would_trace(sock, false) {
        return;
    }
    let mut tcp = TcpCounters::default();
    sock.read_counters(&mut tcp);
    let fin_received = sock.fin_received();
    count(Counter::UntrackedTx, tcp.queued(!inbound, old_state));
    count(Counter::UntrackedRx, tcp.copied(fin_received));
    let unread = tcp.unread(fin_received);
    let aborted_here = sock.error() == 0 && matches!(old_state, ESTABLISHED | CLOSE_WAIT);
    // A process may still accept it, and read.
    if unread == 0 || aborted_here {
        return;
    }
    let position = Position {
        copied_seq: tcp.copied_seq,
        received: tcp.bytes_received as u32,
    };
    if LATE_READS
        .insert(sock.key(), &position, u64::from(BPF_ANY))
        .is_err()
    {
        // Too much rather than too little.
        count(Counter::UntrackedRx, unread);
    }
}

/// The socket is gone: counts what was read after `->CLOSE`.
#[inline(always)]
pub fn released(sock: Sock) {
    let Some(position) = LATE_READS.get_ptr(sock.key()) else {
        return;
    };
    // SAFETY: the value lives until this socket's release, which is here.
    let Position {
        copied_seq,
        received,
    } = unsafe { *position };
    if LATE_READS.remove(sock.key()).is_err() || sock.bytes_received() as u32 != received {
        return;
    }
    let end = sock.copied_seq();
    let end_read = sock.fin_received() && end == sock.rcv_nxt();
    let copied = end
        .wrapping_sub(copied_seq)
        .saturating_sub(u32::from(end_read));
    count(Counter::UntrackedRx, u64::from(copied));
}
