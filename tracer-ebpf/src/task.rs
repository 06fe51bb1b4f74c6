//! Who is running. Valid in process context only; the hooks say where that is.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use tracer_common::connection::Task;

use crate::kernel::CurrentTask;

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

/// Writes the running task to where it is kept.
#[inline(always)]
pub fn write_current(task: &mut Task) {
    task.tid = current_tid();
    task.uid = current_uid();
    task.thread = bpf_get_current_comm().unwrap_or_default();
    CurrentTask::get().read_leader(&mut task.name, &mut task.start_ns);
    // Last: a task with an id is complete.
    task.tgid = current_tgid();
}
