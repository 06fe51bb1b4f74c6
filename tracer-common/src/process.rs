//! Who a process is, as the kernel tells it before the first connection of that process: a process
//! that lives for a millisecond is gone when the reader looks for it.
//!
//! A ring record is a [`Told`] and its text: the command line, and behind it the path of the program,
//! its last component first, each with its NUL. The kernel side reserves one of two sizes, since a
//! reservation has a fixed size and most command lines are short.

use crate::connection::NAME_LEN;

/// A command line is sent up to so many bytes, without the last; the reader finds the rest if the
/// process lives. A power of two, as the kernel's verifier likes it.
pub const MAX_COMMAND: u32 = 1024;
/// A shorter one than this goes into the short record. Likewise.
pub const SHORT_COMMAND: u32 = 256;
/// In the short record a component of the path begins before this byte of the text. Likewise.
pub const SHORT_TEXT: u32 = 512;
/// In the long record, likewise.
pub const LONG_TEXT: u32 = 2048;
/// Bytes that a component of a path takes at most, with its NUL: `NAME_MAX` and one.
pub const MAX_COMPONENT: u32 = 256;
/// Components and mounts that a path is followed through. The verifier follows it as often, in each
/// program.
pub const MAX_STEPS: u32 = 12;
/// Processes that are remembered as told. One that is forgotten is told again.
pub const TOLD_ROWS: u32 = 4096;

/// The head of the record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Told {
    /// [`crate::event::kind::PROCESS`].
    pub kind: u32,
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Start of the process, nanoseconds of boot time.
    pub start_ns: u64,
    /// Process id of its parent; 0 = not known, or the kernel itself.
    pub parent: u32,
    /// Depth of its pid namespace below the initial one.
    pub ns_level: u32,
    /// Its process id there.
    pub ns_pid: u32,
    /// Bytes of its command line that are here.
    pub command_len: u32,
    /// Bytes that it has.
    pub command_size: u32,
    /// Bytes of its program's path that are here; 0 unless all are.
    pub path_len: u32,
    /// `comm` of its parent's leader.
    pub parent_name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<Told>() == 56 && align_of::<Told>() == 8);

/// The record, whose last component of the path begins before `text[LAST]`, and has as much room as it
/// can need in `room`.
#[repr(C)]
pub struct WithText<const LAST: usize> {
    /// What is in it.
    pub told: Told,
    /// Command line and path,
    pub text: [u8; LAST],
    /// and the end of the path.
    pub room: [u8; MAX_COMPONENT as usize],
}

const _: () = assert!(size_of::<WithText<{ SHORT_TEXT as usize }>>() == 824);
const _: () = assert!(size_of::<WithText<{ LONG_TEXT as usize }>>() == 2360);
