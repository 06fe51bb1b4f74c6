//! Bytes moved by processes other than the owner.

use aya_ebpf::bindings::BPF_NOEXIST;
use tracer_common::{
    connection::Connection,
    counters::Counter,
    users::{UserKey, UserTotals},
};

use crate::{
    kernel::TaskStruct,
    maps::{NO_USER, USERS, add, count},
    task,
};

/// Credits `bytes` to the running process.
#[inline(always)]
pub fn credit(sk: u64, connection: &mut Connection, tgid: u32, send: bool, bytes: u64) {
    let key = UserKey {
        sk,
        birth_ns: connection.birth_ns,
        tgid,
        reserved: 0,
    };
    let user = match USERS.get_ptr_mut(key) {
        Some(user) => user,
        None => match join(key, connection) {
            Some(user) => user,
            None => return count(Counter::UsersFull, 1),
        },
    };
    // SAFETY: `user` points at a live value of `USERS`.
    let total = unsafe {
        if send {
            &raw mut (*user).tx
        } else {
            &raw mut (*user).rx
        }
    };
    add(total, bytes);
}

/// Makes the process's row and links it into the connection's chain. Of two threads that come at
/// once one inserts and links; of two processes, one link can be lost: the reader notices that the
/// chain does not add up and scans.
#[inline(always)]
fn join(key: UserKey, connection: &mut Connection) -> Option<*mut UserTotals> {
    let inserted = USERS.insert(key, &NO_USER, u64::from(BPF_NOEXIST)).is_ok();
    let user = USERS.get_ptr_mut(key)?;
    if inserted {
        // SAFETY: `user` points at a live value, and only the inserter writes these fields.
        let row = unsafe { &mut *user };
        row.uid = task::current_uid();
        TaskStruct::current().read_leader(&mut row.name, &mut row.start_ns);
        row.next = connection.last_user;
        connection.last_user = key.tgid;
    }
    Some(user)
}
