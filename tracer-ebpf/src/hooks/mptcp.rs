//! `int mptcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)` and
//! `int mptcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, …)`: the results of
//! calls on MPTCP sockets, in the caller's context.

use aya_ebpf::{macros::fexit, programs::FExitContext};

use super::length::{received, sent};
use crate::kernel::Sock;

const FLAGS: usize = 3;

#[fexit(function = "mptcp_sendmsg")]
fn mptcp_send_fexit(ctx: FExitContext) -> i32 {
    let result = ctx.ret().unwrap_or_default();
    sent(Sock::new(ctx.arg(0)), result, || true);
    0
}

/// The number of arguments differs between kernels, so the result has no fixed place.
#[fexit(function = "mptcp_recvmsg")]
fn mptcp_recv_fexit(ctx: FExitContext) -> i32 {
    let result = ctx.ret().unwrap_or_default();
    received(Sock::new(ctx.arg(0)), result, ctx.arg(FLAGS), || true);
    0
}
