//! Runs `conntracer replay` and collects what it wrote; packs files as others would.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{PATIENCE, Running, program};

/// What a replay left.
#[derive(Debug)]
pub struct Replayed {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Its summary file; null if there is none.
    pub summary: Value,
}

impl Replayed {
    /// A count of the summary's `replay`.
    pub fn count(&self, name: &str) -> u64 {
        let replay = &self.summary["replay"];
        let count = replay[name].as_u64();
        count.unwrap_or_else(|| panic!("no {name} in {replay}; {}", self.stderr))
    }

    /// Checks that all was read, and returns itself.
    #[must_use]
    pub fn clean(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        for name in [
            "unopened_files",
            "damaged_files",
            "repeated_files",
            "repeated",
        ] {
            assert_eq!(self.count(name), 0, "{name}; {}", self.stderr);
        }
        assert_eq!([self.count("truncated"), self.count("foreign")], [0, 0]);
        self
    }
}

/// Replays `files` with `line`'s options.
pub fn replay(line: &str, files: &[&Path]) -> Replayed {
    replay_from(Stdio::null(), line, files)
}

/// The same with a standard input.
pub fn replay_from(stdin: Stdio, line: &str, files: &[&Path]) -> Replayed {
    let directory = TempDir::new().expect("a temporary directory");
    let place = |name: &str| directory.path().join(name);
    let mut command = command(line, files);
    command.arg("--summary").arg(place("summary.json"));
    let file = |name| File::create(place(name)).expect("a temporary file");
    command.stdin(stdin).stdout(file("out")).stderr(file("err"));
    // A large file takes minutes.
    let status = Running::start(&mut command).wait_for(10 * PATIENCE);
    let text = |name| std::fs::read(place(name)).expect("what it wrote");
    let text = |name| String::from_utf8(text(name)).expect("it writes UTF-8");
    let (stdout, stderr) = (text("out"), text("err"));
    assert!(!stderr.contains("panicked"), "{stderr}");
    let status = status.unwrap_or_else(|| panic!("the replay hangs: {stderr}"));
    let summary = std::fs::read(place("summary.json")).unwrap_or_default();
    Replayed {
        code: status.code(),
        stdout,
        stderr,
        summary: serde_json::from_slice(&summary).unwrap_or_default(),
    }
}

/// The program with `line`'s options.
pub fn command(line: &str, files: &[&Path]) -> Command {
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command
        .arg("replay")
        .args(line.split_whitespace())
        .args(files);
    command
}

/// As `gzip` packs it.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes every write");
    encoder.finish().expect("memory takes every write")
}

/// As `zstd` packs it.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// A folder of recorded files, which goes away with it.
#[derive(Debug)]
pub struct Folder(TempDir);

impl Folder {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self(TempDir::new().expect("a temporary directory"))
    }

    /// A file in it.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("writing a file");
        path
    }

    /// Where a file would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
