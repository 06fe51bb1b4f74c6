//! Released connections as sums: all of them when only tables are wanted. Those that found the ring
//! full are kept in the pending map until the reader comes, and are sums if that is full too.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    maps::HashMap,
};
use tracer_common::{
    connection::{Connection, ConnectionKey, flags},
    counters::Counter,
    folded::{FoldedKey, FoldedTotals},
};

use crate::{
    kernel::Socket,
    maps::{FOLDED, NO_FOLD, PENDING, TALLY, add, count},
};

/// The ring is full: the pending map holds the connection until the reader comes.
#[inline(always)]
pub fn keep_for_later(sock: impl Socket, connection: &mut Connection) {
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

/// Adds a released connection to its sum, if there is room for another one.
#[inline(always)]
pub fn tally(connection: &Connection) -> bool {
    let key = FoldedKey {
        remote_ip: connection.flow.remote_ip,
        ..key(connection)
    };
    match row(&TALLY, key, connection) {
        Some(row) => {
            add_to(row, connection);
            true
        }
        None => false,
    }
}

#[inline(always)]
fn fold(connection: &Connection) {
    if let Some(row) = row(&FOLDED, key(connection), connection) {
        add_to(row, connection);
        count(Counter::Folded, 1);
    } else {
        count(Counter::FoldLost, 1);
        count(Counter::FoldLostTx, connection.tx());
        count(Counter::FoldLostRx, connection.rx());
    }
}

/// Without the peer.
#[inline(always)]
fn key(connection: &Connection) -> FoldedKey {
    let inbound = connection.is(flags::INBOUND);
    FoldedKey {
        start_ns: connection.owner.start_ns,
        remote_ip: [0; 16],
        netns: connection.netns,
        tgid: connection.owner.tgid,
        uid: connection.owner.uid,
        port: if inbound {
            connection.flow.local_port
        } else {
            connection.flow.remote_port
        },
        inbound: u16::from(inbound),
    }
}

#[inline(always)]
fn add_to(row: *mut FoldedTotals, connection: &Connection) {
    // SAFETY: `row` points at a live value of one of the maps.
    unsafe {
        add(
            if connection.is(flags::FAILED) {
                &raw mut (*row).failures
            } else if connection.is(flags::PRE_EXISTING) {
                &raw mut (*row).pre_existing
            } else {
                &raw mut (*row).connections
            },
            1,
        );
        add(&raw mut (*row).tx, connection.tx());
        add(&raw mut (*row).rx, connection.rx());
        add(&raw mut (*row).owner_tx, connection.owner_tx);
        add(&raw mut (*row).owner_rx, connection.owner_rx);
        if connection.is_unopened() {
            add(&raw mut (*row).unopened, 1);
        }
        if connection.failed_by_error() {
            add(&raw mut (*row).failed, 1);
        }
        if connection.was_cut_off() {
            add(&raw mut (*row).cut_off, 1);
        }
    }
}

#[inline(always)]
fn row(
    map: &HashMap<FoldedKey, FoldedTotals>,
    key: FoldedKey,
    connection: &Connection,
) -> Option<*mut FoldedTotals> {
    if let Some(row) = map.get_ptr_mut(key) {
        return Some(row);
    }
    // It can fail because another CPU was faster: then its row is there.
    let _ = map.insert(key, &NO_FOLD, u64::from(BPF_NOEXIST));
    let row = map.get_ptr_mut(key)?;
    // SAFETY: `row` points at a live value of the map; all writers write the same name.
    unsafe { (*row).name = connection.owner.name };
    Some(row)
}
