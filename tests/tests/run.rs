//! A command that is run to be traced, and processes that are followed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{Pid, Signal, kill_process, setsid};
use tests::command::{Traced, workload};
use tests::compare::{assert_equal, assert_whole_lives};
use tests::generator::Workload;
use tests::harness::{PATIENCE, Running, can_trace, copy_for_everybody, own_status, readable};
use tests::namespace::Namespace;
use tests::pty;
use tests::tables::{Tables, assert_sums, assert_tables};
use tests::tracer::{Finished, Tracer, run};
use tests::truth::{Line, Truth};
use tests::workload::Start;

/// Everything of the command, and nothing else, is in records and tables.
fn assert_traced(finished: &Finished, truth: &Truth) {
    assert_equal(finished, truth.ends());
    assert_whole_lives(finished);
    assert_sums(&finished.summary);
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
}

/// Runs processes that connect once each beside others that nobody asked for.
fn assert_children_are_traced(children: usize, how: &str) {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut other = Workload::start(&namespace, "churn --connections 360 --gate");
    other.ready();
    other.go();
    let line = format!("children --children {children} --how {how}");
    let (finished, truth) = Traced::run(&namespace, "", &line);
    other.finish();
    let finished = finished.lossless();
    let pids: BTreeSet<_> = truth.clients.iter().map(|end| end.owner_pid).collect();
    assert_eq!((truth.clients.len(), pids.len()), (children, children));
    assert_traced(&finished, &truth);
    let total = assert_sums(&finished.summary);
    assert_eq!(total[1], children as u64, "connects");
}

#[test]
fn five_hundred_short_lived_children_have_a_connect_each_and_nobody_else_has_any() {
    assert_children_are_traced(500, "fork");
}

#[test]
fn children_that_execute_programs_are_followed() {
    assert_children_are_traced(50, "exec");
    assert_children_are_traced(50, "spawn");
}

#[test]
fn children_of_parents_that_have_ended_are_followed() {
    assert_children_are_traced(100, "daemon");
}

/// Runs `workload act` with these options; returns how it ended and what it said.
fn act(options: &str, line: &str) -> Finished {
    let line = format!("act {line}");
    Traced::run(&Namespace::new(), options, &line).0
}

#[test]
fn the_exit_code_is_the_commands() {
    if !can_trace() {
        return;
    }
    for (line, code) in [
        ("", 0),
        ("--exit 3", 3),
        ("--die 15", 143),
        ("--die 9", 137),
    ] {
        let finished = act("--quiet", line);
        assert_eq!(
            finished.status.code(),
            Some(code),
            "{line}: {}",
            finished.stderr
        );
        assert!(!finished.summary.is_null(), "{line}");
    }
}

#[test]
fn a_command_that_cannot_be_run_has_the_codes_of_a_shell_and_no_tables() {
    if !can_trace() {
        return;
    }
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("not-a-program");
    std::fs::write(&file, "text").expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    let file = file.to_str().expect("a path in UTF-8");
    for (program, code) in [
        ("/no/such/program", 127),
        ("no-such-program", 127),
        ("", 127),
        (file, 126),
        ("/", 126),
    ] {
        let traced = Traced::start(&Namespace::new(), "", &[program.to_owned()]);
        let (finished, _) = traced.finish();
        let text = &finished.stderr;
        assert_eq!(finished.status.code(), Some(code), "{program}: {text}");
        assert!(text.contains(&format!("cannot run `{program}`")), "{text}");
        assert!(finished.stdout.is_empty() && finished.summary.is_null());
        assert!(!text.contains("total"), "{text}");
    }
}

#[test]
fn a_tracer_that_cannot_start_does_not_run_the_command() {
    if !can_trace() {
        return;
    }
    let (_directory, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let output = std::process::Command::new(copy)
        .arg("--")
        .args(workload("act --tell"))
        .uid(65_534)
        .gid(65_534)
        .output()
        .expect("running it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("CAP_BPF") && output.stdout.is_empty(),
        "{text}"
    );
}

#[test]
fn signals_that_are_sent_to_the_tracer_are_passed_on() {
    if !can_trace() {
        return;
    }
    let mut traced = Traced::start(
        &Namespace::new(),
        "--quiet",
        &workload("act --listen --exit 7"),
    );
    assert!(traced.line().expect("a ready line").contains("ready"));
    for signal in [
        Signal::INT,
        Signal::QUIT,
        Signal::HUP,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::WINCH,
        Signal::TERM,
    ] {
        traced.signal(signal);
        let told = traced.line().expect("a signal");
        assert_eq!(told.trim().parse(), Ok(signal.as_raw()));
    }
    let (finished, _) = traced.finish();
    assert_eq!(finished.status.code(), Some(7), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("loss: none"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_hangup_is_the_commands_and_has_files_read_again() {
    if !can_trace() {
        return;
    }
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let list = directory.path().join("list");
    for option in ["--only", "--exclude", "--local"] {
        std::fs::write(&list, "").expect("a file");
        let options = format!("--quiet {option} @{}", list.display());
        let line = workload("act --listen --exit 7");
        let without_a_terminal = |command: &mut std::process::Command| {
            // SAFETY: one system call.
            unsafe { command.pre_exec(|| Ok(setsid().map(drop)?)) };
        };
        let mut traced = Traced::start_with(&Namespace::new(), &options, &line, |command| {
            without_a_terminal(command);
            command
        });
        assert!(traced.line().expect("a ready line").contains("ready"));
        for (text, networks) in [("192.0.2.1", 1), ("192.0.2.1\n192.0.2.9", 2)] {
            std::fs::write(&list, text).expect("a file");
            traced.signal(Signal::HUP);
            let told = traced.line().expect("a signal");
            assert_eq!(told.trim().parse(), Ok(Signal::HUP.as_raw()), "{option}");
            traced.wait_for(&format!("chosen anew: {option} {networks} networks"));
        }
        traced.signal(Signal::TERM);
        let told = traced.line().expect("a signal");
        assert_eq!(told.trim().parse(), Ok(Signal::TERM.as_raw()), "{option}");
        let (finished, _) = traced.finish();
        assert_eq!(finished.status.code(), Some(7), "{}", finished.stderr);
        assert!(!finished.summary.is_null());
    }
}

/// A tracer with a command on a terminal of its own.
struct Terminal {
    master: std::os::fd::OwnedFd,
    running: Running,
    text: String,
}

impl Terminal {
    fn start(line: &str) -> Self {
        let (master, slave) = pty::open(200);
        let mut tracer = Tracer::command("--quiet");
        tracer.arg("--").args(workload(line));
        let running = Running::start(&mut pty::on(&slave, &tracer));
        Self {
            master,
            running,
            text: String::new(),
        }
    }

    fn read_until(&mut self, word: &str) {
        while !self.text.contains(word) {
            assert!(
                readable(&self.master, PATIENCE),
                "no {word:?}: {}",
                self.text
            );
            let mut buffer = [0; 4096];
            let length = rustix::io::read(&self.master, &mut buffer)
                .unwrap_or_else(|error| panic!("{error} before {word:?}: {}", self.text));
            self.text += &String::from_utf8_lossy(&buffer[..length]);
        }
    }

    fn interrupt(&self) {
        rustix::io::write(&self.master, b"\x03").expect("typing");
    }

    fn finish(mut self) -> (Option<i32>, String) {
        let mut rest = Vec::new();
        // A terminal's end is an error to its reader.
        let _ = File::from(self.master).read_to_end(&mut rest);
        let status = self.running.wait().expect("the tracer hangs");
        (status.code(), self.text + &String::from_utf8_lossy(&rest))
    }
}

#[test]
fn ctrl_c_is_the_commands_and_comes_once() {
    if !can_trace() {
        return;
    }
    let mut terminal = Terminal::start("act --listen --exit 5");
    terminal.read_until("\"ready\"");
    terminal.interrupt();
    terminal.read_until("2\r\n");
    terminal.running.signal(Signal::TERM);
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(5), "{text}");
    // The terminal shows what is typed.
    let words = text
        .lines()
        .map(|line| line.trim().trim_start_matches("^C"));
    let told: Vec<i32> = words.filter_map(|word| word.parse().ok()).collect();
    assert_eq!(told, [2, 15], "{text}");
    assert!(text.contains("loss: none"), "{text}");
}

#[test]
fn a_command_that_ctrl_c_ends_leaves_tables() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut terminal = namespace.run(|| Terminal::start("hold"));
    terminal.read_until("\"ready\"");
    terminal.interrupt();
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(130), "{text}");
    assert!(
        text.contains("loss: none") && text.contains("total"),
        "{text}"
    );
}

#[test]
fn standard_output_is_the_commands() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let line = workload("children --children 3");
    let mut command = Tracer::command("--format json");
    command.arg("--").args(&line);
    let output = namespace.run(|| command.output()).expect("running it");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stderr}");
    assert!(
        stdout.lines().all(|line| line.contains("\"role\"")),
        "{stdout}"
    );
    assert_eq!(stdout.lines().count(), 6);
    let closes = stderr
        .lines()
        .filter(|line| line.contains(r#""event":"close""#));
    assert_eq!(closes.count(), 6, "{stderr}");
    assert!(stderr.contains("total"), "{stderr}");
}

#[test]
fn who_reads_records_no_more_does_not_change_the_exit_code() {
    if !can_trace() {
        return;
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Tracer::command("--format json");
    command.arg("--").args(workload("act --exit 3"));
    command.stdout(Stdio::null()).stderr(writer);
    let status = Running::start(&mut command).wait().expect("it hangs");
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_command_has_the_descriptors_that_were_there_before_and_none_of_ours() {
    if !can_trace() {
        return;
    }
    let (ready, told) = std::io::pipe().expect("a pipe");
    let null = File::open("/dev/null").expect("/dev/null");
    let line = workload("act --tell");
    let traced = Traced::start_with(
        &Namespace::new(),
        "--quiet --ready-fd 9",
        &line,
        |command| {
            let mapping = |parent_fd, child_fd| FdMapping {
                parent_fd,
                child_fd,
            };
            let mappings = vec![mapping(told.into(), 9), mapping(null.into(), 7)];
            command.fd_mappings(mappings).expect("two descriptors")
        },
    );
    let (finished, _) = traced.finish();
    let start: Start = serde_json::from_slice(&finished.stdout).expect("how it was started");
    let mut expected = inherited();
    expected.extend([0, 1, 2, 7]);
    assert_eq!(start.descriptors, Vec::from_iter(expected));
    let mut text = String::new();
    File::from(std::os::fd::OwnedFd::from(ready))
        .read_to_string(&mut text)
        .expect("reading the ready pipe");
    assert_eq!(text, "ready\n");
    assert_eq!(start.status["SigBlk"], "0".repeat(16));
}

/// Descriptors of ours that every program gets which we execute.
fn inherited() -> BTreeSet<i32> {
    let folder = std::fs::read_dir("/proc/self/fd").expect("our descriptors");
    let numbers = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_passed_on = |fd: &i32| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"));
        let info = info.unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        flags.is_some_and(|flags| flags & libc::O_CLOEXEC == 0)
    };
    numbers.filter(is_passed_on).collect()
}

/// The child of a process that is called `name`, once there is one.
fn child_called(name: &str, parent: u32) -> PathBuf {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        for child in children.split_whitespace() {
            let folder = Path::new("/proc").join(child);
            if std::fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm.trim() == name) {
                return folder;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("no child {name}");
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
}

#[test]
fn a_command_ignores_no_signal_because_of_us() {
    if !can_trace() {
        return;
    }
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("fifo");
    fifo(&path);
    let words = ["cp", path.to_str().expect("UTF-8"), "/dev/null"].map(str::to_owned);
    let traced = Traced::start(&Namespace::new(), "--quiet", &words);
    let status = child_called("cp", traced.pid()).join("status");
    let status = std::fs::read_to_string(status).expect("its status");
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    // Beyond are those of the C library. The runtime of the test ignores SIGPIPE, as the tracer's does,
    // and whoever started the test may ignore the others, which the tracer was started without.
    let standard = |mask: &str| u64::from_str_radix(mask, 16).expect("a mask") & 0x7fff_ffff;
    let heeded = [libc::SIGPIPE, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];
    let heeded = heeded
        .iter()
        .fold(0, |mask, signal| mask | 1 << (signal - 1));
    let ours = standard(&own_status("SigIgn")) & !heeded;
    assert_eq!(field("SigIgn:\t").map(standard), Some(ours));
    assert_eq!(field("SigBlk:\t"), Some("0000000000000000"));
    drop(File::create(&path).expect("opening the FIFO"));
    let (finished, _) = traced.finish();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
}

/// A command that connects and ends, with a descendant that waits for the end of a FIFO and connects.
struct Left {
    traced: Traced,
    /// What it said before that end.
    truth: Truth,
    fifo: File,
    _directory: tempfile::TempDir,
}

impl Left {
    fn start(options: &str) -> Self {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        let path = directory.path().join("fifo");
        fifo(&path);
        let line = workload(&format!("linger --fifo {}", path.display()));
        let mut traced = Traced::start(&Namespace::new(), options, &line);
        let mut truth = Truth::default();
        while truth.pids("descendant").is_empty() {
            let line = traced.line().expect("a process");
            truth.add(serde_json::from_str(&line).expect("a line of truth"));
        }
        // Waits for the other side.
        let fifo = File::create(&path).expect("opening the FIFO");
        Self {
            traced,
            truth,
            fifo,
            _directory: directory,
        }
    }

    /// Lets the descendant go on; returns also what that said.
    fn finish(self) -> (Finished, Truth, Truth) {
        drop(self.fifo);
        let (finished, rest) = self.traced.finish();
        (finished, self.truth, rest)
    }

    fn runs(&self, duty: &str) -> bool {
        let pid = self.truth.pids(duty)[0];
        Path::new("/proc").join(pid.to_string()).exists()
    }

    fn wait_for_the_command(&self) {
        let since = Instant::now();
        while self.runs("command") {
            assert!(since.elapsed() < PATIENCE, "the command does not end");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

#[test]
fn a_run_ends_with_its_command_also_if_descendants_live_on() {
    if !can_trace() {
        return;
    }
    let mut left = Left::start("");
    let status = left.traced.wait();
    assert!(left.runs("descendant"));
    let (finished, truth, rest) = left.finish();
    assert_eq!(status.code(), Some(0), "{}", finished.stderr);
    assert_eq!(rest.ends().count(), 2, "the descendant ended well");
    // It is the command's: nobody traced the descendant any more.
    let finished = finished.lossless();
    assert_traced(&finished, &truth);
    let (sent, received) = truth.bytes();
    assert!(sent > 0);
    assert_eq!(
        assert_sums(&finished.summary),
        [1, 1, 0, 0, 0, sent, received]
    );
    let rows = finished.summary["processes"].as_array().expect("a table");
    let pids: Vec<_> = rows.iter().map(|row| row["pid"].as_u64()).collect();
    assert_eq!(pids, [Some(truth.pids("command")[0].into())]);
    assert_tables(&finished.stderr);
}

#[test]
fn a_run_waits_for_all_descendants_if_asked() {
    if !can_trace() {
        return;
    }
    let left = Left::start("--wait-all");
    left.wait_for_the_command();
    assert!(left.runs("descendant"));
    let (finished, mut truth, rest) = left.finish();
    rest.lines().for_each(|line| truth.add(line));
    assert_eq!(truth.ends().count(), 4);
    assert_traced(&finished.lossless(), &truth);
}

#[test]
fn who_waits_for_all_can_stop_waiting() {
    if !can_trace() {
        return;
    }
    let mut left = Left::start("--wait-all");
    left.wait_for_the_command();
    left.traced.signal(Signal::INT);
    assert_eq!(left.traced.wait().code(), Some(0));
    assert!(left.runs("descendant"), "the signal was for us");
    let (finished, ..) = left.finish();
    assert!(
        finished.stderr.contains("loss: none"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_tree_that_runs_already_is_followed() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut tree = Workload::start(&namespace, "tree --depth 4");
    let mut other = Workload::start(&namespace, "tree --depth 2");
    let root = tree.ready().pids("tree")[0];
    let first = other.ready().pids("tree")[0];
    let tracer = Tracer::start(&namespace, &format!("--pid {root},4194304 --follow"));
    other.go();
    tree.go();
    let others = other.finish();
    let truth = tree.finish();
    let finished = tracer.stop().lossless();
    assert!(others.pids("tree").contains(&first) && others.ends().count() > 0);
    // Each has one from before and one of its own, and a child with another.
    assert_eq!(truth.ends().count(), 4 * 3 * 2);
    assert_equal(&finished, truth.ends());
    assert_sums(&finished.summary);
    let text = &finished.stderr;
    assert!(text.contains("process 4194304 is not there"), "{text}");
}

#[test]
fn nobody_to_follow_is_an_error() {
    if !can_trace() {
        return;
    }
    let (code, text) = run("--pid 4194304 --follow");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--follow"), "{text}");
}

#[test]
fn what_does_not_go_together_is_wrong_usage() {
    for (line, word) in [
        ("--follow", "--pid"),
        ("--pid 1 -- true", "--pid"),
        ("--pid 1 --follow -- true", "--follow"),
        ("--duration 1s -- true", "--duration"),
        ("--wait-all", "--wait-all"),
        ("--as-root --pid 1 --follow", "--as-root"),
        ("list -- true", "true"),
        ("replay --follow x", "--follow"),
    ] {
        let command =
            std::process::Command::new(tests::harness::program("CONNTRACER_BIN", "conntracer"))
                .args(line.split_whitespace())
                .output();
        let output = command.expect("running conntracer");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {text}");
        assert!(text.contains(word), "{line}: {text}");
    }
}

/// The peer has not yet read what the command sent last, when that has ended: the kernel cannot end the
/// connection before.
#[test]
fn a_connection_that_the_kernel_finishes_after_the_command_is_not_open() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let listener = namespace.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        set_socket_recv_buffer_size(&listener, 4096).expect("a small buffer");
        listener
    });
    let address = listener.local_addr().expect("its address");
    let line = workload(&format!(
        "connect-once --address {address} --abandon 100000"
    ));
    let mut traced = Traced::start(&namespace, "", &line);
    let (mut peer, _) = listener.accept().expect("a connection");
    let line = traced.line().expect("an end");
    let Ok(Line::Client(end)) = serde_json::from_str(&line) else {
        panic!("not an end: {line}");
    };
    let pid = end.owner_pid.expect("a process");
    let since = Instant::now();
    while Path::new("/proc").join(pid.to_string()).exists() {
        assert!(since.elapsed() < PATIENCE, "the command does not end");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let read = std::io::copy(&mut peer, &mut std::io::sink()).expect("reading");
    drop(peer);
    assert_eq!(read, end.tx);
    let (finished, _) = traced.finish();
    let finished = finished.lossless();
    assert_equal(&finished, [(false, &end)].into_iter());
    assert_eq!(finished.events("close").len(), 1, "{}", finished.stderr);
}

#[test]
fn a_command_that_is_killed_ends_the_run() {
    if !can_trace() {
        return;
    }
    let mut traced = Traced::start(&Namespace::new(), "--quiet", &workload("act --listen"));
    assert!(traced.line().expect("a ready line").contains("ready"));
    let children = format!("/proc/{0}/task/{0}/children", traced.pid());
    let children = std::fs::read_to_string(children).expect("the children");
    let pid = children.trim().parse().ok().and_then(Pid::from_raw);
    kill_process(pid.expect("one child"), Signal::KILL).expect("killing it");
    let (finished, _) = traced.finish();
    assert_eq!(finished.status.code(), Some(137), "{}", finished.stderr);
}
