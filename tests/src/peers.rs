//! Tools beside each other: which workload the host wants traced by which tool in a VM, and what
//! that said.
//!
//! `cargo xtask compare` includes this file: both sides have the same idea of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where the host leaves the runs, in JSON.
pub const RUNS: &str = "/runs.json";

/// One workload under one tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What the host knows it by.
    pub name: String,
    /// The workload: scenario and options.
    pub workload: String,
    /// Whether the workload first waits, and the tool starts in between.
    pub gate: bool,
    /// The tool's command.
    pub tool: Vec<String>,
    /// How the tool shows that its programs are attached.
    pub ready: Ready,
    /// A JSON file that it leaves.
    pub summary: Option<String>,
}

/// How a tool shows that its programs are attached; it then waits for news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// It prints these words.
    Prints(String),
    /// It handles SIGINT, which it has not done before.
    HandlesInterrupt,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why the tool did not get ready, if so: then there was no traffic.
    pub refusal: Option<String>,
    /// The lines of the workload.
    pub truth: Vec<Value>,
    /// The lines of the tool, on whichever output.
    pub output: Vec<String>,
    /// The JSON file that it left, or null.
    pub summary: Value,
}

/// Where the host leaves what [`Measured`] tools there are, in JSON.
pub const MEASURED: &str = "/measured.json";

/// A tool beside which system calls are measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// What the host knows it by.
    pub name: String,
    /// The tool's command; empty for no tool.
    pub tool: Vec<String>,
    /// How the tool shows that its programs are attached.
    pub ready: Ready,
}

/// What was found out beside a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// What the calls took, and then what the tool's programs in the kernel took when the same calls
    /// were made again.
    Times(Times, Vec<Program>),
    /// Why it does not run here.
    Refusal(String),
}

/// A program in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// At most 15 bytes of its name.
    pub name: String,
    /// How often it ran.
    pub runs: u64,
    /// How long, in nanoseconds, with what the kernel needs to look at the clock twice.
    pub ns: u64,
}

/// What each call took, in nanoseconds: one number a batch of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// `send`
    pub send: Vec<u64>,
    /// `recv`
    pub receive: Vec<u64>,
    /// `connect`
    pub connect: Vec<u64>,
    /// `accept`
    pub accept: Vec<u64>,
    /// `close` of the end that closes first.
    pub close_first: Vec<u64>,
    /// `close` of the other end; with it TCP is over for both.
    pub close_second: Vec<u64>,
}

impl Times {
    /// All calls with their names.
    pub fn named(&self) -> [(&'static str, &Vec<u64>); 6] {
        [
            ("send", &self.send),
            ("receive", &self.receive),
            ("connect", &self.connect),
            ("accept", &self.accept),
            ("close, first", &self.close_first),
            ("close, second", &self.close_second),
        ]
    }
}
