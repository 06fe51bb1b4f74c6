//! The connection table: how an entry is found, made, told and forgotten.
//!
//! The table entry is the truth. Each stage is written to it first and sent second, so news that
//! find the ring full are contained in the next ones.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{bpf_get_current_cgroup_id, bpf_ktime_get_ns},
};
use aya_log_ebpf::debug;
use tracer_common::{
    config::feature,
    connection::{Connection, flags},
    counters::Counter,
    filter::Verdict,
};

use crate::{
    bits::{begin, clear, set},
    emit, filter, follow,
    kernel::{Socket, TaskStruct},
    maps::{CONNECTIONS, NO_CONNECTION},
    process, task,
    untracked::{self, Reporter},
    wire,
};

#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// When a later stage of a connection is: now, unless nobody will be told. Never 0.
#[inline(always)]
pub fn stage_time(connection: &Connection) -> u64 {
    if emit::wants(feature::STAGES) || connection.birth_ns == 0 {
        now()
    } else {
        connection.birth_ns
    }
}

#[inline(always)]
pub fn find(sock: impl Socket) -> Option<&'static mut Connection> {
    let connection = CONNECTIONS.get_ptr_mut(sock.key())?;
    // SAFETY: the value lives until the socket's release, and whoever calls a handler holds the
    // socket. Fields that two CPUs may write at once are only touched by `maps::add`.
    let connection = unsafe { &mut *connection };
    (!connection.is(flags::RELEASED)).then_some(connection)
}

/// Inserts an entry and fills in what every connection has; nothing for one the filter rejects.
/// `birth_ns` stays 0, "not complete", until the caller is done.
#[inline(always)]
pub fn create(
    sock: impl Socket,
    flags: u32,
    table_full: Counter,
    reporter: Reporter,
) -> Option<&'static mut Connection> {
    let verdict = filter::judge_birth(sock, flags);
    if verdict == Verdict::Drop {
        return None;
    }
    // Of an undecided attempt nobody can say yet whether it is missing.
    let missing = (verdict == Verdict::Keep).then_some((table_full, reporter));
    let connection = insert(sock, missing)?;
    fill(sock, connection, flags);
    if verdict == Verdict::Undecided {
        set::<{ flags::UNDECIDED }>(connection);
    }
    Some(connection)
}

/// Fills in what every connection has.
#[inline(always)]
pub fn fill(sock: impl Socket, connection: &mut Connection, flags: u32) {
    sock.read_flow(&mut connection.flow);
    connection.netns = sock.netns();
    begin(connection, flags);
    wire::begun(sock, connection);
}

/// `-EEXIST`
const EXISTS: i32 = -17;
/// `-E2BIG`
const TABLE_FULL: i32 = -7;

/// Inserts an empty entry, unless there is one. Without room, now or when another program tried,
/// counts it as `missing` says.
#[inline(always)]
pub fn insert(
    sock: impl Socket,
    missing: Option<(Counter, Reporter)>,
) -> Option<&'static mut Connection> {
    if untracked::is_marked(sock) {
        return None;
    }
    // Another CPU can make the entry at any moment; only one that is left from the socket before
    // (see `forget`) may be overwritten.
    let mut inserted = CONNECTIONS.insert(sock.key(), &NO_CONNECTION, u64::from(BPF_NOEXIST));
    if inserted == Err(EXISTS) {
        if find(sock).is_some() {
            return None;
        }
        inserted = CONNECTIONS.insert(sock.key(), &NO_CONNECTION, u64::from(BPF_ANY));
    }
    if let Err(error) = inserted {
        untracked::note();
        // When this CPU was interrupted in the same hash bucket (EBUSY) the next program may try.
        if find(sock).is_none()
            && let Some((counter, reporter)) = missing
            && (error == TABLE_FULL || reporter == Reporter::Last)
        {
            untracked::no_room(sock, counter, reporter);
            debug!((), "table full: a connection is not traced");
        }
        return None;
    }
    find(sock)
}

#[inline(always)]
pub fn forget(sock: impl Socket, connection: &mut Connection) {
    set::<{ flags::RELEASED }>(connection);
    // It can fail (EBUSY) when this CPU was interrupted in the same hash bucket: the entry stays
    // then, and whoever finds it sees that it is nobody's.
    let _ = CONNECTIONS.remove(sock.key());
}

/// What is running when news are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// The owner, whoever else might be.
    Owner,
    /// Anybody. Each place where a process can be told is more work for the kernel's verifier.
    Any,
}

/// Sends news once the filter is decided; `false` if it rejects the connection, which is forgotten.
///
/// Not inlined: it is long, and nearly every handler ends here.
#[inline(never)]
pub fn tell(sock: impl Socket, connection: &mut Connection, context: Context) -> bool {
    if connection.is(flags::UNDECIDED) {
        match filter::judge(sock, connection) {
            Verdict::Keep => clear::<{ flags::UNDECIDED }>(connection),
            Verdict::Undecided => return true,
            Verdict::Drop => {
                forget(sock, connection);
                return false;
            }
        }
    }
    if context == Context::Owner
        && emit::wants(feature::PROCESSES)
        && !connection.is(flags::OWNER_TOLD)
    {
        process::tell_owner(connection);
    }
    if emit::wants(feature::STAGES) {
        emit::news(sock.key(), connection);
    }
    true
}

#[inline(always)]
pub fn take_owner(connection: &mut Connection) {
    if emit::wants(feature::STAGES) {
        // SAFETY: no arguments.
        connection.cgroup = unsafe { bpf_get_current_cgroup_id() };
    }
    if follow::is_on() && follow::is_running() {
        set::<{ flags::FOLLOWED }>(connection);
    }
    filter::note_cgroup(connection, TaskStruct::current);
    task::write_current(&mut connection.owner);
}
