//! Runs conntracer and collects what it wrote.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{PATIENCE, Running, program, readable};
use crate::namespace::Namespace;

/// Descriptor number of the ready pipe in the tracer.
const READY_FD: i32 = 9;

/// Files in its directory.
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// A tracer whose hooks are attached.
#[derive(Debug)]
pub struct Tracer {
    running: Running,
    summary: PathBuf,
    directory: TempDir,
}

/// What a tracer left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, as it was.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
    /// The records in its standard output, where that is JSON lines.
    pub records: Vec<Value>,
    /// Its summary file; null if there is none.
    pub summary: Value,
}

impl Tracer {
    /// The program with `line`'s options.
    pub fn command(line: &str) -> Command {
        let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
        command.args(line.split_whitespace()).stdin(Stdio::null());
        if let Some(backend) = backend() {
            command.args(["--backend", &backend]);
        }
        command
    }

    /// The same on no terminal, wherever the test runs: there, a hangup would end it.
    pub fn service(line: &str) -> Command {
        let tracer = Self::command(line);
        let mut command = Command::new("setsid");
        command
            .arg(tracer.get_program())
            .args(tracer.get_args())
            .stdin(Stdio::null());
        command
    }

    /// Starts it on `namespace` with JSON lines on its standard output, which are collected.
    pub fn start(namespace: &Namespace, line: &str) -> Self {
        let line = format!("--format json --netns {} {line}", namespace.inode());
        Self::start_as(Self::command(&line))
    }

    /// Starts `command` and collects its standard output.
    ///
    /// In a file: of a pipe it looks for the reader, at the descriptors of all processes, and the
    /// kernel holds a socket meanwhile. If a slow machine stops the tracer there, it is the tracer
    /// that closes what its process has let go of.
    pub fn start_as(mut command: Command) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        command.stdout(File::create(directory.path().join(STDOUT)).expect("a file"));
        Self::start_in(directory, command)
    }

    /// Starts `command` and leaves the pipe from its standard output to the caller.
    pub fn start_with_pipe(mut command: Command) -> (Self, ChildStdout) {
        command.stdout(Stdio::piped());
        let mut tracer = Self::start_with_own_output(command);
        let stdout = tracer
            .running
            .child()
            .stdout
            .take()
            .expect("a pipe from the tracer");
        (tracer, stdout)
    }

    /// Starts `command`, whose standard output is set, and waits until its hooks are attached.
    pub fn start_with_own_output(command: Command) -> Self {
        Self::start_in(TempDir::new().expect("a temporary directory"), command)
    }

    fn start_in(directory: TempDir, mut command: Command) -> Self {
        let summary = directory.path().join("summary.json");
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        command
            .arg("--summary")
            .arg(&summary)
            .arg("--ready-fd")
            .arg(READY_FD.to_string());
        let mapping = FdMapping {
            parent_fd: writer,
            child_fd: READY_FD,
        };
        command.fd_mappings(vec![mapping]).expect("one descriptor");
        command.stderr(File::create(directory.path().join(STDERR)).expect("a file"));
        let running = Running::start(&mut command);
        // Closes our writing end, so that the pipe ends if the tracer does.
        drop(command);
        let mut tracer = Self {
            running,
            summary,
            directory,
        };
        let mut text = String::new();
        let told = readable(&reader, PATIENCE);
        if told {
            File::from(reader)
                .read_to_string(&mut text)
                .expect("reading the ready pipe");
        }
        if text != "ready\n" {
            // One that fails closes the pipe first, and says why then.
            if !told {
                tracer.running.kill();
            }
            let finished = tracer.finish();
            panic!(
                "not ready ({text:?}), {}: {}",
                finished.status, finished.stderr
            );
        }
        tracer
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// A path in a directory that goes away with it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its standard error so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.path(STDERR)).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, number: Signal) {
        self.running.signal(number);
    }

    /// Sends SIGINT and waits for the end.
    pub fn stop(self) -> Finished {
        self.signal(Signal::INT);
        self.finish()
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Finished {
        let status = self.running.wait();
        // There is no such file where standard output went elsewhere.
        let text = |name: &str| std::fs::read(self.path(name)).unwrap_or_default();
        let stdout = text(STDOUT);
        let stderr = String::from_utf8_lossy(&text(STDERR)).into_owned();
        let status = status.unwrap_or_else(|| panic!("the tracer does not end; it said: {stderr}"));
        assert!(!stderr.contains("panicked"), "{stderr}");
        let summary = match std::fs::read(&self.summary) {
            // A tracer that fails leaves it as it made it: empty.
            Ok(bytes) if !bytes.is_empty() || status.success() => {
                serde_json::from_slice(&bytes).expect("the summary file is JSON")
            }
            _ => Value::Null,
        };
        let records = if stdout.starts_with(b"{") {
            parse_lines(&stdout)
        } else {
            Vec::new()
        };
        Finished {
            status,
            stdout,
            stderr,
            records,
            summary,
        }
    }
}

impl Finished {
    /// The records of one event.
    pub fn events(&self, event: &str) -> Vec<&Value> {
        self.records
            .iter()
            .filter(|record| record["event"] == event)
            .collect()
    }

    /// Whether it says that it sees which process sends, and which receives. The matrix of kernels
    /// says where it has to.
    pub fn sees_users(&self) -> (bool, bool) {
        let absent = self.summary["not_attached"].as_array();
        let absent = absent.expect("the programs that are not attached");
        let sees = |program: &str| !absent.iter().any(|name| name == program);
        (sees("send_length"), sees("recv_length"))
    }

    /// Checks that it ended well and lost nothing, and returns itself.
    ///
    /// Probe runs that the kernel skipped are no failure here: whether they cost anything is what
    /// the comparison with the truth tells.
    #[must_use]
    pub fn lossless(self) -> Self {
        assert_eq!(self.status.code(), Some(0), "{}", self.stderr);
        let loss = self.summary["loss"]
            .as_object()
            .expect("a loss object in the summary");
        let harmless = ["late_news", "missed_probes"];
        for (name, count) in loss
            .iter()
            .filter(|(name, _)| !harmless.contains(&name.as_str()))
        {
            assert_eq!(count, &Value::from(0), "loss {name}; {}", self.stderr);
        }
        self
    }
}

/// The backend that the tests are run for; `None` = what the tracer chooses.
pub fn backend() -> Option<String> {
    std::env::var("CONNTRACER_BACKEND")
        .ok()
        .filter(|backend| !backend.is_empty())
}

/// Runs conntracer, which must end by itself; returns its exit code and standard error.
pub fn run(line: &str) -> (Option<i32>, String) {
    let mut command = Tracer::command(line);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    let thread = collect(
        running
            .child()
            .stderr
            .take()
            .expect("a pipe from the tracer"),
    );
    let status = running.wait();
    let text = thread.join().expect("a reading thread");
    let text = String::from_utf8(text).expect("standard error is UTF-8");
    assert!(!text.contains("panicked"), "{text}");
    let status = status.unwrap_or_else(|| panic!("conntracer {line} hangs: {text}"));
    (status.code(), text)
}

/// The JSON objects of `text`, one a line.
pub fn parse_lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("records are UTF-8");
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
    text.lines().map(parse).collect()
}

fn collect(mut pipe: impl std::io::Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)
            .expect("reading the tracer's output");
        bytes
    })
}
