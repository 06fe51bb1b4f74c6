//! Runs workloads under tools, one after the other, in a VM of `cargo xtask compare`.

use std::fs::{File, read_to_string};
use std::io::ErrorKind;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;
use tests::generator::Workload;
use tests::harness::{PATIENCE, Running};
use tests::namespace::Namespace;
use tests::peers::{Outcome, RUNS, Ready, Run};
use tests::vm::Said;

/// How often a tool is looked at, which does not say when it has nothing more to do.
const PAUSE: Duration = Duration::from_millis(20);
/// A tool that was seen asleep so often has nothing to do: it wakes up for each event.
const ASLEEP: u32 = 50;

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
    if let Some(path) = &run.summary {
        // No run may take the file of another for its own.
        remove_if_there(path)?;
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
    tool.wait_until_asleep()?;
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

fn remove_if_there(path: &str) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A tool that writes to a file: a terminal would slow it down.
struct Tool {
    running: Running,
    output: NamedTempFile,
}

impl Tool {
    fn start(line: &[String]) -> Result<Self> {
        let (program, arguments) = line.split_first().context("a tool without a name")?;
        let output = NamedTempFile::new()?;
        let file = File::options().append(true).open(output.path())?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let running = Running::start(&mut command);
        Ok(Self { running, output })
    }

    /// Returns why it does not get ready, if so.
    fn wait_until_ready(&mut self, ready: &Ready) -> Result<Option<String>> {
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
    fn wait_until_asleep(&self) -> Result<()> {
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
    fn stop(mut self) -> Result<Vec<String>> {
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

#[expect(clippy::print_stdout, reason = "the console is how the host listens")]
fn say(line: &dyn std::fmt::Display) {
    println!("{line}");
}
