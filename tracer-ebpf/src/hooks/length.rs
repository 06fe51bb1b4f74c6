//! `trace_sock_send_length(struct sock *sk, int ret, int flags)` and `trace_sock_recv_length`
//! (6.3+): the results of every send and receive call, in the caller's context. They also fire
//! for UDP and Unix sockets, which have no table entry.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

use crate::{kernel::Sock, traffic};

/// Reads that leave the data where it is, or return our own packets.
const NOT_DATA: i32 = MSG_PEEK | MSG_ERRQUEUE;
const MSG_PEEK: i32 = 2;
const MSG_ERRQUEUE: i32 = 0x2000;

#[btf_tracepoint(function = "sock_send_length")]
fn send_length(ctx: BtfTracePointContext) -> i32 {
    let result: i32 = ctx.arg(1);
    if result > 0 {
        traffic::moved(Sock::new(ctx.arg(0)), true, result as u64);
    }
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
fn recv_length(ctx: BtfTracePointContext) -> i32 {
    let result: i32 = ctx.arg(1);
    let flags: i32 = ctx.arg(2);
    if result > 0 && flags & NOT_DATA == 0 {
        traffic::moved(Sock::new(ctx.arg(0)), false, result as u64);
    }
    0
}
