//! The pages of docs/replaces: every command on them is run, on the traffic that they show, and
//! prints what they say.
//!
//! `CONNTRACER_WRITE_PAGES=1` writes what is printed into the pages instead.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tests::harness::{PATIENCE, Running, can_run, can_trace, say, shell, workplace};
use tests::page::{Block, Kind, addresses, blocks, commands, timeless, with_outputs};
use tests::stage::{Act, HOST, Stage, acts};
use tests::tracer::Tracer;

/// What the process that serves and connects is called on the pages: this one.
const PROCESS: &str = "shop";
/// Where Debian's packages of Python modules are found.
const PYTHON: &str = "/usr/bin/python3";
/// For machines without the real one.
const PSUTIL: &str = include_str!("../replaces/psutil.py");
const INDEX: &str = include_str!("../../docs/replaces/README.md");

/// A page and the script on it.
struct Page {
    name: &'static str,
    text: &'static str,
    script: &'static str,
    /// The commands that show the peers of the script, and ours.
    old: &'static str,
    ours: &'static str,
}

macro_rules! page {
    ($name:literal, $old:literal, $ours:literal) => {
        Page {
            name: $name,
            text: include_str!(concat!("../../docs/replaces/", $name, ".md")),
            script: include_str!(concat!("../../docs/replaces/", $name, ".py")),
            old: $old,
            ours: $ours,
        }
    };
}

const PROC_NET_TCP: Page = page!(
    "proc-net-tcp-poller",
    "cat old.txt",
    "conntracer map --state web.map"
);
const PSUTIL_SET: Page = page!(
    "psutil-poller",
    "cat peers.json",
    "conntracer map --state web.map --format ip-json"
);

#[test]
fn the_page_of_the_poller_of_proc_net_tcp_is_true() {
    PROC_NET_TCP.check();
}

#[test]
fn the_page_of_the_psutil_poller_is_true() {
    PSUTIL_SET.check();
}

#[test]
fn the_index_names_every_page() {
    for page in [PROC_NET_TCP, PSUTIL_SET] {
        for ending in ["md", "py"] {
            let link = format!("({}.{ending})", page.name);
            assert!(INDEX.contains(&link), "{link}");
        }
    }
}

impl Page {
    fn check(&self) {
        if !can_trace() || !has_python() {
            return;
        }
        std::fs::write("/proc/self/comm", PROCESS).expect("giving this process a name");
        let blocks = blocks(self.text);
        let said = self.carry_out(&blocks);
        self.compare_peers(&blocks, &said);
        let outputs: Vec<_> = said.iter().map(|said| said.output.clone()).collect();
        let written = with_outputs(self.text, &blocks, &outputs);
        if std::env::var_os("CONNTRACER_WRITE_PAGES").is_some_and(|value| value == "1") {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/replaces");
            let path = folder.join(format!("{}.md", self.name));
            std::fs::write(path, written).expect("writing the page");
            return;
        }
        let shown = blocks.iter().filter(|block| block.kind == Kind::Output);
        for (block, said) in shown.zip(&said) {
            let commands = said.commands.join("; ");
            assert_eq!(said.output, block.text, "{}: {commands}", self.name);
        }
    }

    fn script_name(&self) -> String {
        format!("{}.py", self.name)
    }

    /// Returns what the commands before each output block printed.
    fn carry_out(&self, blocks: &[Block]) -> Vec<Said> {
        let traffic = blocks.iter().find(|block| block.kind == Kind::Traffic);
        let acts = acts(&traffic.expect("traffic").text);
        let mut show = Show::new(Stage::new(&acts));
        let mut said = Vec::new();
        let mut now = Said::default();
        for block in blocks {
            if block.kind != Kind::Output {
                assert_eq!(now.output, "", "{:?} has no output block", now.commands);
                now = Said::default();
            }
            match &block.kind {
                Kind::File(name) => {
                    let is_script = *name == self.script_name();
                    assert!(
                        !is_script || block.text == self.script,
                        "the page does not show the script as it is in {name}"
                    );
                    std::fs::write(show.path(name), &block.text).expect("writing a file");
                }
                Kind::Console => {
                    for command in commands(&block.text) {
                        now.output += &timeless(&show.run(command));
                        now.commands.push(command.to_owned());
                    }
                }
                Kind::Output => said.push(std::mem::take(&mut now)),
                Kind::Text => {}
                Kind::Traffic => {
                    for &act in &acts {
                        show.act(act);
                    }
                    show.stop();
                }
            }
        }
        said
    }

    /// Ours has every peer, the script those whose connections it met.
    fn compare_peers(&self, blocks: &[Block], said: &[Said]) {
        let find = |command: &str| {
            let mut fits = said.iter().filter(|said| said.commands == [command]);
            let output = &fits.next().unwrap_or_else(|| panic!("no {command}")).output;
            let mut found = addresses(output);
            found.retain(|ip| !HOST.contains(ip));
            found
        };
        let (old, ours) = (find(self.old), find(self.ours));
        let mut met: BTreeSet<IpAddr> = BTreeSet::new();
        let mut short = BTreeSet::new();
        for block in blocks {
            match &block.kind {
                // The set from before.
                Kind::File(name) if *name != self.script_name() => {
                    met.extend(addresses(&block.text));
                }
                Kind::Traffic => {
                    for (peer, is_short) in acts(&block.text).iter().filter_map(|act| act.peer()) {
                        if is_short { &mut short } else { &mut met }.insert(peer);
                    }
                }
                _ => {}
            }
        }
        short.retain(|peer| !met.contains(peer));
        assert!(!short.is_empty() && !met.is_empty());
        assert_eq!(old, met);
        assert_eq!(ours, &met | &short);
    }
}

/// What commands printed.
#[derive(Default)]
struct Said {
    commands: Vec<String>,
    output: String,
}

/// The programs that watch the stage.
struct Show {
    stage: Stage,
    folder: TempDir,
    tracer: Option<Tracer>,
    tracer_command: String,
    poller: Option<Poller>,
    poller_command: String,
    polls: usize,
}

impl Show {
    fn new(stage: Stage) -> Self {
        let (folder, bin) = workplace();
        let has_psutil = |python| runs(python, &["-c", "import psutil"]);
        if has_psutil("python3") {
            // As it is.
        } else if has_psutil(PYTHON) {
            symlink(PYTHON, bin.join("python3")).expect("a link");
        } else {
            say("psutil is not there: tests/replaces/psutil.py stands in for it");
            std::fs::write(folder.path().join("psutil.py"), PSUTIL).expect("writing a file");
        }
        Self {
            stage,
            folder,
            tracer: None,
            tracer_command: String::new(),
            poller: None,
            poller_command: String::new(),
            polls: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts what runs on, or runs to the end; returns what was printed.
    fn run(&mut self, command: &str) -> String {
        if command.starts_with("python3 ") {
            command.clone_into(&mut self.poller_command);
            self.start_poller();
        } else if command.starts_with("conntracer --") {
            command.clone_into(&mut self.tracer_command);
            self.start_tracer();
        } else {
            let mut shell = self.shell(command);
            let output = self.stage.host.run(|| shell.output().expect("running sh"));
            let output = String::from_utf8(output.stdout).expect("UTF-8");
            assert!(!output.contains("panicked"), "{output}");
            return output;
        }
        String::new()
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Listen(at) => self.stage.listen(at),
            Act::Wait(port) => self.stage.wait(port),
            Act::Open(from, to) => self.stage.open(from, to),
            Act::Short(from, to) => self.stage.short(from, to),
            Act::Poll => {
                self.polls += 1;
                let polls = self.polls;
                self.poller.as_mut().expect("a poller").poll(polls);
            }
            Act::Restart => {
                self.stop_programs();
                self.start_poller();
                self.start_tracer();
            }
        }
    }

    /// Ends all that runs.
    fn stop(&mut self) {
        if let Some(poller) = self.poller.take() {
            poller.stop();
        }
        self.stage.close();
        self.stop_programs();
    }

    fn stop_programs(&mut self) {
        if let Some(poller) = self.poller.take() {
            poller.stop();
        }
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.stop().lossless();
        }
    }

    fn start_tracer(&mut self) {
        let options = self.tracer_command.strip_prefix("conntracer ");
        let mut command = Tracer::command(options.expect("our name"));
        command.current_dir(self.folder.path());
        // In the namespace, for `--netns self`.
        let tracer = self.stage.host.run(|| Tracer::start_as(command));
        self.tracer = Some(tracer);
    }

    fn start_poller(&mut self) {
        let command = &self.poller_command;
        let output = command.rsplit('>').next().expect("where it prints to");
        let output = self.path(output.trim());
        let mut shell = self.shell(&format!("exec {command}"));
        shell.stdin(Stdio::piped());
        let mut running = self.stage.host.run(|| Running::start(&mut shell));
        let stdin = running.child().stdin.take();
        self.poller = Some(Poller {
            running,
            stdin,
            output,
        });
    }

    /// A command in the folder, with its errors among what it prints.
    fn shell(&self, command: &str) -> Command {
        let mut shell = shell(self.folder.path(), command);
        shell.env("PYTHONDONTWRITEBYTECODE", "1");
        shell
    }
}

/// A script that polls when a line comes.
struct Poller {
    running: Running,
    stdin: Option<ChildStdin>,
    output: PathBuf,
}

impl Poller {
    /// Makes it poll, for the time with this number, and waits until it has.
    fn poll(&mut self, number: usize) {
        let stdin = self.stdin.as_mut().expect("it runs");
        stdin.write_all(b"\n").expect("telling it to poll");
        let since = Instant::now();
        loop {
            let text = std::fs::read_to_string(&self.output).unwrap_or_default();
            let polls = text.lines().filter(|line| line.starts_with("poll")).count();
            if polls == number && text.ends_with('\n') {
                return;
            }
            let ended = self.running.child().try_wait().expect("its state");
            assert!(ended.is_none(), "the script ended: {text}");
            assert!(since.elapsed() < PATIENCE, "no poll {number}: {text}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop(mut self) {
        self.stdin = None;
        let status = self.running.wait().expect("the script hangs");
        assert!(status.success(), "the script failed: {status}");
    }
}

/// Whether the scripts can run.
///
/// In a VM of `cargo xtask vm` there is nothing but the tests; the pages do not differ by kernel.
fn has_python() -> bool {
    if runs("python3", &["--version"]) {
        return true;
    }
    if std::env::var_os("CONNTRACER_OWN_MACHINE").is_some_and(|value| value == "1") {
        say("skipped: there is no python3 in this VM");
        return false;
    }
    can_run(Some("there is no python3: apt-get install python3"))
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
