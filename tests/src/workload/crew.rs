//! Child processes of a workload: this program again, with another scenario.

use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::{io::BufRead as _, io::BufReader, io::Write as _};

use anyhow::{Context as _, bail};
use command_fds::{CommandFdExt as _, FdMapping};

use super::report::say;
use crate::truth::Line;

/// First descriptor number of those handed to a child.
pub(super) const FIRST_FD: i32 = 3;

/// Longest silence of all children together before the workload calls it a hang.
const SILENCE: Duration = Duration::from_mins(3);

/// This program with `arguments`; `fds` become descriptors 3, 4, … of the child.
pub(super) fn again(arguments: &[String], fds: Vec<OwnedFd>) -> anyhow::Result<Command> {
    // Not /proc/self/exe: the child would be called "exe".
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    let mappings = (FIRST_FD..).zip(fds);
    let mappings = mappings.map(|(child_fd, parent_fd)| FdMapping {
        parent_fd,
        child_fd,
    });
    command.fd_mappings(mappings.collect())?;
    Ok(command)
}

/// Splits a command line at spaces.
pub(super) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

enum Event {
    Said(Line),
    Garbled(String),
    Ended(usize),
}

struct Member {
    child: Child,
    stdin: Option<ChildStdin>,
    ended: bool,
}

/// The children, and all they say.
pub(super) struct Crew {
    members: Vec<Member>,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl Crew {
    pub(super) fn new() -> Self {
        let (sender, events) = channel();
        Self {
            members: Vec::new(),
            sender,
            events,
        }
    }

    /// Starts a child and returns its process id.
    pub(super) fn start(&mut self, line: &str, fds: Vec<OwnedFd>) -> anyhow::Result<u32> {
        let mut command = again(&words(line), fds)?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("no pipe from the child")?;
        let (sender, index) = (self.sender.clone(), self.members.len());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).map_or(Event::Garbled(line), Event::Said);
                // Nobody listens once the workload has failed.
                let _ = sender.send(event);
            }
            let _ = sender.send(Event::Ended(index));
        });
        let (pid, stdin) = (child.id(), child.stdin.take());
        self.members.push(Member {
            child,
            stdin,
            ended: false,
        });
        Ok(pid)
    }

    /// Writes a line to every child's standard input.
    pub(super) fn go(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(stdin) = &mut member.stdin {
                stdin.write_all(b"go\n")?;
            }
        }
        Ok(())
    }

    /// The same as [`Crew::go`] once a line comes on our own standard input, and without waiting
    /// for that.
    pub(super) fn go_after_a_line(&mut self) {
        let pipes: Vec<_> = self
            .members
            .iter_mut()
            .filter_map(|member| member.stdin.take())
            .collect();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Without a line the pipes just end, and the children say what is wrong.
            if std::io::stdin()
                .read_line(&mut line)
                .is_ok_and(|length| length > 0)
            {
                for mut pipe in pipes {
                    let _ = pipe.write_all(b"go\n");
                }
            }
        });
    }

    /// Repeats the next `count` (> 0) lines.
    pub(super) fn relay_lines(&mut self, count: u32) -> anyhow::Result<()> {
        let mut missing = count;
        self.relay(|_| {
            missing -= 1;
            missing == 0
        })
    }

    /// Passes on what the children say until `done` says so.
    pub(super) fn relay(&mut self, mut done: impl FnMut(&Line) -> bool) -> anyhow::Result<()> {
        loop {
            match self.events.recv_timeout(SILENCE) {
                Ok(Event::Said(line)) => {
                    say(&line)?;
                    if done(&line) {
                        return Ok(());
                    }
                }
                Ok(Event::Garbled(line)) => bail!("a child said: {line}"),
                Ok(Event::Ended(index)) => {
                    self.reap(index)?;
                    if self.members.iter().all(|member| member.ended) {
                        bail!("the children ended before they had said everything");
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    bail!(
                        "the children hang: nothing said for {} s",
                        SILENCE.as_secs()
                    )
                }
            }
        }
    }

    /// Ends every child's standard input, passes on the rest and waits for all.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            member.stdin = None;
        }
        while self.members.iter().any(|member| !member.ended) {
            match self.events.recv_timeout(SILENCE) {
                Ok(Event::Said(line)) => say(&line)?,
                Ok(Event::Garbled(line)) => bail!("a child said: {line}"),
                Ok(Event::Ended(index)) => self.reap(index)?,
                Err(_) => bail!("the children hang: they do not end"),
            }
        }
        Ok(())
    }

    fn reap(&mut self, index: usize) -> anyhow::Result<()> {
        let member = &mut self.members[index];
        member.ended = true;
        let status = member.child.wait()?;
        if !status.success() {
            bail!("child {} failed: {status}", member.child.id());
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in self.members.iter_mut().filter(|member| !member.ended) {
            // Only after a failure; nothing more can be done about another one.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}
