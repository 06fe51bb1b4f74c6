//! A command that is run to be traced. It is forked before this process has threads and handlers for
//! signals, waits until it is followed, and then executes its program.

mod begin;
mod signals;
mod user;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::bpf::follow::Followed;
use crate::say::say;
use crate::stop::Stop;
use crate::{exit, follow};
pub use begin::Failure;
use begin::Waiting;
use signals::Signals;
pub use user::NotRoot;

/// How often the descendants of a command that ended are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How much later than the command we may hear of a signal that the terminal sends to both.
const BOTH: Duration = Duration::from_millis(50);

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, looked for in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Whether root stays root, instead of who called sudo.
    pub as_root: bool,
    /// Whether the run lasts until all descendants have ended, too.
    pub wait_all: bool,
}

impl CommandLine {
    /// Whether it can be run as it is asked for.
    pub fn check(&self) -> Result<(), NotRoot> {
        user::check(self.as_root)
    }
}

/// A command that was started, and waits to begin, or runs, or has ended.
#[derive(Debug)]
pub struct Command {
    pid: Pid,
    process: AsyncFd<OwnedFd>,
    waiting: Waiting,
    signals: Signals,
    status: Option<WaitStatus>,
    /// Why it cannot be waited for.
    lost: Option<io::Error>,
    /// When to look at its descendants.
    looks: Option<Interval>,
}

impl Command {
    /// Starts it. To be called before this process starts a thread or handles a signal, and inside a
    /// tokio runtime. Dropping it before it [began](Self::begin) ends it.
    pub fn start(line: &CommandLine, hangup_ignored: bool) -> anyhow::Result<Self> {
        let user = user::choose(line.as_root).context("cannot tell whom to run the command as")?;
        let (pid, process, waiting) =
            begin::fork(line, user.as_ref()).context("cannot start a process for the command")?;
        let signals = Signals::listen(hangup_ignored).context("cannot listen for signals")?;
        let looks = line.wait_all.then(|| {
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        });
        // SAFETY: an `OwnedFd` keeps its descriptor, and lives in the `AsyncFd`.
        let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
        Ok(Self {
            pid,
            process: process.map_err(io::Error::from)?,
            waiting,
            signals,
            status: None,
            lost: None,
            looks,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// Has it execute its program. After a failure it is gone.
    pub fn begin(&mut self) -> Result<(), Failure> {
        let result = self.waiting.begin();
        if result.is_err() {
            let _ = waitpid(Some(self.pid), WaitOptions::empty());
        }
        result
    }

    /// Waits for its end and, if asked for, that of its descendants; these no longer than until the
    /// next signal. Safe to cancel.
    pub async fn over(&mut self, stop: &mut Stop, followed: Option<&Followed>) {
        self.ended(stop).await;
        let (Some(looks), Some(followed)) = (&mut self.looks, followed) else {
            return;
        };
        loop {
            tokio::select! {
                biased;
                _ = stop.next() => return,
                _ = looks.tick() => {}
            }
            match follow::all_ended(followed) {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    say(&format!(
                        "note: cannot wait for what the command started: {error}"
                    ));
                    return;
                }
            }
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.status.is_some()
    }

    /// Waits for its end and passes signals on meanwhile. Safe to cancel.
    pub async fn ended(&mut self, stop: &mut Stop) {
        while self.status.is_none() && self.lost.is_none() {
            tokio::select! {
                biased;
                signal = stop.next() => self.pass_on(signal),
                signal = self.signals.next() => self.pass_on(signal),
                ready = self.process.readable() => match ready {
                    Ok(_) => self.reap().await,
                    Err(error) => self.lost = Some(error),
                }
            }
        }
    }

    async fn reap(&mut self) {
        match waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => self.status = Some(status),
            // Another process, a debugger, waits for it first.
            Ok(None) => sleep(LOOK).await,
            Err(error) => self.lost = Some(error.into()),
        }
    }

    /// After its end: if Ctrl-C ended it, waits for the signal that we get ourselves, which must not be
    /// taken for the wish to end what comes now.
    pub async fn interrupt_is_over(&self, stop: &mut Stop) {
        let signal = self.status.and_then(WaitStatus::terminating_signal);
        if signal == Some(Signal::INT.as_raw()) && !self.signals.has_seen(Signal::INT) {
            let _ = timeout(BOTH, stop.next()).await;
        }
    }

    /// What the terminal sends, the command has got itself.
    fn pass_on(&mut self, signal: Signal) {
        if self.signals.is_for_us_alone(signal)
            && let Err(error) = kill_process(self.pid, signal)
        {
            say(&format!(
                "note: cannot pass signal {} on to the command: {error}",
                signal.as_raw()
            ));
        }
    }

    /// The exit code of this program: the command's, if all is well with ours.
    pub fn exit_code(&self, ours: u8) -> u8 {
        if let Some(error) = &self.lost {
            say(&format!("error: cannot wait for the command: {error}"));
            return exit::FAILURE;
        }
        match self.status {
            Some(status) if ours == exit::CLEAN => code(status),
            _ => ours,
        }
    }
}

/// As shells tell how a command ended.
fn code(status: WaitStatus) -> u8 {
    const KILLED: i32 = 128;
    let killed = status.terminating_signal().map(|signal| KILLED + signal);
    let code = status.exit_status().or(killed);
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(exit::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::zombie_processes, reason = "it is waited for by its id")]
    fn status_of(script: &str) -> WaitStatus {
        let child = std::process::Command::new("sh")
            .args(["-c", script])
            .spawn()
            .unwrap();
        let (_, status) = waitpid(Some(Pid::from_child(&child)), WaitOptions::empty())
            .unwrap()
            .unwrap();
        status
    }

    #[test]
    fn a_command_ends_as_shells_say() {
        assert_eq!(code(status_of("exit 0")), 0);
        assert_eq!(code(status_of("exit 255")), 255);
        assert_eq!(code(status_of("kill -TERM $$")), 143);
        assert_eq!(code(status_of("kill -KILL $$")), 137);
    }
}
