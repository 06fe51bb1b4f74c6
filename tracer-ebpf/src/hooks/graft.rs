//! `void security_sock_graft(struct sock *sk, struct socket *parent)`: the accepting process, once a
//! connection is taken from the queue. It runs after the wake-up, so processes that were blocked in
//! accept before we attached are seen, and never for an accept that fails. `io_uring` comes here
//! too.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{kernel::Sock, lifecycle, untracked::Reporter};

#[fentry(function = "security_sock_graft")]
fn graft_fentry(ctx: FEntryContext) -> i32 {
    grafted(Sock::new(ctx.arg(0)));
    0
}

#[kprobe]
fn graft_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        grafted(Sock::new(sk));
    }
    0
}

/// Every family comes here.
#[inline(always)]
fn grafted(sock: Sock) {
    if let Some(sock) = sock.of_tcp() {
        lifecycle::accepted(sock, Reporter::Last);
    }
}
