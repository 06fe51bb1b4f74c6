//! Runs conntracer with a command to trace, in a namespace.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{PATIENCE, Running, program, readable};
use crate::namespace::Namespace;
use crate::tracer::{Finished, Tracer, parse_lines};
use crate::truth::{Line, Truth};

/// A tracer with a command.
#[derive(Debug)]
pub struct Traced {
    namespace: Namespace,
    running: Running,
    status: Option<ExitStatus>,
    stdout: BufReader<ChildStdout>,
    stderr: Receiver<String>,
    said: String,
    directory: TempDir,
}

/// The program `workload` with the scenario and options of `line`.
pub fn workload(line: &str) -> Vec<String> {
    let program = program("CONNTRACER_WORKLOAD", "workload");
    let program = program.to_str().expect("a path in UTF-8").to_owned();
    let words = line.split_whitespace().map(str::to_owned);
    std::iter::once(program).chain(words).collect()
}

impl Traced {
    /// Runs `workload` with `line`, traced, from start to end.
    pub fn run(namespace: &Namespace, options: &str, line: &str) -> (Finished, Truth) {
        Self::start(namespace, options, &workload(line)).finish()
    }

    /// Starts the tracer in `namespace` with JSON lines in a file, and with this command.
    pub fn start(namespace: &Namespace, options: &str, words: &[String]) -> Self {
        Self::start_with(namespace, options, words, |command| command)
    }

    /// The same; `change` changes how it is started.
    pub fn start_with(
        namespace: &Namespace,
        options: &str,
        words: &[String],
        change: impl FnOnce(&mut Command) -> &mut Command + Send,
    ) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = Tracer::command(&format!("--format json {options}"));
        command
            .arg("--output")
            .arg(directory.path().join("records"))
            .arg("--summary")
            .arg(directory.path().join("summary.json"))
            .arg("--")
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = namespace.run(|| Running::start(change(&mut command)));
        let child = running.child();
        let stdout = child.stdout.take().expect("a pipe from the command");
        let stderr = child.stderr.take().expect("a pipe from the tracer");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                // Nobody listens once the test has failed.
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned() + "\n");
            }
        });
        Self {
            namespace: namespace.again(),
            running,
            status: None,
            stdout: BufReader::new(stdout),
            stderr: lines,
            said: String::new(),
            directory,
        }
    }

    /// The tracer's process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Sends a signal to the tracer.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits until the tracer, or the command, says `word` on standard error.
    pub fn wait_for(&mut self, word: &str) {
        while !self.said.contains(word) {
            let line = self.stderr.recv_timeout(2 * PATIENCE);
            self.said += &line.unwrap_or_else(|_| panic!("no {word:?}: {}", self.said));
        }
    }

    /// Waits for the tracer's end; what is left in the pipes is still to be read.
    pub fn wait(&mut self) -> ExitStatus {
        *self
            .status
            .get_or_insert_with(|| self.running.wait().expect("the tracer does not end"))
    }

    /// The next line of the command; `None` at its end.
    pub fn line(&mut self) -> Option<String> {
        assert!(
            !self.stdout.buffer().is_empty() || readable(self.stdout.get_ref(), 2 * PATIENCE),
            "the command hangs"
        );
        let mut line = String::new();
        let length = self.stdout.read_line(&mut line).expect("a line");
        (length > 0).then_some(line)
    }

    /// Waits for the end of both. What the command said is the truth, unless it is something else.
    pub fn finish(mut self) -> (Finished, Truth) {
        let mut truth = Truth::default();
        let mut stdout = String::new();
        while let Some(line) = self.line() {
            if let Ok(line) = serde_json::from_str::<Line>(&line) {
                truth.add(line);
            }
            stdout += &line;
        }
        let status = self.wait();
        let stderr = self
            .stderr
            .iter()
            .fold(self.said, |said, line| said + &line);
        assert!(!stderr.contains("panicked"), "{stderr}");
        self.namespace.wait_for_goodbyes();
        let read = |name: &str| std::fs::read(PathBuf::from(self.directory.path()).join(name));
        let records = read("records").unwrap_or_default();
        let summary = read("summary.json").ok();
        let finished = Finished {
            status,
            stdout: stdout.into_bytes(),
            stderr,
            records: parse_lines(&records),
            summary: summary
                .filter(|text| !text.is_empty())
                .map_or(Value::Null, |text| {
                    serde_json::from_slice(&text).expect("the summary file is JSON")
                }),
        };
        (finished, truth)
    }
}
