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
