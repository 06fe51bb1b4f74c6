//! `void release_sock(struct sock *sk)`: a task gives the socket's lock back. Every call that moves
//! bytes does so under that lock: send and receive in all their forms, sendfile and splice both ways,
//! zero-copy receive, `io_uring`; also calls that were blocked before we attached. It runs at their
//! end, so no return probe is needed. Sockets of every family come here.
//!
//! (`tcp_release_cb`, which it calls, would be for TCP only; from 7.0 on it is mostly skipped.)

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{kernel::Sock, traffic};

#[fentry(function = "release_sock")]
fn release_sock_fentry(ctx: FEntryContext) -> i32 {
    traffic::settle(Sock::new(ctx.arg(0)));
    0
}

#[kprobe]
fn release_sock_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        traffic::settle(Sock::new(sk));
    }
    0
}
