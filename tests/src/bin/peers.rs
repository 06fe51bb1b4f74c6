//! Runs workloads under tools, one after the other, in a VM of `cargo xtask compare`.

use std::fs::{File, read_to_string};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tests::generator::Workload;
use tests::harness::{PATIENCE, Running};
use tests::namespace::Namespace;
use tests::peers::{Outcome, RUNS, Ready, Run};
use tests::vm::Said;

/// How long a tool that has seen everything is left to print it. The tools look for news ten times
/// a second; on an emulated processor they are slow.
const SILENCE: Duration = Duration::from_secs(2);
/// How often something that tells nobody of its changes is looked at.
const PAUSE: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    let runs = std::fs::read(RUNS).with_context(|| format!("cannot read {RUNS}"))?;
    let runs: Vec<Run> = serde_json::from_slice(&runs).context("the runs are not understood")?;
    for run in runs {
        let outcome = outcome(&run).with_context(|| run.name.clone())?;
        say(&Said::Result(run.name, serde_json::to_value(outcome)?));
    }
    Ok(())
}

fn outcome(run: &Run) -> Result<Outcome> {
    let namespace = Namespace::new();
    let mut waiting = None;
    if run.gate {
        let mut workload = Workload::start(&namespace, &format!("{} --gate", run.workload));
        workload.ready();
        waiting = Some(workload);
    }
    let mut tool = Tool::start(&run.tool)?;
    if let Some(refusal) = tool.wait_until_ready(&run.ready)? {
        let output = tool.stop()?;
        return Ok(Outcome {
            refusal: Some(refusal),
            output,
            ..Outcome::default()
        });
    }
    let truth = if let Some(mut workload) = waiting {
        workload.go();
        workload.finish()
    } else {
        Workload::run(&namespace, &run.workload)
    };
    tool.wait_for_silence();
    let output = tool.stop()?;
    let summary = match &run.summary {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => Value::Null,
    };
    let truth = truth.lines().map(serde_json::to_value);
    Ok(Outcome {
        refusal: None,
        truth: truth.collect::<serde_json::Result<_>>()?,
        output,
        summary,
    })
}

/// A tool on a terminal of its own: into a pipe it would write only when it ends.
struct Tool {
    running: Running,
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Tool {
    fn start(line: &[String]) -> Result<Self> {
        let (program, arguments) = line.split_first().context("a tool without a name")?;
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let name = ptsname(&terminal, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = rustix::fs::open(name, flags, Mode::empty())?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(end.try_clone()?).stderr(end);
        let running = Running::start(&mut command);
        let text = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || read(terminal, &shared));
        Ok(Self {
            running,
            text,
            reader,
        })
    }

    /// Returns why it does not get ready, if so.
    fn wait_until_ready(&mut self, ready: &Ready) -> Result<Option<String>> {
        let since = Instant::now();
        loop {
            let is_ready = match ready {
                Ready::Prints(words) => self.text().contains(&**words),
                Ready::HandlesInterrupt => handles_interrupt(self.running.pid())?,
            };
            if is_ready {
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

    fn wait_for_silence(&self) {
        let mut length = 0;
        let mut since = Instant::now();
        while since.elapsed() < SILENCE {
            sleep(PAUSE);
            let now = self.text().len();
            if now != length {
                (length, since) = (now, Instant::now());
            }
        }
    }

    /// Stops it as Ctrl-C does, and returns its lines.
    fn stop(mut self) -> Result<Vec<String>> {
        if self.running.child().try_wait()?.is_none() {
            self.running.signal(Signal::INT);
            if self.running.wait().is_none() {
                bail!("it does not end");
            }
        }
        let text = Arc::clone(&self.text);
        drop(self.running);
        if self.reader.join().is_err() {
            bail!("its output cannot be read");
        }
        let text = text.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&text);
        Ok(text
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect())
    }

    fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Reads until nobody has the other end any more, which is an error of a terminal.
fn read(terminal: OwnedFd, into: &Mutex<Vec<u8>>) {
    let mut terminal = File::from(terminal);
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = terminal.read(&mut buffer) {
        let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(&buffer[..length]);
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

#[expect(clippy::print_stdout, reason = "the console is how the host listens")]
fn say(line: &dyn std::fmt::Display) {
    println!("{line}");
}
