//! A map of what a namespace does, and `conntracer map` on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{PATIENCE, can_trace, program};
use crate::namespace::Namespace;
use crate::tracer::Tracer;

/// A namespace, and a folder with a map that is to be made.
#[derive(Debug)]
pub struct Place {
    /// Where traffic is made.
    pub namespace: Namespace,
    /// Where files are.
    pub folder: TempDir,
}

impl Place {
    /// Makes one; `None` where nothing can be traced.
    pub fn new() -> Option<Self> {
        can_trace().then(|| Self {
            namespace: Namespace::new(),
            folder: TempDir::new().expect("a temporary directory"),
        })
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The map.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Traces the namespace into the map.
    pub fn trace(&self, line: &str) -> Tracer {
        let state = self.state();
        Tracer::start(
            &self.namespace,
            &format!("--quiet --state {} {line}", state.display()),
        )
    }

    /// The map as JSON, with loopback.
    pub fn json(&self, line: &str) -> Value {
        let text = self.show(&format!("--format json --loopback {line}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What `conntracer map` prints.
    pub fn show(&self, line: &str) -> String {
        let output = map(&self.state(), line);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {talk}");
        String::from_utf8(output.stdout).expect("a map is UTF-8")
    }

    /// Reads the map, as it grows, until it fits.
    pub fn wait_for(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let map = self.json("");
            if fits(&map) {
                return map;
            }
            assert!(since.elapsed() < PATIENCE, "not in the map: {map}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Imports `text`, which ends with exit code `code`; returns what was said.
    pub fn import(&self, text: &str, code: i32) -> String {
        let file = self.path("import");
        std::fs::write(&file, text).expect("writing a list");
        let output = map(&self.state(), &format!("--import {}", file.display()));
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{talk}");
        talk
    }
}

/// `conntracer map` on `state` with `line`'s options.
pub fn map_command(state: &Path, line: &str) -> Command {
    // `--backend` is an option of the trace only.
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command.arg("map").arg("--state").arg(state);
    command.args(line.split_whitespace()).stdin(Stdio::null());
    command
}

/// Runs it.
pub fn map(state: &Path, line: &str) -> Output {
    let output = map_command(state, line)
        .output()
        .expect("running conntracer");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(!talk.contains("panicked"), "{talk}");
    output
}

/// With SIGKILL, and waits until it is gone.
pub fn kill(tracer: Tracer) {
    drop(tracer);
}

/// A count.
pub fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}
