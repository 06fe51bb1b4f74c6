//! Who a process is, told once: before the first news of a connection of its own, and again after it
//! executed another program. A connection costs a look-up.

use aya_ebpf::bindings::BPF_ANY;
use tracer_common::{
    connection::{Connection, flags},
    process::{LONG_TEXT, SHORT_COMMAND, SHORT_TEXT},
};

use crate::{bits::set, emit, kernel::TaskStruct, maps::TOLD, task};

/// A process from one `execve` to the next.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Run {
    start_ns: u64,
    tgid: u32,
    exec_id: u32,
}

/// Tells who the connection's owner is, if that is running and was not told. It may not be: news come
/// from any context.
#[inline(never)]
pub fn tell_owner(connection: &mut Connection) {
    let tgid = task::current_tgid();
    if connection.owner.tgid != tgid {
        return;
    }
    let running = TaskStruct::current();
    let run = Run {
        start_ns: connection.owner.start_ns,
        tgid,
        exec_id: running.exec_id(),
    };
    if TOLD.get_ptr(&run).is_none() {
        let command = running.command();
        let told = if command.size() < SHORT_COMMAND {
            emit::process::<{ SHORT_TEXT as usize }>(running, command, run.start_ns)
        } else {
            emit::process::<{ LONG_TEXT as usize }>(running, command, run.start_ns)
        };
        if !told {
            // The next connection tries again.
            return;
        }
        // After the record: whoever finds this sends news that are behind it in the ring.
        let _ = TOLD.insert(&run, &1, u64::from(BPF_ANY));
    }
    set::<{ flags::OWNER_TOLD }>(connection);
}
