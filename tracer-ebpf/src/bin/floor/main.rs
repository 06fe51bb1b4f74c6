//! What conntracer's programs are measured against, on the same calls: an object of its own, which
//! is never part of conntracer.
//!
//! | programs | what they do | what that is the measure of |
//! |---|---|---|
//! | `empty_…` | nothing | what the kernel's own statistics cost |
//! | `lookup_…` | a look-up that finds nothing | a connection that the filter rejected |
//! | `update_…` | a look-up and an atomic add | a call that moves bytes |
//! | `storage_…` | the same in socket storage | the same on another kind of map |
//! | `proto_…` | see [`prototype`] | a connection |
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "atomic_xadd: bpfel has no compare-and-swap, so no AtomicU64"
)]

mod prototype;

use core::{
    ffi::c_void,
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr,
};

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST, BPF_SK_STORAGE_GET_F_CREATE},
    btf_maps::SkStorage,
    helpers::generated::bpf_sk_storage_get,
    macros::{btf_map, btf_tracepoint, fentry, kprobe, map},
    maps::HashMap,
    programs::{BtfTracePointContext, FEntryContext, ProbeContext},
};

/// As many places as conntracer's table has.
const PLACES: u32 = 262_144;

/// Bytes by socket.
#[map]
static TOTALS: HashMap<u64, u64> = HashMap::with_max_entries(PLACES, BPF_F_NO_PREALLOC);

/// Stays empty.
#[map]
static NOTHING: HashMap<u64, u64> = HashMap::with_max_entries(PLACES, BPF_F_NO_PREALLOC);

/// Bytes, with their socket.
#[btf_map]
static STORAGE: SkStorage<u64> = SkStorage::new();

#[btf_tracepoint(function = "sock_send_length")]
fn empty_send(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
fn empty_recv(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn empty_state(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "inet_sock_set_state")]
fn empty_state_again(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn empty_destroy(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "tcp_destroy_sock")]
fn empty_destroy_again(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sock_send_length")]
fn lookup_send(ctx: BtfTracePointContext) -> i32 {
    look_up(ctx.arg(0))
}

#[btf_tracepoint(function = "sock_recv_length")]
fn lookup_recv(ctx: BtfTracePointContext) -> i32 {
    look_up(ctx.arg(0))
}

#[btf_tracepoint(function = "sock_send_length")]
fn update_send(ctx: BtfTracePointContext) -> i32 {
    update(ctx.arg(0), ctx.arg(1));
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
fn update_recv(ctx: BtfTracePointContext) -> i32 {
    update(ctx.arg(0), ctx.arg(1));
    0
}

#[btf_tracepoint(function = "sock_send_length")]
fn storage_send(ctx: BtfTracePointContext) -> i32 {
    store(ctx.arg(0), ctx.arg(1));
    0
}

#[btf_tracepoint(function = "sock_recv_length")]
fn storage_recv(ctx: BtfTracePointContext) -> i32 {
    store(ctx.arg(0), ctx.arg(1));
    0
}

#[fentry(function = "release_sock")]
fn empty_fentry(_ctx: FEntryContext) -> i32 {
    0
}

#[fentry(function = "release_sock")]
fn update_fentry(ctx: FEntryContext) -> i32 {
    update(ctx.arg(0), 1);
    0
}

#[kprobe]
fn empty_kprobe(_ctx: ProbeContext) -> u32 {
    0
}

#[kprobe]
fn update_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        update(sk, 1);
    }
    0
}

/// What was found, so that the compiler cannot leave the look-up out.
#[inline(always)]
fn look_up(sk: u64) -> i32 {
    i32::from(NOTHING.get_ptr(sk).is_some())
}

#[inline(always)]
fn update(sk: u64, bytes: i32) {
    let Ok(bytes) = u64::try_from(bytes) else {
        return;
    };
    match TOTALS.get_ptr_mut(sk) {
        Some(total) => add(total, bytes),
        // Another CPU may have been faster: one call is missing then, which no measure is about.
        None => drop(TOTALS.insert(sk, bytes, u64::from(BPF_NOEXIST))),
    }
}

/// `sk` as the context has it: the verifier knows its type.
#[inline(always)]
fn store(sk: *mut c_void, bytes: i32) {
    let Ok(bytes) = u64::try_from(bytes) else {
        return;
    };
    let map = ptr::from_ref(&STORAGE).cast_mut().cast();
    let how = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: the map is one of socket storage and the socket is held by the caller of the hook.
    let total = unsafe { bpf_sk_storage_get(map, sk, ptr::null_mut(), how) };
    if !total.is_null() {
        add(total.cast(), bytes);
    }
}

/// `total` points into a live map value.
#[inline(always)]
fn add(total: *mut u64, bytes: u64) {
    // SAFETY: see above; the result is not used, so every kernel takes the instruction.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(total, bytes) };
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
