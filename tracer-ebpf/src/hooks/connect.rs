//! `int tcp_connect(struct sock *sk)`: the connecting process, after the kernel chose the local port
//! and the first sequence number.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};

use crate::{kernel::Sock, lifecycle};

#[fentry(function = "tcp_connect")]
fn connect_fentry(ctx: FEntryContext) -> i32 {
    lifecycle::bound(Sock::new(ctx.arg(0)));
    0
}

#[kprobe]
fn connect_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        lifecycle::bound(Sock::new(sk));
    }
    0
}
