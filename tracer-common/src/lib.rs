//! What the eBPF programs and the user side agree on: layouts, tags and names.
//!
//! Everything here is plain data of a fixed layout, asserted beside each struct. The crate is
//! built by two compilers (rustc for the host, rustc for `bpfel-unknown-none`), so it has no
//! dependency on either side.
#![no_std]

pub mod classic;
pub mod config;
pub mod connection;
pub mod counters;
pub mod event;
pub mod filter;
pub mod flow;
pub mod folded;
pub mod follow;
pub mod offsets;
pub mod process;
pub mod sample;
pub mod tcp_state;
pub mod users;
pub mod wire;

/// Names of the read-only globals that the user side sets before it loads the programs.
pub mod global {
    /// [`crate::offsets::Offsets`].
    pub const OFFSETS: &str = "OFFSETS";
    /// [`crate::filter::Filter`].
    pub const FILTER: &str = "FILTER";
    /// [`crate::config::Config`].
    pub const CONFIG: &str = "CONFIG";
}

/// Names of the maps.
pub mod map {
    /// Hash: socket pointer (`u64`) to [`crate::connection::Connection`].
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// Hash: [`crate::connection::ConnectionKey`] to [`crate::connection::Connection`], released
    /// connections that found the ring full.
    pub const PENDING: &str = "PENDING";
    /// Hash: [`crate::folded::FoldedKey`] to [`crate::folded::FoldedTotals`].
    pub const FOLDED: &str = "FOLDED";
    /// The same, for every connection that is over when only tables are wanted.
    pub const TALLY: &str = "TALLY";
    /// Hash: [`crate::users::UserKey`] to [`crate::users::UserTotals`].
    pub const USERS: &str = "USERS";
    /// Hash: socket pointer (`u64`) to marks of connections without an entry; the kernel side's own.
    pub const UNTRACKED: &str = "UNTRACKED";
    /// LRU hash: which processes were told; the kernel side's own.
    pub const TOLD: &str = "TOLD";
    /// Ring buffer of [`crate::event`] records.
    pub const EVENTS: &str = "EVENTS";
    /// Per-CPU array of `u64`, indexed by [`crate::counters::Counter`].
    pub const COUNTERS: &str = "COUNTERS";
    /// A data section of one `u32`: the traffic epoch, advanced by the user side, which also opens and closes
    /// the gate with it (see [`crate::config::CLOSED`]).
    pub const EPOCH: &str = ".data.epoch";
    /// Array of `u64` words: the local port set.
    pub const LOCAL_PORTS: &str = "LOCAL_PORTS";
    /// Array of `u64` words: the remote port set.
    pub const REMOTE_PORTS: &str = "REMOTE_PORTS";
    /// Hash: [`crate::filter::IdKey`] to `u8`.
    pub const IDS: &str = "IDS";
    /// Hash: process id (`u32`) to its start (`u64`), see [`crate::follow`].
    pub const FOLLOWED: &str = "FOLLOWED";
    /// Trie: [`crate::filter::PrefixKey`] to `u8`.
    pub const PREFIXES: &str = "PREFIXES";
    /// Hash: [`crate::filter::NameKey`] to `u8`.
    pub const NAMES: &str = "NAMES";
    /// Hash: id of a cgroup (`u64`) to `u8`.
    pub const CGROUPS: &str = "CGROUPS";
}

/// Version of every layout in this crate. The object carries it in the symbol [`ABI_SYMBOL`];
/// the user side refuses an object of another version before it loads it.
pub const ABI_VERSION: u32 = 7;

/// Name of the read-only global in the eBPF object that holds [`ABI_VERSION`].
pub const ABI_SYMBOL: &str = "CONNTRACER_ABI";
