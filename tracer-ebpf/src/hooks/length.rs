//! `trace_sock_send_length(struct sock *sk, int ret, int flags)` and `trace_sock_recv_length`
//! (6.3+): the results of every send and receive call, in the caller's context. They also fire
//! for UDP and Unix sockets, which have no table entry.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::classic::{LENGTH_FLAGS, LENGTH_RESULT, LENGTH_SOCK};

use super::classic;
use crate::{
    filter::has_other_ports,
    kernel::{Sock, Socket, TypedSock},
    traffic,
};

/// Reads that leave the data where it is, or return our own packets.
const NOT_DATA: i32 = MSG_PEEK | MSG_ERRQUEUE;
const MSG_PEEK: i32 = 2;
const MSG_ERRQUEUE: i32 = 0x2000;

#[btf_tracepoint(function = "sock_send_length")]
fn send_length(ctx: BtfTracePointContext) -> i32 {
    let sock = TypedSock::new(ctx.arg(0));
    if !has_other_ports(sock.local_port(), || sock.remote_port()) {
        sent(sock.plain(), ctx.arg(1), || sock.is_mptcp());
    }
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
fn recv_length(ctx: BtfTracePointContext) -> i32 {
    let sock = TypedSock::new(ctx.arg(0));
    if !has_other_ports(sock.local_port(), || sock.remote_port()) {
        received(sock.plain(), ctx.arg(1), ctx.arg(2), || sock.is_mptcp());
    }
    0
}

/// Instead of `send_length` where the kernel preempts programs (see `set_state_classic`).
#[tracepoint]
fn send_length_classic(ctx: TracePointContext) -> u32 {
    let sock = Sock::new(classic::read(&ctx, LENGTH_SOCK));
    sent(sock, classic::read(&ctx, LENGTH_RESULT), || sock.is_mptcp());
    0
}

/// Instead of `recv_length`.
#[tracepoint]
fn recv_length_classic(ctx: TracePointContext) -> u32 {
    let sock = Sock::new(classic::read(&ctx, LENGTH_SOCK));
    let flags = classic::read(&ctx, LENGTH_FLAGS);
    let result = classic::read(&ctx, LENGTH_RESULT);
    received(sock, result, flags, || sock.is_mptcp());
    0
}

/// Whether it is of MPTCP is asked of unknown sockets only.
#[inline(always)]
pub(super) fn sent(sock: impl Socket, result: i32, is_mptcp: impl FnOnce() -> bool) {
    if result > 0 {
        traffic::moved(sock, true, result as u64, is_mptcp);
    }
}

/// Likewise.
#[inline(always)]
pub(super) fn received(
    sock: impl Socket,
    result: i32,
    flags: i32,
    is_mptcp: impl FnOnce() -> bool,
) {
    if result > 0 && flags & NOT_DATA == 0 {
        traffic::moved(sock, false, result as u64, is_mptcp);
    }
}
