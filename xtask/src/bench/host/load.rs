//! The load's process, which runs for as long as it is told and says what it did.

use std::{fmt, path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::report::{Ran, Ready};
use crate::bench::partner::Partner;

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
pub(crate) struct Load {
    kind: Kind,
    partner: Partner,
    ready: Ready,
}

impl Load {
    /// Starts it on a core.
    pub(crate) fn start(program: &Path, kind: Kind, core: usize) -> Result<Self> {
        let mut command = Command::new(program);
        command.args([kind.argument(), "--core", &core.to_string()]);
        let (partner, ready) = Partner::start(&mut command)?;
        Ok(Self {
            kind,
            partner,
            ready,
        })
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Lets it work for a time.
    pub(crate) fn run(&mut self, time: Duration) -> Result<Ran> {
        let ran: Ran = self.partner.ask(&format!("run {}", time.as_millis()))?;
        let worked = ran.windows.iter().all(|window| window.ops > 0);
        ensure!(
            worked && !ran.windows.is_empty(),
            "the load {} did nothing",
            self.kind
        );
        Ok(ran)
    }
}
