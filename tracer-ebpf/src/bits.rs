//! The only file that changes [`Connection::flags`] of an entry: group by group, as [`flags`] says. An
//! accept that wrote the whole word would take back what the end of the connection notes at the same
//! time, on another processor.

use tracer_common::connection::{Connection, flags};

const _: () = assert!(cfg!(target_endian = "little"));

/// Writes all bits of [`flags::LOCKED`], those of an entry that is made.
#[inline(always)]
pub fn begin(connection: &mut Connection, bits: u32) {
    change::<{ flags::LOCKED }>(connection, |_| bits);
}

/// Sets bits of one group.
#[inline(always)]
pub fn set<const BITS: u32>(connection: &mut Connection) {
    change::<BITS>(connection, |group| group | BITS);
}

/// Clears bits of one group.
#[inline(always)]
pub fn clear<const BITS: u32>(connection: &mut Connection) {
    change::<BITS>(connection, |group| group & !BITS);
}

/// Changes the group of `BITS`: `to` has it where it is in the word.
#[inline(always)]
fn change<const BITS: u32>(connection: &mut Connection, to: impl Fn(u32) -> u32) {
    const { assert!(is_of_one_group(BITS)) };
    let word = &raw mut connection.flags;
    // SAFETY: inside the word; volatile, so that nothing else is written along.
    unsafe {
        if BITS & flags::LOCKED != 0 {
            let group = word.cast::<u16>();
            group.write_volatile(to(group.read_volatile().into()) as u16);
        } else {
            let at = const { BITS.trailing_zeros() / u8::BITS };
            let shift = at * u8::BITS;
            let group = word.cast::<u8>().add(at as usize);
            let value = u32::from(group.read_volatile()) << shift;
            group.write_volatile((to(value) >> shift) as u8);
        }
    }
}

const fn is_of_one_group(bits: u32) -> bool {
    bits != 0
        && (bits & flags::LOCKED == bits
            || bits & flags::OWNERS == bits
            || bits & flags::VERDICTS == bits)
}
