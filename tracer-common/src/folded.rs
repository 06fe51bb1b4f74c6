//! Sums of connection ends.
//!
//! When only tables are wanted, a released connection is added to one row per (namespace, process,
//! service port, peer), and nobody is told of it. When the ring is full *and* the pending map is
//! full, it is added to one without the peer, which is lost; its totals are not.

use crate::connection::NAME_LEN;

/// Rows of the folded map. One per process and port, so a few thousand hold any number of ends.
pub const FOLDED_ROWS: u32 = 8192;

/// Rows of the tally map: beyond, connections are told one by one.
pub const TALLY_ROWS: u32 = 65_536;

/// Key of both maps.
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
pub struct FoldedKey {
    /// Start of the owner, nanoseconds of boot time.
    pub start_ns: u64,
    /// The peer, as in [`crate::flow::Flow`]; zeroes where it is not kept.
    pub remote_ip: [u8; 16],
    /// Network namespace.
    pub netns: u32,
    /// The owner; 0 = never accepted.
    pub tgid: u32,
    /// The owner's uid.
    pub uid: u32,
    /// Port of this end: the listener's for inbound connections, the peer's for outbound ones.
    pub port: u16,
    /// 1 = inbound.
    pub inbound: u16,
}

const _: () = assert!(size_of::<FoldedKey>() == 40);

/// Sums over the folded ends.
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
pub struct FoldedTotals {
    /// Ends that were connections.
    pub connections: u64,
    /// Ends of connections older than the tracer.
    pub pre_existing: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Bytes sent.
    pub tx: u64,
    /// Bytes received.
    pub rx: u64,
    /// Part of `tx` that the owner sent; of the rest the process is not known.
    pub owner_tx: u64,
    /// Part of `rx` that was copied to the owner.
    pub owner_rx: u64,
    /// See [`crate::connection::Connection::is_unopened`].
    pub unopened: u64,
    /// See [`crate::connection::Connection::failed_by_error`].
    pub failed: u64,
    /// See [`crate::connection::Connection::was_cut_off`].
    pub cut_off: u64,
    /// The owner's name.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<FoldedTotals>() == 96 && align_of::<FoldedTotals>() == 8);

impl FoldedTotals {
    /// Nothing folded yet.
    pub const EMPTY: Self = Self {
        connections: 0,
        pre_existing: 0,
        failures: 0,
        tx: 0,
        rx: 0,
        owner_tx: 0,
        owner_rx: 0,
        unopened: 0,
        failed: 0,
        cut_off: 0,
        name: [0; NAME_LEN],
    };
}
