//! What the user asked for, checked.

use std::path::PathBuf;
use std::time::Duration;

use super::view::Filter;
use crate::options::PeerOptions;

/// Relations kept unless `--map-max` says otherwise: about 200 MB on disk.
pub const DEFAULT_MAX_RELATIONS: u64 = 1_000_000;
/// Most relations.
pub const MAX_MAX_RELATIONS: u64 = 100_000_000;
/// Time between two saves unless `--save-every` says otherwise.
pub const DEFAULT_SAVE_EVERY: Duration = Duration::from_secs(30);
/// Time between two reports unless `--every` says otherwise.
pub const DEFAULT_REPORT_EVERY: Duration = Duration::from_secs(30);

/// What keeps a map within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Relations kept; at least 1.
    pub max_relations: u64,
    /// How long a relation is kept that is not seen again; `None` = for ever.
    pub forget: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_relations: DEFAULT_MAX_RELATIONS,
            forget: None,
        }
    }
}

/// Of a live run: where its map is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The file that keeps it; `None` = only for this run.
    pub state: Option<PathBuf>,
    /// Time between two saves.
    pub save_every: Duration,
    /// Bounds.
    pub limits: Limits,
    /// A file that shows it.
    pub report: Option<Report>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            state: None,
            save_every: DEFAULT_SAVE_EVERY,
            limits: Limits::default(),
            report: None,
        }
    }
}

impl Live {
    /// Whether a map is made at all.
    pub fn is_wanted(&self) -> bool {
        self.state.is_some() || self.report.is_some()
    }
}

/// A file that shows the map while it grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Whether each report is added to it; otherwise the newest replaces it.
    pub append: bool,
    /// Time between two reports.
    pub every: Duration,
    /// What it looks like.
    pub shape: Shape,
    /// Whether loopback and unspecified addresses are shown.
    pub loopback: bool,
}

/// What a map looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How it is written.
    pub format: Format,
    /// What a row is.
    pub view: View,
}

impl Shape {
    /// Whether there is a place for what is told of peers beyond their addresses.
    pub fn tells_of_peers(self) -> bool {
        match self.format {
            Format::Table | Format::Csv | Format::Dot | Format::Mermaid => true,
            // Classes are sums, without an address.
            Format::Json => self.view != View::ByClass,
            // Whoever reads them wants addresses and nothing else.
            Format::List | Format::IpJson => false,
        }
    }
}

/// How a map is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
    /// Comma-separated values.
    Csv,
    /// A Graphviz graph.
    Dot,
    /// A Mermaid flowchart.
    Mermaid,
    /// The addresses of peers, one a line.
    List,
    /// The addresses of peers as a JSON array.
    IpJson,
}

impl Format {
    /// The one that the end of a file's name stands for.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "txt" => Self::Table,
            "json" | "jsonl" => Self::Json,
            "csv" => Self::Csv,
            "dot" | "gv" => Self::Dot,
            "mmd" | "mermaid" => Self::Mermaid,
            _ => return None,
        })
    }
}

/// What a row of a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A service with all its peers.
    OneToMany,
    /// A relation.
    OneToOne,
    /// All relations with addresses of a class.
    ByClass,
}

/// `conntracer map`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The file that keeps the map.
    pub state: PathBuf,
    /// What is done with it.
    pub action: Action,
}

/// What is done with a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is shown.
    Show {
        /// What it looks like.
        shape: Shape,
        /// Which relations.
        filter: Filter,
        /// What is told of peers beyond their addresses.
        peers: PeerOptions,
        /// Rows a service in a table; `None` = all.
        top: Option<usize>,
    },
    /// Addresses are added to it.
    Import {
        /// The file they are in.
        file: PathBuf,
        /// Bounds.
        max_relations: u64,
    },
}
