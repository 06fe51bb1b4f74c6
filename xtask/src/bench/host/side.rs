//! A side that runs: started, awaited, asked what it uses, and stopped.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    report,
    sides::{Output, Ready, Side},
    usage,
};
use crate::cmd;

/// How long a side may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is watched, and where the tracer is.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) conntracer: &'a Path,
    pub(crate) floor: &'a Path,
    pub(crate) load: report::Ready,
    /// For what sides write.
    pub(crate) folder: &'a Path,
}

/// A side whose hooks are attached.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    output: Output,
    files: Files,
    /// Whether it has been stopped.
    over: bool,
}

/// What a side wrote.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
    pub(crate) summary: PathBuf,
    pub(crate) records: PathBuf,
}

/// A side that runs, or why it does not.
pub(crate) enum Start {
    Ready(Running),
    Refused(String),
}

impl Running {
    /// Starts a side and waits until it sees the load.
    pub(crate) fn start(side: &Side, place: &Place) -> Result<Start> {
        let files = Files::new(place.folder)?;
        let mut command = command(side, place, &files);
        if cmd::in_path(side.command[0]).is_none() && !side.command[0].starts_with('{') {
            let why = format!(
                "{} is not installed: `cargo xtask setup-bench`",
                side.command[0]
            );
            return Ok(Start::Refused(why));
        }
        let output = |path: &Path| {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))
        };
        command.stdin(Stdio::null());
        command.stdout(output(&files.stdout)?);
        command.stderr(output(&files.stderr)?);
        let child = command
            .spawn()
            .with_context(|| format!("cannot run `{}`", cmd::shell(&command)))?;
        let mut running = Self {
            child,
            output: side.output,
            files,
            over: false,
        };
        let since = Instant::now();
        while !running.is_ready(side.ready) {
            if running.child.try_wait()?.is_some() {
                running.over = true;
                return Ok(Start::Refused(running.files.reason()));
            }
            if since.elapsed() > PATIENCE {
                return Ok(Start::Refused(format!("not ready after {PATIENCE:?}")));
            }
            sleep(Duration::from_millis(5));
        }
        sleep(side.settle);
        // It may have given up meanwhile.
        if running.child.try_wait()?.is_some() {
            running.over = true;
            return Ok(Start::Refused(running.files.reason()));
        }
        Ok(Start::Ready(running))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it end as a user would; fails if it does not, or had ended before.
    pub(crate) fn stop(mut self) -> Result<std::result::Result<Files, String>> {
        self.over = true;
        if let Some(status) = self.child.try_wait()? {
            let reason = self.files.reason();
            return Ok(Err(format!("it ended by itself, {status}: {reason}")));
        }
        // Tools tell what they counted when they are interrupted. For others that is not sure to be
        // the end: a program inherits that SIGINT is ignored.
        self.signal(match self.output {
            Output::Nothing => Signal::TERM,
            _ => Signal::INT,
        });
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if since.elapsed() > PATIENCE {
                self.over = false;
                return Ok(Err(format!("it did not end within {PATIENCE:?}")));
            }
            sleep(Duration::from_millis(2));
        };
        let ours = matches!(self.output, Output::Summary | Output::Records);
        if ours && !status.success() {
            return Ok(Err(format!("{status}: {}", self.files.reason())));
        }
        Ok(Ok(self.files.clone()))
    }

    /// To its children, too: a shell waits for them before it heeds a signal.
    fn signal(&self, signal: Signal) {
        let pids = usage::tree(self.pid()).into_iter();
        for pid in pids.filter_map(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            // A process that is gone needs none.
            let _ = kill_process(pid, signal);
        }
    }

    fn is_ready(&self, ready: Ready) -> bool {
        match ready {
            Ready::Started => true,
            Ready::Says(words) => text(&self.files.stderr).contains(words),
            Ready::HandlesInterrupt => usage::handles_interrupt(self.pid()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Files {
    /// Names of files that are not there yet.
    fn new(folder: &Path) -> Result<Self> {
        let files = Self {
            stdout: folder.join("stdout"),
            stderr: folder.join("stderr"),
            summary: folder.join("summary.json"),
            records: folder.join("records"),
        };
        for file in [&files.summary, &files.records] {
            if file.exists() {
                fs::remove_file(file)
                    .with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
        Ok(files)
    }

    /// What a side said that did not run.
    fn reason(&self) -> String {
        let text = text(&self.stderr);
        reason(&text).unwrap_or_else(|| "it said nothing".to_owned())
    }
}

/// The line that tells most: an error, or else the last one.
fn reason(text: &str) -> Option<String> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    if let Some(option) = text
        .lines()
        .find_map(|line| line.strip_prefix("error: unexpected argument "))
    {
        let option = option.trim_end_matches(" found");
        return Some(format!("not offered: this conntracer has no {option}"));
    }
    let error = lines.clone().find(|line| line.contains("failed to"));
    error.or_else(|| lines.next_back()).map(str::to_owned)
}

/// The side's command, moved to where it has to run.
fn command(side: &Side, place: &Place, files: &Files) -> Command {
    let mut words: Vec<String> = Vec::new();
    if side.inside {
        words.push("nsenter".to_owned());
        words.push(format!("--net=/proc/{}/ns/net", place.load.pid));
    }
    if side.tracefs && !Path::new("/sys/kernel/tracing/events").exists() {
        // For it alone: the machine stays as it is.
        let mount = "mount -t tracefs nodev /sys/kernel/tracing && exec \"$@\"";
        words.extend(["unshare", "--mount", "sh", "-c", mount, "sh"].map(str::to_owned));
    }
    words.extend(side.command.iter().map(|word| fill(word, place, files)));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn fill(word: &str, place: &Place, files: &Files) -> String {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    match word {
        "{conntracer}" => path(place.conntracer),
        "{floor}" => path(place.floor),
        "{summary}" => path(&files.summary),
        "{records}" => path(&files.records),
        "{pid}" => place.load.pid.to_string(),
        word => word.to_owned(),
    }
}

/// A file's text, as far as it has one.
pub(crate) fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_refusal_is_one_line() {
        let clap = "error: unexpected argument '--accounting' found\n\nUsage: conntracer\n";
        assert_eq!(
            reason(clap).unwrap(),
            "not offered: this conntracer has no '--accounting'"
        );
        let libbpf = "libbpf: failed to add legacy kprobe event for 'tcp_sendmsg': No such file\n\
                      failed to attach BPF programs: -2\n";
        assert!(reason(libbpf).unwrap().contains("legacy kprobe"));
        assert_eq!(reason("a\nb\n\n").unwrap(), "b");
        assert_eq!(reason("\n"), None);
    }
}
