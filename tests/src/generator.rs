//! Runs the `workload` program and reads what it says.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use crate::harness::{PATIENCE, Running, program, readable};
use crate::namespace::Namespace;
use crate::truth::{Line, Truth};

/// A workload that runs.
#[derive(Debug)]
pub struct Workload {
    namespace: Namespace,
    running: Running,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    truth: Truth,
    line: String,
}

impl Workload {
    /// Runs a scenario from start to end.
    pub fn run(namespace: &Namespace, line: &str) -> Truth {
        Self::start(namespace, line).finish()
    }

    /// Starts a scenario; `line` is its name and options.
    pub fn start(namespace: &Namespace, line: &str) -> Self {
        let mut command = Command::new(program("CONNTRACER_WORKLOAD", "workload"));
        command
            .args(line.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut running = namespace.run(|| Running::start(&mut command));
        let stdout = BufReader::new(
            running
                .child()
                .stdout
                .take()
                .expect("a pipe from the workload"),
        );
        let stdin = running.child().stdin.take();
        Self {
            namespace: namespace.again(),
            running,
            stdin,
            stdout,
            truth: Truth::default(),
            line: line.to_owned(),
        }
    }

    /// Reads on until the workload waits (`hold`, and `churn --gate`), and returns what it said.
    pub fn ready(&mut self) -> &Truth {
        self.read_until(|line| *line == Line::Ready {})
    }

    /// Reads on until `done` says so of a line, and returns what it said.
    pub fn read_until(&mut self, mut done: impl FnMut(&Line) -> bool) -> &Truth {
        loop {
            let line = self.next().expect("the workload ended before that");
            let is_last = done(&line);
            self.truth.add(line);
            if is_last {
                return &self.truth;
            }
        }
    }

    /// Lets a workload that waits at its gate begin.
    pub fn go(&mut self) {
        let stdin = self.stdin.as_mut().expect("the workload still listens");
        stdin
            .write_all(b"go\n")
            .expect("telling the workload to go");
    }

    /// Lets it end and returns all it said.
    pub fn finish(mut self) -> Truth {
        self.stdin = None;
        while let Some(line) = self.next() {
            self.truth.add(line);
        }
        let status = self.running.wait().expect("the workload hangs");
        assert!(
            status.success(),
            "the workload `{}` failed: {status}",
            self.line
        );
        self.namespace.wait_for_goodbyes();
        std::mem::take(&mut self.truth)
    }

    fn next(&mut self) -> Option<Line> {
        assert!(
            !self.stdout.buffer().is_empty() || readable(self.stdout.get_ref(), 2 * PATIENCE),
            "the workload hangs"
        );
        let mut line = String::new();
        let length = self
            .stdout
            .read_line(&mut line)
            .expect("reading what the workload says");
        (length > 0).then(|| serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
    }
}
