//! `trace_tcp_destroy_sock(struct sock *sk)`: any context; after `SO_LINGER` 0 the kernel's
//! counters are zero here.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::classic::DESTROY_SOCK;

use super::classic;
use crate::{
    kernel::{Sock, TcpSock},
    lifecycle,
};

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn destroy_sock(ctx: BtfTracePointContext) -> i32 {
    released(&ctx);
    0
}

/// Runs where a softirq interrupted `destroy_sock` (see `set_state_again`).
#[btf_tracepoint(function = "tcp_destroy_sock")]
fn destroy_sock_again(ctx: BtfTracePointContext) -> i32 {
    released(&ctx);
    0
}

#[inline(always)]
fn released(ctx: &BtfTracePointContext) {
    if let Some(sock) = TcpSock::of(ctx.arg(0)) {
        lifecycle::released(sock);
    }
}

/// Helps it where the kernel preempts programs (see `set_state_classic`).
#[tracepoint]
fn destroy_sock_classic(ctx: TracePointContext) -> u32 {
    lifecycle::released(Sock::new(classic::read(&ctx, DESTROY_SOCK)));
    0
}
