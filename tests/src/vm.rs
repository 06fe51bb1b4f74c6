//! A test VM: what the host tells its first process, and what that says back on the console.
//!
//! `cargo xtask vm` includes this file: both sides have the same idea of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where the host leaves the plan, in JSON.
pub const PLAN: &str = "/plan.json";

/// What to run in the VM.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Kernel modules to load, in this order.
    pub modules: Vec<String>,
    /// Whether to mount tracefs; if not, the tracer has to mount it for itself.
    pub tracefs: bool,
    /// Arguments of a run of the tracer before the tests, to hear what it says of itself.
    pub tracer: Option<Vec<String>>,
    /// The environment of the tests.
    pub environment: BTreeMap<String, String>,
    /// Test binaries, by the names that the console shows.
    pub tests: Vec<(String, String)>,
    /// Arguments of each test binary.
    pub arguments: Vec<String>,
}

/// What the first process says, one line each; all else on the console is by others.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The tracer ran, and said this on standard error. If not well, no test begins.
    Tracer {
        /// Whether it ended well.
        well: bool,
        /// Standard error, line by line.
        lines: Vec<String>,
    },
    /// A test binary begins.
    Begin(String),
    /// A test binary ended: its name, and how, if not well.
    End(String, Option<String>),
    /// A program of the plan found something out: about what, and what.
    Result(String, Value),
    /// The VM cannot do what it should.
    Error(String),
    /// All test binaries have ended, and the VM powers off.
    Done,
}

const MARK: &str = "@vm ";

/// The line for the console.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{MARK}{json}")
    }
}

impl Said {
    /// What a line of the console says, if the first process wrote it.
    pub fn parse(line: &str) -> Option<Self> {
        // A kernel message without its line end may stand before it.
        let (_, json) = line.trim_end().split_once(MARK)?;
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let said = Said::End("churn".into(), Some("exit status: 101".into()));
        let line = format!("{said}\r");
        assert_eq!(Said::parse(&line), Some(said));
        assert_eq!(Said::parse("[ 1.0] x@vm \"done\"\n"), Some(Said::Done));
        assert_eq!(Said::parse("test a ... ok"), None);
        assert_eq!(Said::parse("@vm nonsense"), None);
    }
}
