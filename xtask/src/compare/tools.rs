//! The tools, and what each says that it shows.

use super::{
    measure::Measure::{
        self, Accepts, Addresses, Attempts, Connects, Ends, Failures, Movers, Processes, Received,
        Sent, Unaccepted,
    },
    plan::Ready,
    rows::{Format, TCPCONNECT, TCPLIFE, TCPTOP, TCPTRACER},
};

/// Where conntracer leaves its summary in the VM.
pub(crate) const SUMMARY: &str = "/tmp/summary.json";

/// A column of the table.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// With these it shows most.
    pub(crate) options: &'static [&'static str],
    pub(crate) claims: &'static [Measure],
    pub(crate) output: Output,
}

pub(crate) enum Output {
    /// A JSON summary.
    Summary,
    /// Lines for people.
    Rows(Format),
}

pub(crate) const TOOLS: [Tool; 5] = [
    Tool {
        name: "conntracer",
        options: &["--quiet", "--summary", SUMMARY],
        claims: &[
            Accepts, Connects, Attempts, Failures, Unaccepted, Ends, Sent, Received, Processes,
            Movers, Addresses,
        ],
        output: Output::Summary,
    },
    Tool {
        name: "tcptop",
        // All rows, and one interval for everything: what it prints is cut to kilobytes each time.
        options: &["-C", "-S", "-r", "10240", "86400", "1"],
        claims: &[Sent, Received, Movers, Addresses],
        output: Output::Rows(TCPTOP),
    },
    Tool {
        name: "tcplife",
        options: &["-w"],
        claims: &[Ends, Sent, Received, Processes, Addresses],
        output: Output::Rows(TCPLIFE),
    },
    Tool {
        name: "tcptracer",
        options: &[],
        claims: &[Accepts, Connects, Ends, Processes, Addresses],
        output: Output::Rows(TCPTRACER),
    },
    Tool {
        name: "tcpconnect",
        options: &["-s"],
        claims: &[Attempts, Processes, Addresses],
        output: Output::Rows(TCPCONNECT),
    },
];

impl Tool {
    /// libbpf-tools print nothing before they have to, but handle SIGINT once they are attached.
    pub(crate) fn ready(&self) -> Ready {
        match self.output {
            Output::Summary => Ready::Prints("ready: ".to_owned()),
            Output::Rows(_) => Ready::HandlesInterrupt,
        }
    }
}
