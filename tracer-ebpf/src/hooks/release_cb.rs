//! `void tcp_release_cb(struct sock *sk)`: a task gives the socket's lock back. Every call that moves
//! bytes does so under that lock: send and receive in all their forms, sendfile and splice both ways,
//! zero-copy receive, `io_uring`; also calls that were blocked before we attached. It runs at their
//! end, so no return probe is needed.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{kernel::Sock, traffic};

#[fentry(function = "tcp_release_cb")]
fn release_cb_fentry(ctx: FEntryContext) -> i32 {
    traffic::settle(Sock::new(ctx.arg(0)));
    0
}

#[kprobe]
fn release_cb_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        traffic::settle(Sock::new(sk));
    }
    0
}
