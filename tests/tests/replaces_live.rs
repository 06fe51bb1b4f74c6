//! The pages of docs/replaces whose programs watch a host live: every command on them is run, on the
//! traffic that they show, and prints what they say.
//!
//! `CONNTRACER_WRITE_PAGES=1` writes what is printed into the pages instead.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;
use tests::capture::Capture;
use tests::harness::{PATIENCE, Running, can_run, can_trace, program, say, shell};
use tests::namespace::ip;
use tests::page::{Block, Kind, addresses, blocks, commands, nameless, with_outputs};
use tests::stage::{Act, HOST, Stage, acts};
use tests::tracer::Tracer;

/// What the process that serves on a page is called, unless the page has its own: this one.
const PROCESS: &str = "shop";
/// The id that stands on the pages for the first process.
const FIRST_PID: u32 = 14_711;
const INDEX: &str = include_str!("../../docs/replaces/README.md");

/// A page, the scripts on it that have a file of their own, and the tools that it needs.
struct Page {
    name: &'static str,
    text: &'static str,
    scripts: &'static [(&'static str, &'static str)],
    tools: &'static [&'static str],
}

macro_rules! page {
    ($name:literal, [$($script:literal),*], [$($tool:literal),*]) => {
        Page {
            name: $name,
            text: include_str!(concat!("../../docs/replaces/", $name, ".md")),
            scripts: &[$(($script, include_str!(concat!("../../docs/replaces/", $script)))),*],
            tools: &[$($tool),*],
        }
    };
}

const STRACE: Page = page!(
    "strace-accept",
    ["strace-accept.awk"],
    ["strace", "gawk", "python3"]
);
const TCPDUMP: Page = page!(
    "tcpdump-destinations",
    ["tcpdump-destinations.py"],
    ["tcpdump", "gawk", "python3"]
);
const SYSTEMTAP: Page = page!("systemtap-tcp-connections", [], ["gawk"]);

#[test]
fn the_page_of_strace_is_true() {
    let Some(said) = STRACE.check() else { return };
    let [old, ours] = &said[..] else {
        panic!("two outputs")
    };
    // By process and peer, and by either.
    let mut by_process = BTreeMap::new();
    let mut by_peer = BTreeMap::new();
    for line in old.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [count, peer, "pid", process] = words[..] else {
            panic!("{line}")
        };
        let count: u64 = count.parse().expect("a number");
        *by_process.entry(process.to_owned()).or_default() += count;
        let peer = peer.trim_start_matches("::ffff:");
        *by_peer.entry(peer.to_owned()).or_default() += count;
    }
    let accepts = |head: &str, key: usize, count: usize| {
        let table = ours
            .lines()
            .skip_while(|line| !line.trim().starts_with(head));
        let rows = table.skip(1).take_while(|line| !line.starts_with("total"));
        rows.map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            (
                words[key].to_owned(),
                words[count].parse().expect("accepts"),
            )
        })
        .collect::<BTreeMap<String, u64>>()
    };
    assert_eq!(accepts("PID", 0, 2), by_process);
    assert_eq!(accepts("PEER", 0, 1), by_peer);
}

#[test]
fn the_page_of_tcpdump_is_true() {
    let Some(said) = TCPDUMP.check() else { return };
    let [old, ours, wire] = &said[..] else {
        panic!("three outputs")
    };
    // Those that this host connected to, in all of them.
    let acts = acts(&traffic(TCPDUMP.text));
    let outbound = |act: &Act| match *act {
        Act::Short(from, to) if HOST.contains(&from) => Some(to),
        _ => None,
    };
    let services: BTreeSet<_> = acts.iter().filter_map(outbound).collect();
    let peers: BTreeSet<_> = services.iter().map(std::net::SocketAddr::ip).collect();
    for output in [old, ours, wire] {
        assert!(addresses(output).is_superset(&peers), "{output}");
    }
    assert_eq!(addresses(ours), peers);
    // As many packets as segments.
    for service in services {
        let packets = old.lines().find_map(|line| {
            let rest = line.strip_prefix(&format!("{service} "))?;
            rest.split(' ').next()
        });
        let segments = wire
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{} ", service.ip())));
        assert!(packets.is_some(), "{old}");
        assert_eq!(packets, segments, "{service}");
    }
}

#[test]
fn the_page_of_systemtap_is_true() {
    let Some(said) = SYSTEMTAP.check() else {
        return;
    };
    let peers: BTreeSet<_> = acts(&traffic(SYSTEMTAP.text))
        .iter()
        .filter_map(|act| act.peer())
        .map(|(peer, _)| peer)
        .collect();
    for output in &said {
        let mut found = addresses(output);
        found.retain(|ip| !HOST.contains(ip));
        assert_eq!(found, peers, "{output}");
    }
}

#[test]
fn the_index_names_every_page() {
    for page in [STRACE, TCPDUMP, SYSTEMTAP] {
        let scripts = page.scripts.iter().map(|(name, _)| (*name).to_owned());
        for file in scripts.chain([format!("{}.md", page.name)]) {
            assert!(INDEX.contains(&format!("({file})")), "{file}");
        }
    }
}

fn traffic(page: &str) -> String {
    let mut blocks = blocks(page).into_iter();
    let traffic = blocks.find(|block| block.kind == Kind::Traffic);
    traffic.expect("traffic").text
}

impl Page {
    /// Carries the page out, and returns what its outputs are; nothing where that cannot be done.
    fn check(&self) -> Option<Vec<String>> {
        if !can_trace() || !self.tools.iter().all(|tool| has(tool)) {
            return None;
        }
        std::fs::write("/proc/self/comm", PROCESS).expect("giving this process a name");
        let blocks = blocks(self.text);
        let said = self.carry_out(&blocks);
        if std::env::var_os("CONNTRACER_WRITE_PAGES").is_some_and(|value| value == "1") {
            let written = with_outputs(self.text, &blocks, &said);
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/replaces");
            let path = folder.join(format!("{}.md", self.name));
            std::fs::write(path, written).expect("writing the page");
            return None;
        }
        let shown = blocks.iter().filter(|block| block.kind == Kind::Output);
        let shown: Vec<_> = shown.map(|block| block.text.clone()).collect();
        assert_eq!(said, shown, "{}", self.name);
        Some(said)
    }

    fn carry_out(&self, blocks: &[Block]) -> Vec<String> {
        let acts = acts(&traffic(self.text));
        let mut show = Show::new(Stage::new(&acts));
        let mut said = Vec::new();
        let mut now = String::new();
        for block in blocks {
            match &block.kind {
                Kind::File(name) => {
                    if let Some((_, script)) = self.scripts.iter().find(|(file, _)| file == name) {
                        assert_eq!(
                            block.text, *script,
                            "the page does not show {name} as it is"
                        );
                    }
                    std::fs::write(show.path(name), &block.text).expect("writing a file");
                }
                Kind::Console => {
                    for command in commands(&block.text) {
                        now += &show.run(command);
                    }
                }
                Kind::Traffic => {
                    for &act in &acts {
                        show.act(act);
                    }
                    show.stop();
                }
                Kind::Output => said.push(nameless(&std::mem::take(&mut now), &show.pids)),
                Kind::Text => {}
            }
        }
        assert_eq!(now, "", "it has no output block");
        said
    }
}

/// The programs that watch the stage.
struct Show {
    stage: Stage,
    folder: TempDir,
    watchers: Vec<Running>,
    /// Each with the file that its standard output goes to.
    tracers: Vec<(Tracer, PathBuf)>,
    /// What tcpdump should see, and where it writes that.
    packets: Option<(Capture, PathBuf)>,
    /// The processes that served, each with what stands for it.
    pids: Vec<(String, String)>,
}

impl Show {
    fn new(stage: Stage) -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        let ours = program("CONNTRACER_BIN", "conntracer");
        let ours = ours.canonicalize().expect("conntracer is built");
        symlink(ours, bin.join("conntracer")).expect("a link");
        Self {
            stage,
            folder,
            watchers: Vec::new(),
            tracers: Vec::new(),
            packets: None,
            pids: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts what runs on, or runs to the end; returns what was printed.
    fn run(&mut self, command: &str) -> String {
        if command.starts_with("strace ") {
            // A group of its own, for Ctrl-C; a watcher has no output but its file.
            let mut shell = self.shell(&format!("exec {command}"));
            shell.process_group(0);
            let running = self.stage.host.run(|| Running::start(&mut shell));
            self.watchers.push(running);
        } else if command.starts_with("tcpdump ") {
            self.start_tcpdump(command);
        } else if let Some(options) = command.strip_prefix("conntracer --") {
            let (options, file) = options.split_once('>').expect("where it prints to");
            let mut command = Tracer::command(&format!("--{options}"));
            command.current_dir(self.folder.path());
            // In the namespace, for `--netns self`.
            let tracer = self.stage.host.run(|| Tracer::start_as(command));
            self.tracers.push((tracer, self.path(file.trim())));
        } else {
            let mut shell = self.shell(command);
            let output = self.stage.host.run(|| shell.output().expect("running sh"));
            return String::from_utf8(output.stdout).expect("UTF-8");
        }
        String::new()
    }

    /// Starts it and waits until it listens, beside a capture that tells when it has seen all.
    fn start_tcpdump(&mut self, command: &str) {
        // Or how many acknowledgements there are would be a matter of time.
        self.stage.host.run(|| {
            ip("route change 192.0.2.0/24 dev veth0 proto kernel scope link src 192.0.2.1 quickack 1");
            ip("-6 route change 2001:db8::/64 dev veth0 proto kernel metric 256 quickack 1");
        });
        let (_, file) = command.split_once('>').expect("where it prints to");
        let (file, errors) = (self.path(file.trim()), self.path("tcpdump.err"));
        let mut shell = self.shell(&format!("exec {command} 2> tcpdump.err"));
        shell.process_group(0);
        let mut running = self.stage.host.run(|| Running::start(&mut shell));
        wait_until("tcpdump listens", || {
            let ended = running.child().try_wait().expect("its state");
            let text = std::fs::read_to_string(&errors).unwrap_or_default();
            assert!(ended.is_none(), "tcpdump ended: {text}");
            text.contains("listening on")
        });
        self.watchers.push(running);
        self.packets = Some((Capture::start(&self.stage.host), file));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Listen(at) => self.stage.listen(at),
            Act::Wait(port) => self.stage.wait(port),
            Act::Open(from, to) => self.stage.open(from, to),
            Act::Short(from, to) => self.stage.short(from, to),
            Act::Poll | Act::Restart => panic!("nothing polls here"),
        }
    }

    /// Ends all that runs, as Ctrl-C does.
    fn stop(&mut self) {
        self.stage.close();
        if let Some((capture, file)) = self.packets.take() {
            let packets = capture.packets();
            let sent = packets
                .iter()
                .filter(|packet| HOST.contains(&packet.from.ip()));
            let sent = sent.count();
            wait_until("tcpdump has written all", || {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                text.lines().count() == sent && text.ends_with('\n')
            });
        }
        for (tracer, file) in self.tracers.drain(..) {
            let finished = tracer.stop().lossless();
            std::fs::write(file, &finished.stdout).expect("writing a file");
            self.pids = stand_ins(&finished.summary);
        }
        for mut watcher in self.watchers.drain(..) {
            let group = Pid::from_child(watcher.child());
            kill_process_group(group, Signal::INT).expect("Ctrl-C");
            watcher.wait().expect("a watcher hangs");
        }
    }

    /// A command in the folder, with its errors among what it prints.
    fn shell(&self, command: &str) -> Command {
        let mut shell = shell(self.folder.path(), command);
        shell.env("LC_ALL", "C.UTF-8");
        shell
    }
}

/// Waits for something that will come.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "not so in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The processes of the tables, in the order of their names.
fn stand_ins(summary: &Value) -> Vec<(String, String)> {
    let rows = summary["processes"].as_array().expect("a table");
    let mut processes: Vec<_> = rows
        .iter()
        .filter(|row| !row["pid"].is_null())
        .map(|row| (row["name"].to_string(), row["pid"].to_string()))
        .collect();
    processes.sort();
    let numbered = processes.into_iter().zip(FIRST_PID..);
    numbered
        .map(|((_, pid), number)| (pid, number.to_string()))
        .collect()
}

/// Whether a tool can be run.
///
/// In a VM of `cargo xtask vm` there is nothing but the tests; the pages do not differ by kernel.
fn has(tool: &str) -> bool {
    let mut command = Command::new(tool);
    command.arg("--version").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    if std::env::var_os("CONNTRACER_OWN_MACHINE").is_some_and(|value| value == "1") {
        say(&format!("skipped: there is no {tool} in this VM"));
        return false;
    }
    can_run(Some(&format!("there is no {tool}: apt-get install it")))
}
