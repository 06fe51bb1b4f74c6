//! Reading the record of a classic tracepoint.

use aya_ebpf::programs::TracePointContext;
use tracer_common::classic::Field;

/// The field's value; zeroes if the record does not have it, which the user side rules out.
#[inline(always)]
pub fn read<T>(ctx: &TracePointContext, field: Field) -> T {
    // SAFETY: the helper checks the address; every `T` here is an integer or a raw pointer, for
    // which any bytes will do.
    unsafe {
        ctx.read_at(field.offset)
            .unwrap_or_else(|_| core::mem::zeroed())
    }
}

/// What the system call of a `sys_exit_*` event returns; its place is stable ABI.
#[inline(always)]
pub fn result(ctx: &TracePointContext) -> Option<i64> {
    const RET: usize = 16;
    // SAFETY: as in `read`; it lies inside the record of every such event.
    unsafe { ctx.read_at(RET) }.ok()
}
