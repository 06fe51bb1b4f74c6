//! The load's process, which runs for as long as it is told and says what it did.

use std::{
    fmt,
    io::{BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Serialize, de::DeserializeOwned};

use super::report::{Ran, Ready};

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Short connections
    Churn,
    /// Requests and answers over 16 connections
    PingPong,
    /// 64 KiB after 64 KiB over one connection
    Bulk,
    /// Ping-pong beside 10,000 idle connections
    Idle,
}

impl Kind {
    /// As a heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Churn => "churn",
            Self::PingPong => "ping-pong",
            Self::Bulk => "bulk",
            Self::Idle => "10,000 idle",
        }
    }

    /// What is counted as one.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Churn => "connection",
            Self::PingPong | Self::Idle => "request",
            Self::Bulk => "64 KiB",
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Self::Churn => "churn",
            Self::PingPong => "ping-pong",
            Self::Bulk => "bulk",
            Self::Idle => "idle",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// A load that waits for commands; it ends with this.
#[derive(Debug)]
pub(crate) struct Load {
    kind: Kind,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    ready: Ready,
}

impl Load {
    /// Starts it on a core.
    pub(crate) fn start(program: &Path, kind: Kind, core: usize) -> Result<Self> {
        let mut command = Command::new(program);
        command.args([kind.argument(), "--core", &core.to_string()]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("no pipe from the load")?;
        let mut stdout = BufReader::new(stdout);
        let ready = read(&mut stdout, kind)?;
        Ok(Self {
            kind,
            child,
            stdin,
            stdout,
            ready,
        })
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Lets it work for a time.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Ran> {
        let stdin = self.stdin.as_mut().context("the load has ended")?;
        writeln!(stdin, "run {}", time.as_millis())
            .with_context(|| format!("the load {} has ended", self.kind))?;
        let ran: Ran = read(&mut self.stdout, self.kind)?;
        ensure!(ran.ops > 0, "the load {} did nothing", self.kind);
        Ok(ran)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

fn read<T: DeserializeOwned>(stdout: &mut impl std::io::BufRead, kind: Kind) -> Result<T> {
    let mut line = String::new();
    stdout
        .read_line(&mut line)
        .with_context(|| format!("the load {kind} is not readable"))?;
    ensure!(!line.is_empty(), "the load {kind} has failed");
    serde_json::from_str(&line).with_context(|| format!("the load {kind} said {line:?}"))
}
