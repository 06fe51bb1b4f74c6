//! A connection tracer as one writes it first, for what a connection costs: each event of a life
//! reads the clock, updates the connection's entry and sends a record of 200 bytes; each call that
//! moves bytes adds them up and reads the clock. That is the prototype of the field notes, without
//! its walk from the descriptor to the accepted socket, which is to its advantage.
//!
//! Its records wake the reader as the kernel sees fit, which is what a program gets that says
//! nothing about it, unless [`PROTOTYPE_IS_QUIET`].

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_ns, bpf_probe_read_kernel,
        generated::bpf_get_current_comm,
    },
    macros::{btf_tracepoint, map, tracepoint},
    maps::{HashMap, RingBuf},
    programs::{BtfTracePointContext, TracePointContext},
};

use crate::{PLACES, add};

const SYN_SENT: i32 = 2;
const ESTABLISHED: i32 = 1;
const CLOSE: i32 = 7;

/// 1 for records that wake nobody: the reader has to look by itself.
#[unsafe(no_mangle)]
static PROTOTYPE_IS_QUIET: Global<u32> = Global::new(0);

/// Not bytes: those would be moved one by one.
type Name = [u64; 2];

#[repr(C)]
#[derive(Clone, Copy)]
struct Life {
    birth_ns: u64,
    last_ns: u64,
    task: u64,
    tx: u64,
    rx: u64,
    name: Name,
}

#[repr(C)]
struct Record {
    time_ns: u64,
    sk: u64,
    task: u64,
    user: u64,
    states: [i32; 2],
    ports: [u16; 2],
    family: u16,
    reserved: u16,
    addresses: [u32; 2],
    name: Name,
    life: Life,
    /// A prototype's records have room for addresses of all families, paths and counters.
    room: [u64; 10],
}

const _: () = assert!(size_of::<Record>() == 208);

#[map]
static LIVES: HashMap<u64, Life> = HashMap::with_max_entries(PLACES, BPF_F_NO_PREALLOC);

/// Nothing is lost in it at the speed of the benchmark.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

#[btf_tracepoint(function = "inet_sock_set_state")]
fn proto_state(ctx: BtfTracePointContext) -> i32 {
    let (sk, old, new): (u64, i32, i32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    let now = now();
    let task = bpf_get_current_pid_tgid();
    if new == SYN_SENT || (new == ESTABLISHED && LIVES.get_ptr(sk).is_none()) {
        let life = Life {
            birth_ns: now,
            last_ns: now,
            task,
            tx: 0,
            rx: 0,
            name: name(),
        };
        let _ = LIVES.insert(sk, life, u64::from(BPF_ANY));
    }
    let Some(life) = LIVES.get_ptr_mut(sk) else {
        return 0;
    };
    // SAFETY: a live entry of the map; the socket is in the middle of a change.
    let life = unsafe { &mut *life };
    life.last_ns = now;
    if [SYN_SENT, ESTABLISHED, CLOSE].contains(&new) {
        send(sk, now, [old, new], life);
    } else {
        life.task = task;
    }
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn proto_destroy(ctx: BtfTracePointContext) -> i32 {
    let sk: u64 = ctx.arg(0);
    let Some(life) = LIVES.get_ptr(sk) else {
        return 0;
    };
    // SAFETY: a live entry of the map: only this program removes it.
    send(sk, now(), [CLOSE, 0], unsafe { &*life });
    let _ = LIVES.remove(sk);
    0
}

/// The system calls `accept` and `accept4`.
#[tracepoint]
fn proto_accept(ctx: TracePointContext) -> u32 {
    let life = Life {
        birth_ns: 0,
        last_ns: 0,
        task: bpf_get_current_pid_tgid(),
        tx: 0,
        rx: 0,
        name: name(),
    };
    // SAFETY: inside the record of the event; only its cost matters.
    let result = unsafe { ctx.read_at::<i64>(16) }.unwrap_or(-1);
    if result >= 0 {
        send(ctx.as_ptr() as u64, now(), [0, 0], &life);
    }
    0
}

#[btf_tracepoint(function = "sock_send_length")]
fn proto_send(ctx: BtfTracePointContext) -> i32 {
    moved(ctx.arg(0), true, ctx.arg(1));
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
fn proto_recv(ctx: BtfTracePointContext) -> i32 {
    moved(ctx.arg(0), false, ctx.arg(1));
    0
}

#[inline(always)]
fn moved(sk: u64, send: bool, bytes: i32) {
    let Ok(bytes) = u64::try_from(bytes) else {
        return;
    };
    let Some(life) = LIVES.get_ptr_mut(sk) else {
        return;
    };
    // SAFETY: a live entry of the map: the caller of the hook holds the socket.
    let life = unsafe { &mut *life };
    life.last_ns = now();
    let total = if send {
        &raw mut life.tx
    } else {
        &raw mut life.rx
    };
    add(total, bytes);
}

#[inline(always)]
fn send(sk: u64, time_ns: u64, states: [i32; 2], life: &Life) {
    let Some(mut entry) = RECORDS.reserve::<Record>(0) else {
        return;
    };
    let record: *mut Record = entry.as_mut_ptr();
    // SAFETY: `record` is the reserved room; all its fields are written. A struct literal would be
    // built on the stack first.
    unsafe {
        (*record).time_ns = time_ns;
        (*record).sk = sk;
        (*record).task = bpf_get_current_pid_tgid();
        (*record).user = bpf_get_current_uid_gid();
        (*record).states = states;
        (*record).ports = [read(sk, 12), read(sk, 14)];
        (*record).family = read(sk, 16);
        (*record).reserved = 0;
        (*record).addresses = [read(sk, 0), read(sk, 4)];
        write_name(&raw mut (*record).name);
        (*record).life = *life;
        (*record).room = [0; 10];
    }
    let quiet = PROTOTYPE_IS_QUIET.load() != 0;
    entry.submit(u64::from(if quiet { BPF_RB_NO_WAKEUP } else { 0 }));
}

/// The beginning of `struct sock_common`: remote and local address, their ports, the family. It is
/// the same since 3.8; other numbers would cost the same.
#[inline(always)]
fn read<T: Default>(sk: u64, offset: u64) -> T {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel((sk + offset) as *const T) }.unwrap_or_default()
}

#[inline(always)]
fn name() -> Name {
    let mut name = [0; 2];
    write_name(&raw mut name);
    name
}

/// The running task's name; `to` is valid for writes.
#[inline(always)]
fn write_name(to: *mut Name) {
    // SAFETY: see above. With room for a whole name it does not fail.
    unsafe { bpf_get_current_comm(to.cast(), size_of::<Name>() as u32) };
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}
