//! `syscalls:sys_exit_accept` and `sys_exit_accept4`: the accepting process, on kernels where
//! nothing better can be attached. The tracepoint carries the new descriptor; its socket is found
//! through the descriptor table of the caller, so a wrong descriptor cannot name a wrong process.

use aya_ebpf::{macros::tracepoint, programs::TracePointContext};

use super::classic;
use crate::{kernel::TaskStruct, lifecycle, untracked::Reporter};

#[tracepoint]
fn accept_exit(ctx: TracePointContext) -> u32 {
    report(&ctx, Reporter::Last);
    0
}

/// Helps it where the kernel preempts programs (see `set_state_classic`), which at the exit of a
/// system call it does with classic ones, too.
#[tracepoint]
fn accept_exit_again(ctx: TracePointContext) -> u32 {
    report(&ctx, Reporter::First);
    0
}

#[inline(always)]
fn report(ctx: &TracePointContext, reporter: Reporter) {
    if let Some(result) = classic::result(ctx)
        && let Ok(fd) = u32::try_from(result)
        && let Some(sock) = TaskStruct::current().socket(fd)
        && let Some(sock) = sock.of_tcp()
    {
        lifecycle::accepted(sock, reporter);
    }
}
