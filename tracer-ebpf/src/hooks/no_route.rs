//! `int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`, `tcp_v6_connect`,
//! which calls it for IPv4, and the system call: the connecting process, before the kernel looks for
//! a route, and with the result.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext, TracePointContext},
};

use tracer_common::tcp_state;

use super::classic;
use crate::{
    kernel::{Destination, Sock, Socket as _, TaskStruct},
    no_route,
};

/// Where `fexit` finds the result: behind the arguments.
const RESULT: usize = 3;

/// What a socket that is connected answers, and was before a reset, too.
const EISCONN: i32 = 106;

/// Offsets of the first two arguments in the records of `sys_enter_*`, stable ABI.
const FD: usize = 16;
const ADDRESS: usize = 24;

#[inline(always)]
fn calls(sock: Sock, address: *const u8) {
    if sock.state() == tcp_state::CLOSE {
        no_route::calls(sock.key(), address);
    }
}

#[inline(always)]
fn returned(result: i32) {
    let find = |socket: u64| Some(Sock::new(socket as *const u8));
    no_route::returned(result, find, Destination::of_kernel);
}

macro_rules! fentry_and_fexit {
    ($function:literal, $entry:ident, $exit:ident) => {
        #[fentry(function = $function)]
        fn $entry(ctx: FEntryContext) -> i32 {
            calls(Sock::new(ctx.arg(0)), ctx.arg(1));
            0
        }

        #[fexit(function = $function)]
        fn $exit(ctx: FExitContext) -> i32 {
            returned(ctx.arg(RESULT));
            0
        }
    };
}

fentry_and_fexit!("tcp_v4_connect", route_v4_fentry, route_v4_fexit);
fentry_and_fexit!("tcp_v6_connect", route_v6_fentry, route_v6_fexit);

#[kprobe]
fn route_kprobe(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(address)) = (ctx.arg(0), ctx.arg(1)) {
        calls(Sock::new(sk), address);
    }
    0
}

#[kretprobe]
fn route_kretprobe(ctx: RetProbeContext) -> u32 {
    returned(ctx.ret());
    0
}

/// Not for `io_uring`, which makes no system call of its own. Most attempts have a route: what is asked
/// of the socket can wait until one fails, but for what the call itself changes.
#[tracepoint]
fn connect_enter(ctx: TracePointContext) -> u32 {
    // SAFETY: both lie inside the record of every `sys_enter_*` event.
    let (fd, address): (u64, *const u8) = unsafe {
        match (ctx.read_at(FD), ctx.read_at(ADDRESS)) {
            (Ok(fd), Ok(address)) => (fd, address),
            _ => return 0,
        }
    };
    // A call that only fetches the error of an attempt that is over is none.
    if !TaskStruct::current().is_connecting(fd as u32) {
        no_route::calls(fd, address);
    }
    0
}

#[tracepoint]
fn connect_exit(ctx: TracePointContext) -> u32 {
    if let Some(result) = classic::result(&ctx)
        && result as i32 != -EISCONN
    {
        let find = |fd: u64| {
            let sock = TaskStruct::current().socket(fd as u32)?;
            sock.is_tcp().then_some(sock)
        };
        no_route::returned(result as i32, find, Destination::of_caller);
    }
    0
}
