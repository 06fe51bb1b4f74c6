//! What the user asked for, checked: nothing after this needs to doubt it.

pub mod filter;
pub mod netns;
pub mod peers;
pub mod ready_fd;
pub mod values;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::bpf::programs::{Accounting, Backend};
use crate::command::CommandLine;
use crate::interval;
use crate::list::place::Place;
use crate::map;
use crate::sink::live::time::TimeStyle;

pub use filter::FilterOptions;
pub use peers::PeerOptions;

/// A run's options.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own on the command line"
)]
pub struct Options {
    /// Which connections.
    pub filter: FilterOptions,
    /// What to run and follow; stdout is its own then. Excludes a duration.
    pub command: Option<CommandLine>,
    /// When to stop by itself; longer than zero.
    pub duration: Option<Duration>,
    /// Shape of the records.
    pub format: OutputFormat,
    /// Where the records go; `None` is stdout.
    pub output: Option<PathBuf>,
    /// Where the tables go; `None` is stdout or stderr, by `format`.
    pub summary: Option<PathBuf>,
    /// No records, only the tables.
    pub quiet: bool,
    /// Loss or a missing feature makes the run fail.
    pub strict: bool,
    /// Size of the ring buffer: a power-of-two number of pages.
    pub ring_bytes: u32,
    /// Entries of the connection table, from 1 to [`values::MAX_MAX_CONNECTIONS`].
    pub max_connections: u32,
    /// Gets a line once the hooks are attached.
    pub ready_fd: Option<OwnedFd>,
    /// How the hooks are attached; `None` = the best that can be.
    pub backend: Option<Backend>,
    /// Look at the sockets now and then instead of attaching any hooks.
    pub poll: Option<Poll>,
    /// Where bytes come from; [`Accounting::Socket`] excludes [`Events::Io`].
    pub accounting: Accounting,
    /// Whether accepts are seen at the end of the system call.
    pub accept_hooks: AcceptHooks,
    /// How much is told of a connection between its ends.
    pub events: Events,
    /// What the TIME column of live lines shows.
    pub time: TimeStyle,
    /// Tables of what happens meanwhile.
    pub interval: Option<interval::Options>,
    /// Rows a table; at least 1.
    pub top: usize,
    /// Rows kept a table; at least 1.
    pub max_rows: usize,
    /// Tell what each connection put on the wire.
    pub wire: bool,
    /// Show the log lines of the kernel side.
    pub debug: bool,
    /// What is told of peers beyond their addresses.
    pub peers: PeerOptions,
    /// What is kept and shown of who uses what.
    pub map: map::options::Live,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            filter: FilterOptions::default(),
            command: None,
            duration: None,
            format: OutputFormat::Live,
            output: None,
            summary: None,
            quiet: false,
            strict: false,
            ring_bytes: values::DEFAULT_RING_BYTES,
            max_connections: values::DEFAULT_MAX_CONNECTIONS,
            ready_fd: None,
            backend: None,
            poll: None,
            accounting: Accounting::Process,
            accept_hooks: AcceptHooks::Auto,
            events: Events::Traffic,
            time: TimeStyle::Wall,
            interval: None,
            top: values::DEFAULT_TOP,
            max_rows: values::DEFAULT_MAX_ROWS,
            wire: false,
            debug: false,
            peers: PeerOptions::default(),
            map: map::options::Live::default(),
        }
    }
}

impl Options {
    /// Whether stdout is ours.
    pub fn has_stdout(&self) -> bool {
        self.command.is_none()
    }

    /// Whether any record of a connection goes anywhere.
    pub fn has_records(&self) -> bool {
        let asked = self.interval.as_ref().is_none_or(|it| it.records);
        asked && (!self.quiet || self.output.is_some())
    }

    /// Whether more than the end of a connection matters: to who reads records or intervals, or to
    /// the map; or each has to be looked at here, because the kernel side cannot choose by program.
    pub fn has_stages(&self) -> bool {
        self.tells_more() || !self.filter.choice.exe.is_empty()
    }

    fn tells_more(&self) -> bool {
        self.has_records() || self.interval.is_some() || self.map.is_wanted()
    }

    /// Whether traffic of open connections is to be told.
    pub fn has_traffic(&self) -> bool {
        self.interval.is_some() || (self.tells_more() && self.events != Events::Lifecycle)
    }
}

/// How sockets are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// From one look to the next; longer than zero.
    pub interval: Duration,
    /// In these network namespaces; empty = in all that may be entered.
    pub places: Vec<Place>,
}

/// Shape of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// Aligned lines for people.
    Live,
    /// One JSON object a line.
    Json,
}

/// Whether the programs on the exits of the accept system calls are used. They name the process
/// that accepted at once, and cost every system call of every task 70 to 93 ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptHooks {
    /// Use them if this machine allows it.
    Auto,
    /// Fail if they cannot be used.
    On,
    /// Do without.
    Off,
}

/// How much is told of a connection between its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Events {
    /// Nothing.
    Lifecycle,
    /// Once a second, the traffic of each connection that had any.
    Traffic,
    /// Every call that moved bytes, too.
    Io,
}
