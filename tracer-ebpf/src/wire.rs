//! The handlers of what connections put on the wire. Without [`feature::WIRE`] they do nothing, and
//! the verifier removes them.

use tracer_common::{
    config::feature,
    connection::{Connection, flags},
    tcp_state::CLOSE,
    wire::{Wire, WireSample},
};

use crate::{
    bits::set,
    emit,
    kernel::Socket,
    lifecycle::is_abort,
    sample::{READS, is_of},
};

/// A connection has got its entry: notes what its socket counted before, and must not count.
#[inline(always)]
pub fn begun(sock: impl Socket, connection: &mut Connection) {
    const OLDER: u32 = flags::PRE_EXISTING | flags::QUEUED_BEFORE;
    if !emit::wants(feature::WIRE) {
        return;
    }
    if connection.flags & OLDER != 0 {
        sock.read_wire(&mut connection.wire);
    } else if connection.is(flags::INBOUND) {
        // As yet, nothing else was sent again.
        connection.wire = Wire::of_accepting(sock.retransmits());
    }
}

/// TCP is over, and what it counted is still there.
#[inline(always)]
pub fn ended(sock: impl Socket, connection: &mut Connection, old_state: u8) {
    if !emit::wants(feature::WIRE) {
        return;
    }
    let mut wire = Wire::EMPTY;
    sock.read_wire(&mut wire);
    connection.wire = wire.since(connection.wire);
    if is_abort(connection.error, old_state) {
        // The RST follows.
        connection.wire.segments_out += 1;
    }
    set::<{ flags::HAS_WIRE }>(connection);
}

/// An attempt failed before anything was sent.
#[inline(always)]
pub fn never_began(connection: &mut Connection) {
    if emit::wants(feature::WIRE) {
        set::<{ flags::HAS_WIRE }>(connection);
    }
}

/// What the socket that this entry of the table is for has counted so far; as [`crate::sample::of`].
#[inline(always)]
pub fn of(sock: impl Socket, connection: &Connection) -> Option<WireSample> {
    const NOT_OPEN: u32 = flags::RELEASED | flags::UNDECIDED | flags::HAS_WIRE;
    if connection.birth_ns == 0
        || connection.flags & NOT_OPEN != 0
        || sock.state() == CLOSE
        || !is_of(sock, connection)
    {
        return None;
    }
    let mut wire = Wire::EMPTY;
    sock.read_wire(&mut wire);
    for _ in 1..READS {
        let mut again = Wire::EMPTY;
        sock.read_wire(&mut again);
        if again == wire {
            return Some(WireSample {
                sk: sock.key(),
                birth_ns: connection.birth_ns,
                wire,
            });
        }
        wire = again;
    }
    None
}
