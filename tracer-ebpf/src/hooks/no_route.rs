//! `int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`, `tcp_v6_connect`,
//! which calls it for IPv4, and the system call: the connecting process, before the kernel looks for
//! a route, and with the result.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext, TracePointContext},
};

use super::classic;
use crate::{
    kernel::{Destination, Sock, Socket as _, TaskStruct},
    no_route,
};

/// Where `fexit` finds the result: behind the arguments.
const RESULT: usize = 3;

/// Offsets of the first two arguments in the records of `sys_enter_*`, stable ABI.
const FD: usize = 16;
const ADDRESS: usize = 24;

macro_rules! fentry_and_fexit {
    ($function:literal, $entry:ident, $exit:ident) => {
        #[fentry(function = $function)]
        fn $entry(ctx: FEntryContext) -> i32 {
            no_route::calls(Sock::new(ctx.arg(0)), ctx.arg(1));
            0
        }

        #[fexit(function = $function)]
        fn $exit(ctx: FExitContext) -> i32 {
            no_route::returned(ctx.arg(RESULT), Destination::of_kernel);
            0
        }
    };
}

fentry_and_fexit!("tcp_v4_connect", route_v4_fentry, route_v4_fexit);
fentry_and_fexit!("tcp_v6_connect", route_v6_fentry, route_v6_fexit);

#[kprobe]
fn route_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(address)) = (ctx.arg(0), ctx.arg(1)) {
        no_route::calls(Sock::new(sk), address);
    }
    0
}

#[kretprobe]
fn route_kretprobe(ctx: RetProbeContext) -> u32 {
    no_route::returned(ctx.ret(), Destination::of_kernel);
    0
}

/// Not for `io_uring`, which makes no system call of its own.
#[tracepoint]
fn connect_enter(ctx: TracePointContext) -> u32 {
    // SAFETY: both lie inside the record of every `sys_enter_*` event.
    let (fd, address): (u64, *const u8) = unsafe {
        match (ctx.read_at(FD), ctx.read_at(ADDRESS)) {
            (Ok(fd), Ok(address)) => (fd, address),
            _ => return 0,
        }
    };
    if let Some(sock) = TaskStruct::current().socket(fd as u32)
        && sock.is_tcp()
        // A call that only fetches the error of an attempt that is over is none.
        && !sock.is_connecting()
    {
        no_route::calls(sock, address);
    }
    0
}

#[tracepoint]
fn connect_exit(ctx: TracePointContext) -> u32 {
    if let Some(result) = classic::result(&ctx) {
        no_route::returned(result as i32, Destination::of_caller);
    }
    0
}
