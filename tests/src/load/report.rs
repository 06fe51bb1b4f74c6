//! What a load says: one JSON line when it is ready, one for each run.
//!
//! `cargo xtask bench` includes this file: both sides have the same idea of it.

use serde::{Deserialize, Serialize};

/// The port that every load's listener has, in a network namespace of its own.
pub const PORT: u16 = 7100;

/// The first line: connections that shall be open from then on are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The load's process, which has both ends of every connection.
    pub pid: u32,
    /// Inode number of the load's own network namespace.
    pub netns: u64,
    /// Ends of connections that stay open, both sides counted.
    pub open: u64,
}

/// The answer to `run MILLISECONDS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The measured time, piece by piece.
    pub windows: Vec<Window>,
    /// The windows, and the warm-up before them.
    pub working_ns: u64,
    /// All that was done in that time.
    pub did: Did,
    /// All that was done since the load was ready.
    pub total: Did,
}

/// A few milliseconds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Operations.
    pub ops: u64,
    /// Their time.
    pub wall_ns: u64,
    /// CPU time of the load in that time.
    pub cpu_ns: u64,
}

/// What a load did, in its own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Did {
    /// The connecting side.
    pub client: End,
    /// The accepting side.
    pub server: End,
}

/// What one side did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Connections that were made, or accepted.
    pub connections: u64,
    /// Bytes that its send calls accepted.
    pub tx: u64,
    /// Bytes that its receive calls returned.
    pub rx: u64,
}

impl Did {
    /// What was done since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            client: self.client.since(earlier.client),
            server: self.server.since(earlier.server),
        }
    }

    /// Bytes sent by both sides.
    pub fn tx(&self) -> u64 {
        self.client.tx + self.server.tx
    }

    /// Bytes received by both sides.
    pub fn rx(&self) -> u64 {
        self.client.rx + self.server.rx
    }
}

impl End {
    fn since(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            tx: self.tx - earlier.tx,
            rx: self.rx - earlier.rx,
        }
    }
}

impl std::ops::AddAssign for Did {
    fn add_assign(&mut self, other: Self) {
        self.client += other.client;
        self.server += other.server;
    }
}

impl std::ops::AddAssign for End {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.tx += other.tx;
        self.rx += other.rx;
    }
}
