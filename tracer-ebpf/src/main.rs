//! conntracer's eBPF programs.
//!
//! A hook turns its calling convention into `(socket, value)` and calls a handler of [`lifecycle`]
//! [`traffic`], [`no_route`], [`older`], [`sample`], [`follow`] or [`wire`]; what happens next is the
//! same on every backend. A new hook is one small file in `hooks/`.
//!
//! | program | hook | handler | purpose | since |
//! |---|---|---|---|---|
//! | `set_state` | `tp_btf` `inet_sock_set_state` | `opened`, `established`, `closing`, `closed` | life cycle | 5.5 |
//! | `destroy_sock` | `tp_btf` `tcp_destroy_sock` | `released` | final totals | 5.5 |
//! | `…_again` | the same | the same | what those miss when a softirq interrupts them | 5.5 |
//! | `…_classic` | the same as classic tracepoints | the same | what both miss when they are preempted | 5.5, used from 7.0 on |
//! | `send_length` | `tp_btf` `sock_send_length` | `moved` | bytes sent, by process | 6.3 |
//! | `recv_length` | `tp_btf` `sock_recv_length` | `moved` | bytes received, by process | 6.3 |
//! | `accept_exit` | tracepoint `sys_exit_accept`, `sys_exit_accept4` | `accepted` | the accepting process | 5.5 |
//! | `connect_fentry`, `connect_kprobe` | `tcp_connect` | `bound` | the port of an attempt | 5.5, 4.17 |
//! | `graft_fentry`, `graft_kprobe` | `security_sock_graft` | `accepted` | the accepting process | 5.5, 4.17 |
//! | `release_sock_fentry`, `release_sock_kprobe` | `release_sock` | `settle` | bytes, by process, and accepts | 5.5, 4.17 |
//! | `route_…` | `tcp_v4_connect`, `tcp_v6_connect`, entry and return | `calls`, `returned` | attempts without a route | 5.5, 4.17 |
//! | `connect_enter`, `connect_exit` | tracepoints `sys_enter_connect`, `sys_exit_connect` | the same | the same | 5.5 |
//! | `mptcp_…_fexit` | return of `mptcp_sendmsg`, `mptcp_recvmsg` | `moved` | bytes, by process | 5.17 |
//! | `process_fork` | `tp_btf` `sched_process_fork` | `forked` | processes that are followed | 5.5 |
//! | `process_free` | `tp_btf` `sched_process_free` | `freed` | those that are gone | 5.5 |
//! | `older_sockets` | `iter/tcp` | `socket` | connections older than the tracer | 5.9 |
//! | `older_owners` | `iter/task_file` | `held` | who holds them | 5.8 |
//! | `open_totals` | `iter/bpf_map_elem` | `of` | bytes of open connections, where no hook sees them | 5.9 |
//! | `open_wire` | `iter/bpf_map_elem` | `of` | segments of open connections, with `--wire` | 5.9 |
//!
//! Which of them are attached is the backend's choice, a table in the user side.
//!
//! Only [`kernel`] reads kernel memory; only [`emit`] writes to the ring; only [`bits`]
//! changes the flags of a connection.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "atomic_xadd: bpfel has no compare-and-swap, so no AtomicU64"
)]

mod bits;
mod emit;
mod filter;
mod folded;
mod follow;
mod hooks;
mod kernel;
mod lifecycle;
mod maps;
mod no_route;
mod older;
mod process;
mod sample;
mod table;
mod task;
mod traffic;
mod untracked;
mod users;
mod wire;

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
