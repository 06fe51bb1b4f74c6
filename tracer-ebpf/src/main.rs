//! Throw-away program to develop `cargo xtask build-ebpf` against.
#![no_std]
#![no_main]

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use tracer_common::ABI_VERSION;

#[map]
static SEEN: Array<u64> = Array::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static CONNTRACER_ABI: u32 = ABI_VERSION;

/// Counts state changes.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn state(ctx: BtfTracePointContext) -> i32 {
    let new: i32 = ctx.arg(2);
    if let Some(seen) = SEEN.get_ptr_mut(0) {
        // SAFETY: the kernel checked the pointer against null, and element 0 exists.
        unsafe { *seen += u64::from(new.unsigned_abs()) };
    }
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
