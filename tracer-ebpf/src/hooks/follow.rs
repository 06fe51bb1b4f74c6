//! `trace_sched_process_fork(struct task_struct *parent, struct task_struct *child)`: the parent, before
//! the child runs for the first time. `trace_sched_process_free(struct task_struct *p)`: softirq, when
//! the task is gone. (At `sched_process_exit` its files are still open: a process accepts and closes
//! after that.)

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{follow, kernel::TaskStruct, untracked::Reporter};

#[btf_tracepoint(function = "sched_process_fork")]
fn process_fork(ctx: BtfTracePointContext) -> i32 {
    forked(&ctx, Reporter::Last);
    0
}

/// Runs where `process_fork` is skipped, on kernels that preempt it. Nothing else can interrupt that:
/// only tasks fork.
#[btf_tracepoint(function = "sched_process_fork")]
fn process_fork_again(ctx: BtfTracePointContext) -> i32 {
    forked(&ctx, Reporter::First);
    0
}

#[inline(always)]
fn forked(ctx: &BtfTracePointContext, reporter: Reporter) {
    let (parent, child) = (TaskStruct::new(ctx.arg(0)), TaskStruct::new(ctx.arg(1)));
    follow::forked(parent, child, reporter);
}

#[btf_tracepoint(function = "sched_process_free")]
fn process_free(ctx: BtfTracePointContext) -> i32 {
    follow::freed(TaskStruct::new(ctx.arg(0)));
    0
}
