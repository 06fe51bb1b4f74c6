//! An iterator as `open_totals`.

use super::sample::{MapElem, write};
use crate::wire;

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/bpf_map_elem")]
extern "C" fn open_wire(ctx: *const MapElem) -> i32 {
    write(ctx, wire::of);
    0
}
