//! An iterator: the kernel calls this once for each entry of the connection table, when someone
//! reads. The last call comes without an entry.

use core::ffi::c_void;

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};
use tracer_common::connection::Connection;

use crate::{kernel::Sock, sample};

/// `struct bpf_iter_meta`
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
    session_id: u64,
    seq_num: u64,
}

/// `struct bpf_iter__bpf_map_elem`
#[repr(C)]
pub struct MapElem {
    meta: *const Meta,
    map: *const c_void,
    key: *const u64,
    value: *const Connection,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
extern "C" fn open_totals(ctx: *const MapElem) -> i32 {
    write(ctx, sample::of);
    0
}

/// Hands over what there is to say of the entry.
#[inline(always)]
pub fn write<T>(ctx: *const MapElem, of: impl FnOnce(Sock, &Connection) -> Option<T>) {
    // SAFETY: the kernel calls with a whole context of this type.
    let (meta, key, value) = unsafe { ((*ctx).meta, (*ctx).key, (*ctx).value) };
    if key.is_null() || value.is_null() {
        return;
    }
    // SAFETY: they point at one entry, which stays meanwhile.
    let (sk, connection) = unsafe { (*key as *const u8, &*value) };
    if let Some(told) = of(Sock::new(sk), connection) {
        // SAFETY: as above; the helper reads the whole value. Without room in the buffer the
        // kernel calls again for this entry.
        unsafe {
            bpf_seq_write((*meta).seq, (&raw const told).cast(), size_of::<T>() as u32);
        }
    }
}
