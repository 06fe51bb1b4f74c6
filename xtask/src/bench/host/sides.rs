//! What is measured beside nothing: our modes, and the peers.

use std::time::Duration;

use super::load::Kind;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) name: &'static str,
    /// Its words; those in braces stand for paths and the load's process.
    pub(crate) command: &'static [&'static str],
    pub(crate) ready: Ready,
    /// Between its start and the first slice.
    pub(crate) settle: Duration,
    pub(crate) output: Output,
    /// Whether it has to run in the load's network namespace to see it.
    pub(crate) inside: bool,
    /// Whether it needs tracefs.
    pub(crate) tracefs: bool,
    pub(crate) loads: &'static [Kind],
    /// It slows the load so much that more pairs say nothing new.
    pub(crate) most_pairs: usize,
}

/// How a side shows that it sees the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Started,
    /// It says these words on standard error.
    Says(&'static str),
    /// It handles SIGINT, which it has not done before.
    HandlesInterrupt,
}

/// Where it tells what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Nothing that could be held against the load.
    Nothing,
    /// Our summary.
    Summary,
    /// Our summary, and a file of records.
    Records,
    /// Rows of `tcplife -w`.
    Tcplife,
    /// Counts of `tcpdump`.
    Tcpdump,
    /// Lines of `strace`.
    Strace,
}

use Kind::{Bulk, Churn, Idle, PingPong};

const ALL: &[Kind] = &[Churn, PingPong, Bulk, Idle];

/// What each side has unless it says otherwise.
const USUAL: Side = Side {
    name: "",
    command: &[],
    ready: Ready::Started,
    settle: Duration::from_millis(100),
    output: Output::Nothing,
    inside: false,
    tracefs: false,
    loads: ALL,
    most_pairs: usize::MAX,
};

const OURS: Side = Side {
    ready: Ready::Says("ready: "),
    output: Output::Summary,
    ..USUAL
};

/// What the kernel takes to run programs at all, at the hooks of our modes.
const FLOOR: Side = Side {
    ready: Ready::Says("ready: "),
    ..USUAL
};

/// The side that must come out at 1.
pub(crate) const NULL: &str = "nothing (sleep)";

/// In the order of the table. Our modes write tables only, but for `JSON`: that writes every record.
pub(crate) const SIDES: &[Side] = &[
    Side {
        name: NULL,
        command: &["sleep", "1000"],
        ..USUAL
    },
    Side {
        name: "empty programs, as socket",
        command: &["{floor}", "--hold", "--attach", "empty-socket"],
        ..FLOOR
    },
    Side {
        name: "empty programs, as process",
        command: &["{floor}", "--hold", "--attach", "empty-process"],
        ..FLOOR
    },
    Side {
        name: "socket, no accept hooks",
        command: &[
            "{conntracer}",
            "--quiet",
            "--summary",
            "{summary}",
            "--accounting",
            "socket",
            "--accept-hooks",
            "off",
        ],
        ..OURS
    },
    Side {
        name: "process, no accept hooks",
        command: &[
            "{conntracer}",
            "--quiet",
            "--summary",
            "{summary}",
            "--accept-hooks",
            "off",
        ],
        ..OURS
    },
    Side {
        name: "process, accept hooks",
        command: &["{conntracer}", "--quiet", "--summary", "{summary}"],
        ..OURS
    },
    Side {
        name: "JSON of every record",
        command: &[
            "{conntracer}",
            "--format",
            "json",
            "--output",
            "{records}",
            "--summary",
            "{summary}",
            "--accept-hooks",
            "off",
        ],
        output: Output::Records,
        ..OURS
    },
    Side {
        name: "tcplife",
        command: &["tcplife", "-w"],
        ready: Ready::HandlesInterrupt,
        output: Output::Tcplife,
        tracefs: true,
        ..USUAL
    },
    Side {
        name: "tcptop",
        command: &["tcptop", "-C", "1"],
        ready: Ready::HandlesInterrupt,
        tracefs: true,
        ..USUAL
    },
    Side {
        name: "tcpdump, headers",
        command: &["tcpdump", "-i", "lo", "-s", "96", "-w", "/dev/null", "tcp"],
        ready: Ready::Says("listening on"),
        output: Output::Tcpdump,
        inside: true,
        ..USUAL
    },
    Side {
        name: "nethogs -a -t",
        command: &["nethogs", "-a", "-t"],
        ready: Ready::HandlesInterrupt,
        // It opens the devices after that.
        settle: Duration::from_millis(500),
        inside: true,
        ..USUAL
    },
    Side {
        name: "ss -tinp each second",
        command: &[
            "sh",
            "-c",
            "while :; do ss -tinp > /dev/null; sleep 1; done",
        ],
        inside: true,
        ..USUAL
    },
    Side {
        name: "strace of accept",
        command: &[
            "strace",
            "-f",
            "-e",
            "trace=accept,accept4",
            "-o",
            "{records}",
            "-p",
            "{pid}",
        ],
        ready: Ready::Says(" attached"),
        output: Output::Strace,
        loads: &[Churn, PingPong],
        most_pairs: 4,
        ..USUAL
    },
];

/// Whether a side is one of our modes.
pub(crate) fn is_ours(name: &str) -> bool {
    let side = SIDES.iter().find(|side| side.name == name);
    side.is_some_and(|side| matches!(side.output, Output::Summary | Output::Records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_has_a_name_of_its_own_and_a_command() {
        for (number, side) in SIDES.iter().enumerate() {
            assert!(!side.name.is_empty() && !side.command.is_empty());
            let same = |other: &Side| other.name == side.name;
            assert_eq!(SIDES.iter().position(same), Some(number), "{}", side.name);
        }
        assert_eq!(SIDES[0].name, NULL);
    }

    #[test]
    fn our_modes_leave_a_summary() {
        for side in SIDES {
            let ours = matches!(side.output, Output::Summary | Output::Records);
            assert_eq!(ours, side.command.contains(&"{summary}"), "{}", side.name);
            assert_eq!(ours, side.command[0] == "{conntracer}", "{}", side.name);
        }
    }
}
