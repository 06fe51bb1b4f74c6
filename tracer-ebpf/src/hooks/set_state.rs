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

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use tracer_common::tcp_state::{CLOSE, ESTABLISHED, FIN_WAIT1, LAST_ACK, LISTEN, SYN_SENT};

use crate::{kernel::Sock, table};

#[btf_tracepoint(function = "inet_sock_set_state")]
fn set_state(ctx: BtfTracePointContext) -> i32 {
    let sock = Sock::new(ctx.arg(0));
    let old: i32 = ctx.arg(1);
    let new: i32 = ctx.arg(2);
    let (old, new) = (old as u8, new as u8);
    if !sock.is_tcp() {
        return 0;
    }
    match new {
        SYN_SENT => table::opened(sock),
        ESTABLISHED => table::established(sock, old),
        FIN_WAIT1 | LAST_ACK => table::closing(sock),
        CLOSE if old != LISTEN => table::closed(sock, old),
        _ => {}
    }
    0
}
