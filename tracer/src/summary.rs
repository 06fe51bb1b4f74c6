//! The tables a run ends with, as data. [`crate::aggregate`] fills them, [`crate::report`] prints
//! them, `--summary x.json` writes them as they are.

use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use serde::Serialize;

use crate::reconcile::Reconciliation;
use crate::record::{Container, Direction, Peer, WallTime};
use crate::wire::Wire;

/// Counts that every table has; each table's columns add up to the grand total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Inbound connections that a process took.
    pub accepts: u64,
    /// Outbound connections that were established.
    pub connects: u64,
    /// Outbound attempts that ended without a connection.
    pub failures: u64,
    /// Inbound connections that no process took.
    pub unaccepted: u64,
    /// Connections older than the run, whose accept or connect nobody counted.
    pub pre_existing: u64,
    /// Connections still open at the end, part of the counts above.
    pub open: u64,
    /// Bytes sent.
    pub tx: u64,
    /// Bytes received.
    pub rx: u64,
    /// What the connections put on the wire, at their owner; of those that tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
}

impl Counts {
    /// Connections and attempts of every kind.
    pub fn connections(&self) -> u64 {
        // Recorded files may hold any number.
        [
            self.connects,
            self.failures,
            self.unaccepted,
            self.pre_existing,
        ]
        .into_iter()
        .fold(self.accepts, u64::saturating_add)
    }

    /// Bytes both ways.
    pub fn bytes(&self) -> u64 {
        self.tx.saturating_add(self.rx)
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.accepts, other.accepts);
        add(&mut self.connects, other.connects);
        add(&mut self.failures, other.failures);
        add(&mut self.unaccepted, other.unaccepted);
        add(&mut self.pre_existing, other.pre_existing);
        add(&mut self.open, other.open);
        add(&mut self.tx, other.tx);
        add(&mut self.rx, other.rx);
        if let Some(more) = other.wire {
            *self.wire.get_or_insert_default() += more;
        }
    }
}

/// One service port. For inbound connections it is the local port they came to; for outbound ones
/// the remote port they went to, since their local port is a throw-away number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PortRow {
    /// Host; absent where all are of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Arc<str>>,
    /// The port.
    pub port: u16,
    /// Whose port it is: `inbound` = ours, `outbound` = the peer's.
    pub direction: Direction,
    /// Network namespace.
    pub netns: u32,
    /// Rows were added up before this one was made, perhaps one of the same thing: these counts
    /// may lack what [`Other::most_missing`] says.
    #[serde(skip_serializing_if = "is_false")]
    pub at_least: bool,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// One process. Connections are counted at their owner, bytes at the process that moved them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessRow {
    /// Host; absent where all are of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Arc<str>>,
    /// Process id; absent in the row for what no process is known for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// `comm` of its leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<CompactString>,
    /// Effective uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Start of the process, nanoseconds since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ns: Option<u64>,
    /// Who it is, where that is known.
    #[serde(flatten)]
    pub known: Option<Box<KnownProcess>>,
    /// Rows were added up before this one was made, perhaps one of the same thing: these counts
    /// may lack what [`Other::most_missing`] says.
    #[serde(skip_serializing_if = "is_false")]
    pub at_least: bool,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Who a process is, as far as tables tell it; as in [`crate::record::ProcessDetails`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KnownProcess {
    /// Path of the program it executes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<CompactString>,
    /// Name of its effective user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<CompactString>,
    /// systemd unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<CompactString>,
    /// Container it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

/// One peer address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerRow {
    /// Host; absent where all are of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Arc<str>>,
    /// The address; absent in the row for connections whose peer was not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// What is known of it, where somebody asked.
    #[serde(flatten)]
    pub known: Option<Arc<Peer>>,
    /// Network namespace.
    pub netns: u32,
    /// Rows were added up before this one was made, perhaps one of the same thing: these counts
    /// may lack what [`Other::most_missing`] says.
    #[serde(skip_serializing_if = "is_false")]
    pub at_least: bool,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Rows of one table that were added up to keep it within `--max-rows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Other {
    /// How many. What was busy several times may have had several.
    pub rows: u64,
    /// What a row marked `at_least` lacks at most.
    pub most_missing: Missing,
    /// Their counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The most that can be missing from a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Connections and attempts of every kind.
    pub connections: u64,
    /// Bytes sent.
    pub tx: u64,
    /// Bytes received.
    pub rx: u64,
}

/// What is in the total and in no row of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Others {
    /// Of the ports; `None` = every row is there and exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Other>,
    /// Of the processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Other>,
    /// Of the peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Other>,
}

impl Others {
    /// Whether every table has all its rows.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Everything known not to have been seen, counted where it happened, and what was merely late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// News that found the ring full and came later; nothing is missing because of them.
    pub late_news: u64,
    /// Connections kept only as sums: in the totals, port and process tables, without their peer.
    pub folded_connections: u64,
    /// `--events io` records that found the ring full; their bytes are in the totals.
    pub io_records: u64,
    /// Inbound connections without a table entry: in no table.
    pub untracked_inbound: u64,
    /// Outbound attempts without a table entry: in no table.
    pub untracked_outbound: u64,
    /// Connections older than the run without a table entry: in no table.
    pub untracked_older: u64,
    /// Accept calls whose connection has no table entry.
    pub untracked_accepts: u64,
    /// Bytes sent on sockets without a table entry: in no table.
    pub untracked_tx: u64,
    /// Bytes received on sockets without a table entry: in no table.
    pub untracked_rx: u64,
    /// Connection ends dropped when every kernel map was full.
    pub lost_connections: u64,
    /// Their bytes sent.
    pub lost_tx: u64,
    /// Their bytes received.
    pub lost_rx: u64,
    /// Times a further process of a connection found no room; its bytes are unattributed.
    pub users_full: u64,
    /// Processes that should have been followed: more ran at a time than there is room for.
    pub not_followed: u64,
    /// Kernel probe runs skipped because one was already running on that CPU.
    pub missed_probes: u64,
    /// Ring records of a kind this program does not know.
    pub unknown_records: u64,
    /// Records dropped because the output could not keep up.
    pub output_dropped: u64,
}

impl Loss {
    /// Connections and attempts that are in no record of their own.
    pub fn connections(&self) -> u64 {
        [
            self.folded_connections,
            self.untracked_inbound,
            self.untracked_outbound,
            self.untracked_older,
            self.lost_connections,
        ]
        .iter()
        .sum()
    }

    /// Whether something is missing from the totals or the output (lateness is not loss).
    pub fn is_lossy(&self) -> bool {
        let late_only = Self {
            late_news: self.late_news,
            ..Self::default()
        };
        *self != late_only
    }
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// [`crate::record::SCHEMA_VERSION`].
    pub v: u8,
    /// Always `summary`.
    pub event: &'static str,
    /// When the run ended.
    pub time: WallTime,
    /// Host name; absent where the rows have theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Arc<str>>,
    /// Facts of a run that traced; absent where only its records are known.
    #[serde(flatten)]
    pub traced: Option<Traced>,
    /// By service port, busiest first.
    pub ports: Vec<PortRow>,
    /// By process, busiest first.
    pub processes: Vec<ProcessRow>,
    /// By peer, busiest first.
    pub peers: Vec<PeerRow>,
    /// Rows beyond `--max-rows`, added up; absent if there were none.
    #[serde(skip_serializing_if = "Others::is_empty")]
    pub other: Others,
    /// The grand total: of each table, its rows and its other ones.
    pub total: Counts,
    /// Bytes of the total whose process is not known: the process table's row without a pid.
    pub unattributed_tx: u64,
    /// Likewise, received.
    pub unattributed_rx: u64,
    /// What is missing; absent where only the records are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// What the kernel counted; absent where a filter hides part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Reconciliation>,
    /// What was read, where the records were recorded ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replayed>,
    /// How often was looked, where the records are sampled ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled: Option<Sampled>,
}

/// How a run traced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Traced {
    /// How long the hooks were attached, nanoseconds.
    pub duration_ns: u64,
    /// How the hooks were attached.
    pub backend: String,
    /// Who gets the bytes: `process` = who moved them, `socket` = who connected or accepted.
    pub accounting: &'static str,
    /// Optional programs that could not be attached: the start said what is not seen without them.
    pub not_attached: Vec<&'static str>,
}

/// How a run sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sampled {
    /// How often the sockets were looked at.
    pub rounds: u64,
    /// From one look to the next, nanoseconds.
    pub interval_ns: u64,
    /// Records dropped because the output could not keep up.
    pub output_dropped: u64,
}

/// What a replay read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Files that were read, to their end or to where they are damaged.
    pub files: u64,
    /// Files that could not be opened.
    pub unopened_files: u64,
    /// Files that end early or are damaged, by their compression or by a read error.
    pub damaged_files: u64,
    /// Files left out because they begin like one that was read.
    pub repeated_files: u64,
    /// Records, those that the filters left out included.
    pub records: u64,
    /// Records that passed the filters.
    pub kept: u64,
    /// Records left out because the same one was just read.
    pub repeated: u64,
    /// Lines cut short, as by a crash.
    pub truncated: u64,
    /// Lines that are no record of this schema version.
    pub foreign: u64,
    /// Rows of intervals, which the records add up to anyway.
    #[serde(skip_serializing_if = "is_zero")]
    pub intervals: u64,
    /// Time of the earliest record kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<WallTime>,
    /// Time of the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<WallTime>,
}

impl Replayed {
    /// Whether something that was there to be read was not.
    pub fn is_short(&self) -> bool {
        let Self {
            unopened_files,
            damaged_files,
            truncated,
            foreign,
            ..
        } = *self;
        [unopened_files, damaged_files, truncated, foreign] != [0; 4]
    }
}
