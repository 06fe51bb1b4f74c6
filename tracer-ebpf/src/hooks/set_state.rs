//! `trace_inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
//!
//! | transition | context | note |
//! |---|---|---|
//! | `CLOSE -> SYN_SENT` | the connecting process | the local port may not be chosen yet |
//! | `SYN_SENT -> ESTABLISHED` | any | |
//! | `LISTEN -> SYN_RECV` | any | to 6.12 the child has no peer address yet: not used |
//! | `SYN_RECV -> ESTABLISHED` | any | the child's flow is complete |
//! | `-> FIN_WAIT1`, `CLOSE_WAIT -> LAST_ACK` | the closing process | |
//! | `-> CLOSE` | any | `skc_num` is 0 already, `inet_sport` is not |

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use tracer_common::{
    classic::{STATE_NEW, STATE_OLD, STATE_SOCK},
    config::feature,
    tcp_state::{CLOSE, ESTABLISHED, FIN_WAIT1, LAST_ACK, LISTEN, SYN_SENT},
};

use super::classic;
use crate::{
    emit,
    kernel::{Sock, Socket, TcpSock},
    lifecycle,
    untracked::Reporter,
};

#[btf_tracepoint(function = "inet_sock_set_state")]
fn set_state(ctx: BtfTracePointContext) -> i32 {
    let (old, new) = states(&ctx);
    if tells(old, new)
        && let Some(sock) = TcpSock::of(ctx.arg(0))
    {
        report(sock, old, new, Reporter::Last);
    }
    0
}

/// The kernel does not run a program inside itself: when a softirq interrupts `set_state` and
/// changes another socket's state, that change is skipped (1 to 6 times in 10,000 connection ends,
/// measured). This program reports the same events; one of the two always runs, unless both are
/// preempted.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn set_state_again(ctx: BtfTracePointContext) -> i32 {
    let (old, new) = states(&ctx);
    // The others are changed by tasks, which interrupt nobody, but can be preempted.
    let is_ours = matches!(new, ESTABLISHED | CLOSE) || emit::wants(feature::PREEMPTIBLE);
    if is_ours
        && tells(old, new)
        && let Some(sock) = TcpSock::of(ctx.arg(0))
    {
        report(sock, old, new, Reporter::First);
    }
    0
}

/// Helps `set_state_again` where the kernel preempts `tp_btf` programs (7.0 on), and skips them for
/// all other tasks meanwhile: both can be. This kind runs with preemption off, and the kernel skips
/// it only where a softirq interrupts another of its kind, or a kprobe.
#[tracepoint]
fn set_state_classic(ctx: TracePointContext) -> u32 {
    let sock: *const u8 = classic::read(&ctx, STATE_SOCK);
    let (old, new): (i32, i32) = (
        classic::read(&ctx, STATE_OLD),
        classic::read(&ctx, STATE_NEW),
    );
    let (sock, old, new) = (Sock::new(sock), old as u8, new as u8);
    if tells(old, new) && sock.is_tcp() {
        report(sock, old, new, Reporter::First);
    }
    0
}

#[inline(always)]
fn states(ctx: &BtfTracePointContext) -> (u8, u8) {
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    (old as u8, new as u8)
}

/// Whether the change is one that [`report`] does anything for.
#[inline(always)]
fn tells(old: u8, new: u8) -> bool {
    match new {
        SYN_SENT | ESTABLISHED | FIN_WAIT1 | LAST_ACK => true,
        CLOSE => old != LISTEN,
        _ => false,
    }
}

#[inline(always)]
fn report(sock: impl Socket, old: u8, new: u8, reporter: Reporter) {
    match new {
        SYN_SENT => lifecycle::opened(sock, reporter),
        ESTABLISHED => lifecycle::established(sock, old, reporter),
        FIN_WAIT1 | LAST_ACK => lifecycle::closing(sock),
        _ => lifecycle::closed(sock, old, reporter),
    }
}
