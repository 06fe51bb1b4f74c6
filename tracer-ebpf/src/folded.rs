//! Released connections that found the ring full: kept in the pending map until the reader comes,
//! and if that is full too, in sums.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use tracer_common::{
    connection::{Connection, ConnectionKey, flags},
    counters::Counter,
    folded::{FoldedKey, FoldedTotals},
};

use crate::{
    kernel::Sock,
    maps::{FOLDED, NO_FOLD, PENDING, add, count},
};

/// The ring is full: the pending map holds the connection until the reader comes.
#[inline(always)]
pub fn keep_for_later(sock: Sock, connection: &mut Connection) {
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
    let pre_existing = connection.is(flags::PRE_EXISTING);
    // SAFETY: `row` points at a live value of `FOLDED`.
    unsafe {
        add(
            if failed {
                &raw mut (*row).failures
            } else if pre_existing {
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
