//! The pages of docs/replaces whose programs watch a host live: every command on them is run, on the
//! traffic that they show, and prints what they say.
//!
//! `CONNTRACER_WRITE_PAGES=1` writes what is printed into the pages instead.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;
use tests::capture::Capture;
use tests::harness::{PATIENCE, Running, can_run, can_trace, say, shell, workplace};
use tests::mmdb::Mmdb;
use tests::namespace::ip;
use tests::page::{Block, Kind, blocks, commands, nameless, with_outputs};
use tests::stage::{Act, HOST, REQUEST, Stage, acts};
use tests::tracer::Tracer;

/// Where Debian's packages of Python modules are found.
const PYTHON: &str = "/usr/bin/python3";
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
    ["tcpdump", "gawk", "python3", "python3-maxminddb"]
);
const SYSTEMTAP: Page = page!("systemtap-tcp-connections", [], ["python3"]);

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
    let [old, ours, frames, wire] = &said[..] else {
        panic!("four outputs")
    };
    // In each interval, those that this host connected to, with the same bytes and countries.
    let old: Vec<_> = old.split("interval ").skip(1).collect();
    let ours: Vec<_> = ours.split("2026-01-31 ").skip(1).collect();
    let batches: Vec<_> = blocks(TCPDUMP.text)
        .into_iter()
        .filter(|block| block.kind == Kind::Traffic)
        .collect();
    assert_eq!([old.len(), ours.len()], [batches.len(); 2]);
    for ((old, ours), batch) in old.into_iter().zip(ours).zip(batches) {
        let mut expected: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for act in acts(&batch.text) {
            if let Act::Short(from, to) = act
                && HOST.contains(&from)
            {
                *expected.entry(to).or_default() += REQUEST;
            }
        }
        assert!(!expected.is_empty());
        let mut by_country: BTreeMap<&str, usize> = BTreeMap::new();
        for (to, bytes) in &expected {
            let found = row(old, &to.to_string());
            let [_, country, _, "packets", length, "bytes"] = found[..] else {
                panic!("{found:?}")
            };
            assert_eq!(length, bytes.to_string(), "{to}");
            *by_country.entry(country).or_default() += bytes;
            let found = row(ours, &to.ip().to_string());
            assert_eq!(found[4], length, "{to}");
        }
        for (country, bytes) in by_country {
            let found = row(ours, country);
            assert_eq!(found[4], bytes.to_string(), "{country}");
        }
    }
    // What was on the wire is the same, by peer.
    let wire: Vec<_> = wire.lines().skip(1).collect();
    assert!(!wire.is_empty());
    for ours in wire {
        let ours: Vec<_> = ours.split_whitespace().collect();
        assert_eq!(row(frames, ours[0]), ours);
    }
}

/// The words of the line that begins with `name`.
fn row<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let lines = text.lines().map(str::split_whitespace);
    let mut rows = lines.map(Iterator::collect::<Vec<_>>);
    rows.find(|words| words.first() == Some(&name))
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn the_page_of_systemtap_is_true() {
    let Some(said) = SYSTEMTAP.check() else {
        return;
    };
    let [live, columns] = &said[..] else {
        panic!("two outputs")
    };
    let mut expected = Vec::new();
    for (peer, port) in acts(&traffic(SYSTEMTAP.text)).iter().filter_map(accepted) {
        expected.push(format!("0 {PROCESS} {FIRST_PID} {port} {peer}"));
        let seen = format!(":{port} <- {}", SocketAddr::new(peer, 0));
        let seen = seen.trim_end_matches('0');
        assert!(live.contains(seen), "{seen}: {live}");
    }
    let columns: Vec<_> = columns.lines().skip(1).collect();
    assert_eq!(columns, expected);
}

/// Who connects to which port of this host.
fn accepted(act: &Act) -> Option<(IpAddr, u16)> {
    match *act {
        Act::Short(from, to) if HOST.contains(&to.ip()) => Some((from, to.port())),
        _ => None,
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

/// All of it.
fn traffic(page: &str) -> String {
    let blocks = blocks(page).into_iter();
    let traffic = blocks.filter(|block| block.kind == Kind::Traffic);
    traffic.map(|block| block.text).collect()
}

impl Page {
    /// Carries the page out, and returns what its outputs are; nothing where that cannot be done.
    fn check(&self) -> Option<Vec<String>> {
        if !can_trace() || !self.tools.iter().all(|tool| has(tool)) {
            return None;
        }
        // And this thread, which accepts.
        for comm in ["/proc/self/comm", "/proc/thread-self/comm"] {
            std::fs::write(comm, PROCESS).expect("giving this process a name");
        }
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
        let mut show = Show::new(Stage::new(&acts(&traffic(self.text))));
        let is_traffic = |block: &&Block| block.kind == Kind::Traffic;
        let batches = blocks.iter().filter(is_traffic).count();
        let mut batch = 0;
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
                    show.write(name, &block.text);
                }
                Kind::Console => {
                    for command in commands(&block.text) {
                        now += &show.run(command);
                    }
                }
                Kind::Traffic => {
                    if batch > 0 {
                        show.next_interval();
                    }
                    for act in acts(&block.text) {
                        show.act(act);
                    }
                    batch += 1;
                    if batch == batches {
                        show.stop();
                    }
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
    /// What tcpdump should see.
    packets: Option<Capture>,
    /// Where it writes that, a line a packet.
    dumps: Vec<PathBuf>,
    /// How long ours are.
    interval: Option<Duration>,
    /// The processes that served, each with what stands for it.
    pids: Vec<(String, String)>,
}

impl Show {
    fn new(stage: Stage) -> Self {
        let (folder, bin) = workplace();
        if Path::new(PYTHON).exists() {
            symlink(PYTHON, bin.join("python3")).expect("a link");
        }
        Self {
            stage,
            folder,
            watchers: Vec::new(),
            tracers: Vec::new(),
            packets: None,
            dumps: Vec::new(),
            interval: None,
            pids: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the page; a database from what it says of networks.
    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        if path.extension().is_none_or(|it| it != "mmdb") {
            return std::fs::write(path, text).expect("writing a file");
        }
        let entries: BTreeMap<String, Value> = serde_json::from_str(text).expect("networks");
        let empty = Mmdb::new("Test-Country");
        let add =
            |database: Mmdb, (network, entry): (&String, &Value)| database.with(network, entry);
        entries.iter().fold(empty, add).write(&path);
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
            let file = self.path(file.trim());
            if let Some((_, rest)) = options.split_once("--interval ") {
                let (seconds, _) = rest.split_once("s ").expect("seconds");
                let seconds = seconds.parse().expect("a number of them");
                self.interval = Some(Duration::from_secs(seconds));
            }
            let mut command = Tracer::command(&format!("--{options}"));
            command.current_dir(self.folder.path());
            command.stdout(File::create(&file).expect("making a file"));
            // In the namespace, for `--netns self`.
            let tracer = self
                .stage
                .host
                .run(|| Tracer::start_with_own_output(command));
            self.tracers.push((tracer, file));
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
        let file = file.trim();
        let errors = self.path(&format!("{file}.err"));
        let mut shell = self.shell(&format!("exec {command} 2> {file}.err"));
        shell.process_group(0);
        let mut running = self.stage.host.run(|| Running::start(&mut shell));
        wait_until("tcpdump listens", || {
            let ended = running.child().try_wait().expect("its state");
            let text = std::fs::read_to_string(&errors).unwrap_or_default();
            assert!(ended.is_none(), "tcpdump ended: {text}");
            text.contains("listening on")
        });
        self.watchers.push(running);
        self.dumps.push(self.path(file));
        // Each of them sees the same.
        self.packets = Some(Capture::start(&self.stage.host));
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

    /// Waits until what comes next is in another interval, of ours and of a script, whatever packet
    /// its first one begins with.
    fn next_interval(&self) {
        std::thread::sleep(self.interval.expect("--interval 5s, or so"));
        let has_output =
            |(_, file): &(Tracer, PathBuf)| file.metadata().is_ok_and(|file| file.len() > 0);
        wait_until("ours has printed an interval", || {
            self.tracers.iter().any(has_output)
        });
    }

    /// Ends all that runs, as Ctrl-C does.
    fn stop(&mut self) {
        self.stage.close();
        if let Some(capture) = self.packets.take() {
            let packets = capture.packets();
            let sent = packets
                .iter()
                .filter(|packet| HOST.contains(&packet.from.ip()));
            let sent = sent.count();
            for file in &self.dumps {
                wait_until("tcpdump has written all", || {
                    let text = std::fs::read_to_string(file).unwrap_or_default();
                    text.lines().count() == sent && text.ends_with('\n')
                });
            }
        }
        for (tracer, _) in self.tracers.drain(..) {
            let finished = tracer.stop().lossless();
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

/// Whether a tool, or a package of a Python module, is there.
///
/// In a VM of `cargo xtask vm` there is nothing but the tests; the pages do not differ by kernel.
fn has(tool: &str) -> bool {
    let mut command = match tool.strip_prefix("python3-") {
        None => {
            let mut command = Command::new(tool);
            command.arg("--version");
            command
        }
        Some(module) => {
            let mut command = Command::new(PYTHON);
            command.args(["-c", &format!("import {module}")]);
            command
        }
    };
    command.stdin(Stdio::null());
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
