//! Attempts that find no way to their destination. They end before the kernel gives them a port, a
//! state or a SYN: nothing but the call's result tells.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_get_current_pid_tgid};
use tracer_common::{connection::flags, counters::Counter, tcp_state};

use crate::{
    bits::{begin, set},
    kernel::{Destination, Sock, Socket as _},
    lifecycle::release,
    maps::{CONNECTING, gate_is_closed},
    table::{find, insert, now, take_owner},
    untracked::Reporter,
    wire,
};

/// What a task that is in `connect` asked for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Attempt {
    /// By what the hook finds it again.
    socket: u64,
    /// Its `struct sockaddr *`, which is looked at if need be.
    address: u64,
}

/// The running task calls `connect`; `socket` is what [`returned`] will have back.
#[inline(always)]
pub fn calls(socket: u64, address: *const u8) {
    if !gate_is_closed() {
        let attempt = Attempt {
            socket,
            address: address as u64,
        };
        // Without room, this attempt is not told if it fails so early.
        let _ = CONNECTING.insert(bpf_get_current_pid_tgid(), &attempt, u64::from(BPF_ANY));
    }
}

/// The running task's attempt has a route: from here on its states tell.
#[inline(always)]
pub fn found() {
    let _ = CONNECTING.remove(bpf_get_current_pid_tgid());
}

/// `connect` returns; `find` finds the socket again, and `read` reads the address that it was called
/// with.
#[inline(always)]
pub fn returned(
    result: i32,
    find: impl FnOnce(u64) -> Option<Sock>,
    read: impl FnOnce(*const u8) -> Option<Destination>,
) {
    let task = bpf_get_current_pid_tgid();
    let Some(attempt) = CONNECTING.get_ptr(task) else {
        return;
    };
    // SAFETY: only the running task removes its value, below.
    let Attempt { socket, address } = unsafe { *attempt };
    let _ = CONNECTING.remove(task);
    if result < 0
        && let Some(sock) = find(socket)
        && sock.state() == tcp_state::CLOSE
        && let Some(to) = read(address as *const u8)
    {
        failed(sock, &to, result.unsigned_abs());
    }
}

#[inline(never)]
fn failed(sock: Sock, to: &Destination, error: u32) {
    if let Some(previous) = find(sock) {
        release(sock, previous);
    }
    let Some(connection) = insert(sock, Some((Counter::TableFullOutbound, Reporter::Last))) else {
        return;
    };
    sock.read_flow(&mut connection.flow);
    connection.flow.remote_ip = to.ip;
    connection.flow.remote_port = to.port;
    connection.netns = sock.netns();
    // Nothing was sent: the counters are zero.
    begin(connection, flags::FAILED | flags::HAS_COUNTERS);
    set::<{ flags::UNDECIDED }>(connection);
    wire::never_began(connection);
    take_owner(connection);
    connection.error = error;
    connection.birth_ns = now();
    connection.closed_ns = connection.birth_ns;
    release(sock, connection);
}
