//! A command to run and follow, and processes to follow.

use std::ffi::OsString;

use super::{SELECT, UsageError};
use crate::command::CommandLine;
use crate::options::FilterOptions;

#[derive(clap::Args)]
pub(super) struct FollowArgs {
    #[arg(long, help_heading = SELECT,
        help = "With --pid: keep connections of all that these processes have started or will \
                start, too. Default: only those of these processes themselves.")]
    follow: bool,

    #[arg(long, help_heading = COMMAND,
        help = "Go on until all that the command started has ended, too. Default: until the \
                command itself has.")]
    wait_all: bool,

    #[arg(long, help_heading = COMMAND,
        help = "Run the command as root, also with sudo; only root can. Default: as the user who \
                called sudo.")]
    as_root: bool,

    #[arg(last = true, value_names = ["COMMAND", "ARGS"], help_heading = COMMAND,
        help = "Run this command, trace it and all that it starts, and end with it, with its exit \
                code (127: not found, 126: not executable, 128+N: killed by signal N). INT, TERM, \
                HUP, QUIT, USR1, USR2, ALRM and WINCH are passed on to it, and stdout is its own: \
                records and tables go to stderr, unless a file is named. Default: no command, \
                trace what runs.")]
    command: Vec<OsString>,
}

const COMMAND: &str = "Running a command";

impl FollowArgs {
    /// Whether anything is followed: what then cannot be had is named so.
    pub(super) fn is_given(&self) -> Option<&'static str> {
        if self.command.is_empty() {
            self.follow.then_some("--follow")
        } else {
            Some("a command after `--`")
        }
    }

    /// Puts what is followed into `filter`.
    pub(super) fn check(
        self,
        filter: &mut FilterOptions,
        has_duration: bool,
    ) -> Result<Option<CommandLine>, UsageError> {
        let has_command = !self.command.is_empty();
        let has_pids = !filter.pids.is_empty();
        let wrong = [
            (
                self.follow && has_command,
                "--follow is for --pid: a command after `--` is always followed",
            ),
            (
                self.follow && !has_pids,
                "--follow needs --pid: which processes to follow",
            ),
            (
                has_pids && has_command,
                "--pid cannot be had with a command after `--`, whose own processes are traced; \
                 leave one of them out",
            ),
            (
                has_duration && has_command,
                "--duration cannot be had with a command after `--`, with which the run ends; to \
                 limit it, run `timeout 10s COMMAND`",
            ),
            (
                self.wait_all && !has_command,
                "--wait-all needs a command after `--`",
            ),
            (
                self.as_root && !has_command,
                "--as-root needs a command after `--`",
            ),
        ];
        if let Some((_, problem)) = wrong.into_iter().find(|(is_so, _)| *is_so) {
            return Err(UsageError::message(problem));
        }
        filter.follow = self.follow || has_command;
        let mut words = self.command.into_iter();
        Ok(words.next().map(|program| CommandLine {
            program,
            arguments: words.collect(),
            as_root: self.as_root,
            wait_all: self.wait_all,
        }))
    }
}
