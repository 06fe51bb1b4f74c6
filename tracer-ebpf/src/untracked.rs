//! What connections did that found no room in the table: it is missing in the totals, so it is
//! counted.
//!
//! Each leaves a small mark, so that of several programs that report the same event (see
//! `hooks/set_state.rs`) one counts it, whichever runs. Where there is no mark, the last one does:
//! for older sockets that are not known yet, and when there is no room for marks either.

use aya_ebpf::bindings::BPF_NOEXIST;
use tracer_common::{
    config::feature,
    connection::TcpCounters,
    counters::Counter,
    tcp_state::{SYN_RECV, SYN_SENT},
};

use crate::{
    emit, filter,
    kernel::Socket,
    lifecycle::is_abort,
    maps::{ANY_UNTRACKED, UNTRACKED, count, gate_is_closed},
};

/// A program's place among those that report the same event, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reporter {
    First,
    Last,
}

/// What is known of such a connection, and what is counted already.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Untracked {
    /// Bits of [`done`].
    done: u32,
    /// Where the application was, at `->CLOSE`, in what the socket had received.
    copied_seq: u32,
    /// Lowest bits of `bytes_received` then: a disconnect zeroes it.
    received: u32,
    reserved: u32,
    /// What an older connection carried before the tracer's start.
    before_tx: u64,
    before_rx: u64,
}

mod done {
    pub const ACCEPTED: u32 = 1 << 0;
    pub const CLOSED: u32 = 1 << 1;
    /// There was something left to read.
    pub const UNREAD: u32 = 1 << 2;
}

/// Only the connection itself is counted.
static NEW: Untracked = Untracked {
    done: 0,
    copied_seq: 0,
    received: 0,
    reserved: 0,
    before_tx: 0,
    before_rx: 0,
};

/// Whether any connection found no room so far. If not, one without an entry is none of ours: the
/// filter rejected it. Where the kernel preempts programs, all that report a birth can be skipped.
#[inline(always)]
pub fn are_there() -> bool {
    emit::wants(feature::PREEMPTIBLE) || ANY_UNTRACKED.get() != 0
}

/// From now on there are.
#[inline(always)]
pub fn note() {
    ANY_UNTRACKED.set(1);
}

#[inline(always)]
fn mark(sock: impl Socket) -> Option<&'static mut Untracked> {
    let mark = UNTRACKED.get_ptr_mut(sock.key())?;
    // SAFETY: the value lives until the socket's release; programs for one socket run one after
    // the other, under its lock.
    Some(unsafe { &mut *mark })
}

/// Whether there was no room for this connection when another program asked; it stays untracked
/// then, because it is counted so.
#[inline(always)]
pub fn is_marked(sock: impl Socket) -> bool {
    if !are_there() {
        return false;
    }
    match mark(sock) {
        // The socket was disconnected, and connects again.
        Some(old) if old.done & done::CLOSED != 0 => {
            let _ = UNTRACKED.remove(sock.key());
            false
        }
        mark => mark.is_some(),
    }
}

/// The table has no room for a connection.
#[inline(never)]
pub fn no_room(sock: impl Socket, counter: Counter, reporter: Reporter) {
    let is_marked = UNTRACKED
        .insert(sock.key(), &NEW, u64::from(BPF_NOEXIST))
        .is_ok();
    if is_marked || reporter == Reporter::Last {
        count(counter, 1);
    }
}

/// So much of it was before the tracer's start.
#[inline(always)]
pub fn carried_before(sock: impl Socket, tx: u64, rx: u64) {
    if let Some(mark) = mark(sock) {
        (mark.before_tx, mark.before_rx) = (tx, rx);
    }
}

/// A send or receive call moved `bytes`, and [`are_there`].
#[inline(never)]
pub fn moved(sock: impl Socket, send: bool, bytes: u64) {
    // Sockets of every family come here.
    if !gate_is_closed() && sock.is_tcp() && sock.is_stream() && filter::would_trace(sock, false) {
        let counter = if send {
            Counter::UntrackedTx
        } else {
            Counter::UntrackedRx
        };
        count(counter, bytes);
    }
}

/// An outbound attempt has its port now: counts it if it should have an entry and the filter could
/// not tell when it was made.
#[inline(always)]
pub fn attempted(sock: impl Socket, reporter: Reporter) {
    if are_there() && reporter == Reporter::Last && filter::was_undecided(sock) {
        count(Counter::TableFullOutbound, 1);
    }
}

/// A process accepted.
#[inline(never)]
pub fn accepted(sock: impl Socket, reporter: Reporter) {
    if !are_there() {
        return;
    }
    let counts = match mark(sock) {
        Some(mark) => {
            let is_new = mark.done & done::ACCEPTED == 0;
            mark.done |= done::ACCEPTED;
            is_new
        }
        None => reporter == Reporter::Last && filter::would_trace(sock, true),
    };
    if counts {
        count(Counter::UntrackedAccepts, 1);
    }
}

/// TCP is over. Where calls do not tell what they move, the kernel's counters do now.
#[inline(never)]
pub fn closed(sock: impl Socket, old_state: u8, reporter: Reporter) {
    if !are_there() {
        return;
    }
    let mut mark = mark(sock);
    match &mut mark {
        Some(mark) if mark.done & done::CLOSED != 0 => return,
        Some(mark) => mark.done |= done::CLOSED,
        None if old_state == SYN_SENT => return attempted(sock, reporter),
        None if reporter != Reporter::Last || !filter::would_trace(sock, false) => return,
        None => {}
    }
    if emit::wants(feature::CALLS) || matches!(old_state, SYN_SENT | SYN_RECV) {
        return;
    }
    let (before_tx, before_rx) = mark
        .as_ref()
        .map_or((0, 0), |mark| (mark.before_tx, mark.before_rx));
    let mut tcp = TcpCounters::default();
    sock.read_counters(&mut tcp);
    let fin_received = sock.fin_received();
    let (sent, copied) = (
        tcp.queued(!sock.is_passive(), old_state),
        tcp.copied(fin_received),
    );
    count(Counter::UntrackedTx, sent.saturating_sub(before_tx));
    count(Counter::UntrackedRx, copied.saturating_sub(before_rx));
    let unread = tcp.unread(fin_received);
    if is_abort(sock.error(), old_state) || unread == 0 {
        return;
    }
    // A process can still read it, and even accept the connection first.
    match mark {
        Some(mark) => {
            mark.done |= done::UNREAD;
            mark.copied_seq = tcp.copied_seq;
            mark.received = tcp.bytes_received as u32;
        }
        // Too much rather than too little.
        None => count(Counter::UntrackedRx, unread),
    }
}

/// The socket is gone: counts what was read after `->CLOSE`.
#[inline(never)]
pub fn released(sock: impl Socket) {
    if !are_there() {
        return;
    }
    let Some(&mut Untracked {
        done,
        copied_seq,
        received,
        ..
    }) = mark(sock)
    else {
        return;
    };
    let is_first = UNTRACKED.remove(sock.key()).is_ok();
    if !is_first || done & done::UNREAD == 0 || sock.bytes_received() as u32 != received {
        return;
    }
    let end = sock.copied_seq();
    let end_read = sock.fin_received() && end == sock.rcv_nxt();
    let copied = end
        .wrapping_sub(copied_seq)
        .saturating_sub(u32::from(end_read));
    count(Counter::UntrackedRx, u64::from(copied));
}
