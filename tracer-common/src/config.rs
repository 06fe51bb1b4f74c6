//! What the user side tells the programs before they are loaded, beside filter and offsets.

/// Switches in the object's read-only data; the verifier removes what is off.
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
pub struct Config {
    /// Bits of [`feature`].
    pub features: u32,
    /// Unread ring bytes above which a record wakes the reader; below, its timer does.
    pub wake_bytes: u32,
}

const _: () = assert!(size_of::<Config>() == 8);

/// The traffic epoch in which nothing is counted.
pub const CLOSED: u32 = 0;

/// Bits of [`Config::features`].
pub mod feature {
    /// Send "touched" news, so that the reader can report traffic of open connections.
    pub const TRAFFIC: u32 = 1 << 0;
    /// Send a record for every call that moves bytes.
    pub const IO: u32 = 1 << 1;
    /// A hook reports outbound attempts once they have their port: news wait for it.
    pub const CONNECT_HOOK: u32 = 1 << 2;
    /// Bytes are taken from the sequence numbers whenever the socket's lock is released.
    pub const SETTLE: u32 = 1 << 3;
    /// The kernel preempts programs, and skips them meanwhile.
    pub const PREEMPTIBLE: u32 = 1 << 4;
    /// Every call tells what it moved, also on a socket without a table entry.
    pub const CALLS: u32 = 1 << 5;
    /// Calls on MPTCP sockets do.
    pub const MPTCP_CALLS: u32 = 1 << 6;
    /// Nothing watches calls: what a socket carried is credited to its owner at the end.
    pub const SOCKET: u32 = 1 << 7;
    /// Send news of every stage of a connection, not of its end only.
    pub const STAGES: u32 = 1 << 8;
    /// Hooks around `connect` tell of attempts that find no route.
    pub const ROUTES: u32 = 1 << 9;
    /// Tell who a process is before the first news of a connection of its own.
    pub const PROCESSES: u32 = 1 << 10;
    /// Tell what each connection put on the wire.
    pub const WIRE: u32 = 1 << 11;
    /// Some processes are followed: the filter tests for it.
    pub const FOLLOW: u32 = 1 << 12;

    /// Ways to learn of bytes by watching calls.
    pub const WATCH_CALLS: u32 = SETTLE | CALLS | MPTCP_CALLS;
}
