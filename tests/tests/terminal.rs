//! On a terminal: live lines, Ctrl-C, hang-up.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::Command;

use tests::generator::Workload;
use tests::harness::{PATIENCE, Running, can_trace, program, readable};
use tests::namespace::Namespace;
use tests::pty;

struct Terminal {
    master: OwnedFd,
    running: Running,
    text: String,
}

impl Terminal {
    /// Runs the tracer on a terminal of its own, and waits until its hooks are attached.
    fn start(columns: u16, options: &str, no_colour: bool) -> Self {
        let (master, slave) = pty::open(columns);
        let mut tracer = Command::new(program("CONNTRACER_BIN", "conntracer"));
        tracer.args(options.split_whitespace());
        let mut command = pty::on(&slave, &tracer);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        if no_colour {
            command.env("NO_COLOR", "1");
        }
        let running = Running::start(&mut command);
        let mut terminal = Self {
            master,
            running,
            text: String::new(),
        };
        terminal.read_until("ready: backend");
        terminal
    }

    /// Reads on until `word` comes.
    fn read_until(&mut self, word: &str) {
        while !self.text.contains(word) {
            assert!(
                readable(&self.master, PATIENCE),
                "no {word:?} in {:?}",
                self.text
            );
            let mut buffer = [0; 4096];
            let length = rustix::io::read(&self.master, &mut buffer).unwrap_or_else(|error| {
                panic!(
                    "the terminal ended ({error}) without {word:?}: {:?}",
                    self.text
                )
            });
            self.text += &String::from_utf8_lossy(&buffer[..length]);
        }
    }

    /// Types Ctrl-C and reads to the end; returns the exit code and all text.
    fn interrupt(mut self) -> (Option<i32>, String) {
        rustix::io::write(&self.master, b"\x03").expect("typing");
        // A terminal's end is an error to its reader.
        let mut rest = Vec::new();
        let _ = File::from(self.master).read_to_end(&mut rest);
        let status = self.running.wait().expect("the tracer hangs after Ctrl-C");
        (status.code(), self.text + &String::from_utf8_lossy(&rest))
    }
}

fn session(columns: u16, no_colour: bool) -> Option<String> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let options = format!("--netns {}", namespace.inode());
    let mut terminal = Terminal::start(columns, &options, no_colour);
    let truth = Workload::run(&namespace, "echo --connections 3");
    // While the run goes on.
    terminal.read_until(&truth.clients[2].local.port().to_string());
    let (code, text) = terminal.interrupt();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.to_lowercase().contains("total"), "{text}");
    Some(text)
}

/// `text` without colours, line by line.
fn plain(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut parts = line.split("\x1b[");
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            plain += part.split_once('m').map_or("", |(_, rest)| rest);
        }
        lines.push(plain.trim_end_matches('\r').to_owned());
    }
    lines
}

#[test]
fn live_lines_come_while_it_runs_and_tables_after_ctrl_c() {
    let Some(text) = session(80, false) else {
        return;
    };
    let lines = plain(&text);
    // On a slow machine, live lines may still come after the ^C; they are as wide as they are.
    let tables = lines.iter().skip_while(|line| !line.contains("ACCEPTS"));
    assert!(tables.clone().any(|line| line.contains("total")), "{text}");
    let wide: Vec<_> = tables.filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn a_wide_terminal_is_used_and_colours_can_be_refused() {
    let Some(text) = session(200, true) else {
        return;
    };
    assert!(!text.contains('\x1b'), "{text:?}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 200),
        "{text}"
    );
}

#[test]
fn a_terminal_that_hangs_up_leaves_a_summary() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("summary.json");
    let options = format!("--netns {} --summary {}", namespace.inode(), path.display());
    let Terminal {
        master,
        mut running,
        ..
    } = Terminal::start(80, &options, false);
    let reader = std::thread::spawn(move || {
        let truth = Workload::run(&namespace, "echo");
        drop(master);
        truth
    });
    let truth = reader.join().expect("the workload");
    let status = running.wait().expect("the tracer outlives its terminal");
    assert!(status.code().is_some_and(|code| code != 101), "{status}");
    let text = std::fs::read(&path).expect("a summary file");
    let summary: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(summary["total"]["tx"], truth.bytes().0);
}
