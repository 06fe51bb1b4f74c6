//! The workloads of the comparison, and what each of them asks the tools.

use super::measure::Measure::{
    self, Accepts, Addresses, Attempts, Connects, Ends, Failures, Movers, Processes, Received,
    Sent, Unaccepted,
};

/// A row of the table.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What happens, for the reader.
    pub(crate) what: &'static str,
    /// Scenario and options of the program `workload`.
    pub(crate) workload: &'static str,
    /// Whether the tool starts while the workload waits.
    pub(crate) gate: bool,
    pub(crate) asks: &'static [Measure],
}

const BYTES: &[Measure] = &[Sent, Received];

pub(crate) const SCENES: [Scene; 15] = [
    Scene {
        name: "echo",
        what: "a server sends back what it gets",
        workload: "echo --connections 10 --bytes 15000",
        gate: false,
        asks: &[Accepts, Connects, Attempts, Ends, Sent, Received, Addresses],
    },
    Scene {
        gate: true,
        asks: &[Accepts, Connects, Attempts, Ends],
        ..scene(
            "waiting",
            "256 threads wait in `accept` since before the tool starts",
            "blocked --tasks 256",
        )
    },
    Scene {
        asks: &[Accepts, Connects, Attempts, Ends, Processes],
        ..scene(
            "churn",
            "short connections between 7 processes, some of them reset",
            "churn --connections 2000",
        )
    },
    scene(
        "partial",
        "non-blocking writes, of which a part fits",
        "path --name partial",
    ),
    scene("sendfile", "`sendfile`", "path --name sendfile"),
    scene("splice", "`splice` from a socket", "path --name splice_in"),
    scene(
        "peek",
        "`MSG_PEEK` ten times, then a read",
        "path --name peek",
    ),
    scene(
        "waitall",
        "`MSG_WAITALL`, data in ten pieces",
        "path --name waitall",
    ),
    Scene {
        asks: &[Sent, Received, Addresses],
        ..scene(
            "late",
            "reads after TCP has ended",
            "path --name read_after_close",
        )
    },
    scene("ktls", "kTLS", "path --name ktls"),
    Scene {
        asks: &[Accepts, Connects, Attempts, Ends, Sent, Received, Processes],
        ..scene("mptcp", "MPTCP", "path --name mptcp")
    },
    Scene {
        asks: &[Accepts, Connects, Attempts, Ends],
        ..scene(
            "mapped",
            "IPv4 connections to an IPv6 socket, half of them also from one",
            "echo --connections 10 --bytes 1000 --family mapped",
        )
    },
    Scene {
        asks: &[Connects, Attempts, Failures, Ends],
        ..scene("refused", "nobody listens", "refused")
    },
    Scene {
        asks: &[Accepts, Connects, Unaccepted],
        ..scene("unaccepted", "nobody calls `accept`", "never-accepted")
    },
    Scene {
        asks: &[Accepts, Connects, Processes, Sent, Received, Movers],
        ..scene(
            "passed",
            "two processes serve each connection, and one of three closes it",
            "path --name passed_descriptor --connections 6",
        )
    },
];

const fn scene(name: &'static str, what: &'static str, workload: &'static str) -> Scene {
    Scene {
        name,
        what,
        workload,
        gate: false,
        asks: BYTES,
    }
}
