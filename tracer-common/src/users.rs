//! Processes other than the owner that moved bytes of a connection (fork after accept, passed
//! descriptors, pre-forked workers).

use crate::connection::NAME_LEN;

/// Key of the users map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct UserKey {
    /// The socket.
    pub sk: u64,
    /// The connection's birth.
    pub birth_ns: u64,
    /// The process.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<UserKey>() == 24);

/// What one such process moved.
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
pub struct UserTotals {
    /// Bytes its send calls accepted.
    pub tx: u64,
    /// Bytes copied to it.
    pub rx: u64,
    /// Start of the process, nanoseconds of boot time.
    pub start_ns: u64,
    /// `tgid` of the process that joined before it; 0 = end of the chain.
    pub next: u32,
    /// Effective uid.
    pub uid: u32,
    /// `comm` of its thread-group leader.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<UserTotals>() == 48 && align_of::<UserTotals>() == 8);

impl UserTotals {
    /// Nothing moved yet.
    pub const EMPTY: Self = Self {
        tx: 0,
        rx: 0,
        start_ns: 0,
        next: 0,
        uid: 0,
        name: [0; NAME_LEN],
    };
}
