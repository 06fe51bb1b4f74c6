//! Runs other people's tools, and ours, in a VM.

use std::fs::{File, read_to_string};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::harness::{PATIENCE, Running};
use crate::peers::Ready;

/// How often a tool is looked at, which does not say when it has nothing more to do.
const PAUSE: Duration = Duration::from_millis(20);
/// A tool that was seen asleep so often has nothing to do: it wakes up for each event.
const ASLEEP: u32 = 50;

/// A tool that writes to a file: a terminal would slow it down.
#[derive(Debug)]
pub struct Tool {
    running: Running,
    output: NamedTempFile,
}

impl Tool {
    /// Starts a command. Its standard input is open while it runs.
    pub fn start(line: &[String]) -> Result<Self> {
        let (program, arguments) = line.split_first().context("a tool without a name")?;
        let output = NamedTempFile::new()?;
        let file = File::options().append(true).open(output.path())?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(file.try_clone()?).stderr(file);
        let running = Running::start(&mut command);
        Ok(Self { running, output })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Returns why it does not get ready, if so.
    pub fn wait_until_ready(&mut self, ready: &Ready) -> Result<Option<String>> {
        let since = Instant::now();
        loop {
            let is_ready = match ready {
                Ready::Prints(words) => self.text()?.contains(&**words),
                Ready::HandlesInterrupt => handles_interrupt(self.running.pid())?,
            };
            if is_ready {
                self.wait_until_asleep()?;
                return Ok(None);
            }
            if let Some(status) = self.running.child().try_wait()? {
                return Ok(Some(format!("it ended at once, with {status}")));
            }
            if since.elapsed() > PATIENCE {
                return Ok(Some("it does not get ready".to_owned()));
            }
            sleep(PAUSE);
        }
    }

    /// Waits until it has nothing to do.
    pub fn wait_until_asleep(&self) -> Result<()> {
        let since = Instant::now();
        let mut seen = 0;
        while seen < ASLEEP {
            if since.elapsed() > PATIENCE {
                bail!("it does not come to rest");
            }
            sleep(PAUSE);
            let asleep = is_asleep(self.running.pid())?;
            seen = if asleep { seen + 1 } else { 0 };
        }
        Ok(())
    }

    /// Stops it as Ctrl-C does, and returns its lines.
    pub fn stop(mut self) -> Result<Vec<String>> {
        if self.running.child().try_wait()?.is_none() {
            self.running.signal(Signal::INT);
            if self.running.wait().is_none() {
                bail!("it does not end");
            }
        }
        let text = self.text()?;
        Ok(text
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect())
    }

    fn text(&self) -> Result<String> {
        let text = std::fs::read(self.output.path())?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Whether a process has a handler for SIGINT; one that is gone has none.
fn handles_interrupt(pid: u32) -> Result<bool> {
    let Ok(status) = read_to_string(format!("/proc/{pid}/status")) else {
        return Ok(false);
    };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let Some(caught) = caught else {
        return Ok(false);
    };
    let caught = u64::from_str_radix(caught.trim(), 16)?;
    Ok(caught & (1 << (Signal::INT.as_raw() - 1)) != 0)
}

/// Whether a process waits for something to happen.
fn is_asleep(pid: u32) -> Result<bool> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).context("it has ended")?;
    // The name before it may have any character in it.
    let state = stat.rsplit_once(')');
    Ok(state.is_some_and(|(_, rest)| rest.starts_with(" S ")))
}
