//! The ring buffer. A record below the wake-up threshold wakes nobody: the reader's timer is
//! cheaper than a wake-up a record.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    maps::ring_buf::RingBufEntry,
};
use tracer_common::{
    config::Config,
    connection::{Connection, NAME_LEN},
    counters::Counter,
    event::{Io, News, Touched, kind},
    process::{MAX_COMMAND, SHORT_COMMAND, SHORT_TEXT, WithText},
};

use crate::{
    kernel::{Command, TaskStruct},
    maps::{CONFIG, EVENTS, count},
    task,
};

/// Whether [`Config::features`] has any of `feature`.
#[inline(always)]
pub fn wants(feature: u32) -> bool {
    CONFIG.load().features & feature != 0
}

/// Sends the connection's state; `false` when the ring is full, which is counted.
#[inline(always)]
pub fn news(sk: u64, connection: &Connection) -> bool {
    let Some(mut entry) = EVENTS.reserve::<News>(0) else {
        count(Counter::RingFull, 1);
        return false;
    };
    let news = entry.as_mut_ptr();
    // SAFETY: `news` is the reserved record; all its fields are written. A struct literal would be
    // built on the stack first, which is too small for it.
    unsafe {
        (*news).kind = kind::NEWS;
        (*news).reserved = 0;
        (*news).sk = sk;
        copy(connection, &raw mut (*news).connection);
    }
    submit(entry);
    true
}

/// Says that a connection moved bytes; `false` when the ring is full: the next call tries again.
#[inline(always)]
pub fn touched(sk: u64) -> bool {
    let Some(mut entry) = EVENTS.reserve::<Touched>(0) else {
        return false;
    };
    entry.write(Touched {
        kind: kind::TOUCHED,
        reserved: 0,
        sk,
    });
    submit(entry);
    true
}

/// Sends one call.
#[inline(always)]
pub fn io(sk: u64, connection: &Connection, send: bool, bytes: u64, time_ns: u64) {
    let Some(mut entry) = EVENTS.reserve::<Io>(0) else {
        count(Counter::IoRingFull, 1);
        return;
    };
    let io = entry.as_mut_ptr();
    // SAFETY: as in `news`.
    unsafe {
        (*io).kind = kind::IO;
        (*io).send = u32::from(send);
        (*io).sk = sk;
        copy(connection, &raw mut (*io).connection);
        (*io).time_ns = time_ns;
        (*io).bytes = bytes;
        (*io).start_ns = 0;
        (*io).uid = task::current_uid();
        (*io).reserved = 0;
        (*io).tgid = task::current_tgid();
        (*io).tid = task::current_tid();
        (*io).name = [0; NAME_LEN];
        TaskStruct::current().read_leader(&mut (*io).name, &mut (*io).start_ns);
    }
    submit(entry);
}

/// Says who a process is, one of whose tasks runs; `false` when the ring is full. `LAST` is as in
/// [`WithText`].
#[inline(always)]
pub fn process<const LAST: usize>(running: TaskStruct, command: Command, start_ns: u64) -> bool {
    let Some(mut entry) = EVENTS.reserve::<WithText<LAST>>(0) else {
        return false;
    };
    let most = if LAST == SHORT_TEXT as usize {
        SHORT_COMMAND
    } else {
        MAX_COMMAND
    };
    let record = entry.as_mut_ptr();
    // SAFETY: `record` is the reserved one; all fields of its head are written, and of its text what
    // the head says.
    unsafe {
        let told = &raw mut (*record).told;
        let text = (&raw mut (*record).text).cast::<u8>();
        (*told).kind = kind::PROCESS;
        (*told).tgid = task::current_tgid();
        (*told).start_ns = start_ns;
        (*told).parent_name = [0; NAME_LEN];
        (*told).parent = running.read_parent(&mut (*told).parent_name);
        ((*told).ns_level, (*told).ns_pid) = running.namespaced().unwrap_or_default();
        (*told).command_size = command.size();
        command.read(text, &raw mut (*told).command_len, most);
        running.read_program::<LAST>(
            text,
            &raw const (*told).command_len,
            &raw mut (*told).path_len,
        );
    }
    submit(entry);
    true
}

/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn copy(from: &Connection, to: *mut Connection) {
    // SAFETY: a table entry and a ring record never overlap.
    unsafe { core::ptr::copy_nonoverlapping(from, to, 1) }
}

#[inline(always)]
fn submit<T>(entry: RingBufEntry<T>) {
    let Config { wake_bytes, .. } = CONFIG.load();
    let unread = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let before = unread.saturating_sub(size_of::<T>() as u64);
    // `wake_bytes` is a power of two: the reader is woken once for each multiple that is passed.
    let wake = if (unread ^ before) >= u64::from(wake_bytes) {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    entry.submit(u64::from(wake));
}
