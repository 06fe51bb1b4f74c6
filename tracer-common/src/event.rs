//! What travels through the ring buffer.
//!
//! Four kinds, told apart by the first word. A reader that meets an unknown kind counts and
//! skips it.

use crate::connection::{Connection, NAME_LEN};

/// Tags of ring records, the first `u32` of each.
pub mod kind {
    /// [`super::News`]: a connection entered a new stage.
    pub const NEWS: u32 = 1;
    /// [`super::Touched`]: a connection moved bytes for the first time in this traffic epoch.
    pub const TOUCHED: u32 = 2;
    /// [`super::Io`]: one send or receive call (`--events io`).
    pub const IO: u32 = 3;
    /// [`crate::process::Told`]: who a process is.
    pub const PROCESS: u32 = 4;
}

/// A connection's state after something happened to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct News {
    /// [`kind::NEWS`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// The socket.
    pub sk: u64,
    /// All that is known of it.
    pub connection: Connection,
}

const _: () = assert!(size_of::<News>() == 328 && align_of::<News>() == 8);

/// "Look this connection up at the end of the interval": traffic news without the traffic.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Touched {
    /// [`kind::TOUCHED`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// The socket.
    pub sk: u64,
}

const _: () = assert!(size_of::<Touched>() == 16);

/// One send or receive call that moved bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Io {
    /// [`kind::IO`].
    pub kind: u32,
    /// 1 = send, 0 = receive.
    pub send: u32,
    /// The socket.
    pub sk: u64,
    /// The connection, this call included.
    pub connection: Connection,
    /// Monotonic time of the call's end.
    pub time_ns: u64,
    /// Bytes it moved.
    pub bytes: u64,
    /// The calling process.
    pub tgid: u32,
    /// The calling thread.
    pub tid: u32,
    /// Start of the calling process, nanoseconds of boot time.
    pub start_ns: u64,
    /// Its effective uid.
    pub uid: u32,
    /// Zero.
    pub reserved: u32,
    /// `comm` of its leader.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<Io>() == 384 && align_of::<Io>() == 8);
