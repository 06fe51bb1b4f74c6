//! Who is running. Valid in process context only; the hooks say where that is.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use tracer_common::{
    config::feature,
    connection::{Closer, Task},
};

use crate::{emit, kernel::TaskStruct};

/// Whether the kernel itself is running, for a process that is not known here.
#[inline(always)]
pub fn is_kernel_thread() -> bool {
    TaskStruct::current().is_kernel_thread()
}

/// The running process's id.
#[inline(always)]
pub fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The running thread's id.
#[inline(always)]
pub fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The running process's effective uid.
#[inline(always)]
pub fn current_uid() -> u32 {
    bpf_get_current_uid_gid() as u32
}

/// Writes a task that is not running to where it is kept.
#[inline(always)]
pub fn write(from: TaskStruct, task: &mut Task) {
    task.tid = from.tid();
    task.uid = from.uid();
    from.read_comm(&mut task.thread);
    from.read_leader(&mut task.name, &mut task.start_ns);
    task.tgid = from.tgid();
}

/// Writes the running task to where the one that ended a connection is kept.
#[inline(always)]
pub fn write_closer(closer: &mut Closer) {
    TaskStruct::current().read_leader_name(&mut closer.name);
    closer.tgid = current_tgid();
}

/// Writes the running task to where it is kept.
#[inline(always)]
pub fn write_current(task: &mut Task) {
    task.tid = current_tid();
    task.uid = current_uid();
    // Only the records of stages tell it.
    if emit::wants(feature::STAGES) {
        task.thread = bpf_get_current_comm().unwrap_or_default();
    }
    TaskStruct::current().read_leader(&mut task.name, &mut task.start_ns);
    // Last: a task with an id is complete.
    task.tgid = current_tgid();
}
