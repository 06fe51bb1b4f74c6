//! `trace_tcp_destroy_sock(struct sock *sk)`: any context; after `SO_LINGER` 0 the kernel's
//! counters are zero here.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{kernel::Sock, lifecycle};

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn destroy_sock(ctx: BtfTracePointContext) -> i32 {
    lifecycle::released(Sock::new(ctx.arg(0)));
    0
}

/// Runs where a softirq interrupted `destroy_sock` (see `set_state_again`).
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn destroy_sock_again(ctx: BtfTracePointContext) -> i32 {
    lifecycle::released(Sock::new(ctx.arg(0)));
    0
}
