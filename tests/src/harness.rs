//! What every test needs: whether it can run here, where the programs are, waiting with a bound.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

/// How long anything may take before the test calls it a hang.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// Whether tests with a real kernel can run here.
///
/// If not, says why, and fails where `CONNTRACER_TESTS_MUST_RUN=1` forbids to skip.
pub fn can_trace() -> bool {
    can_run(obstacle())
}

/// Whether a test can run, which this is in the way of; else the same as [`can_trace`].
pub fn can_run(obstacle: Option<&str>) -> bool {
    let Some(reason) = obstacle else {
        return true;
    };
    assert!(
        std::env::var_os("CONNTRACER_TESTS_MUST_RUN").is_none_or(|value| value != "1"),
        "this test must run, but {reason}"
    );
    let thread = std::thread::current();
    say(&format!(
        "{}: skipped: {reason}",
        thread.name().unwrap_or("test")
    ));
    false
}

/// Whether the machine is a test's own, whose clock may be set: `cargo xtask vm` says so.
pub fn owns_machine() -> bool {
    let owns = std::env::var_os("CONNTRACER_OWN_MACHINE").is_some_and(|value| value == "1");
    if !owns {
        say("skipped: only in a VM of its own may a test set the clock (cargo xtask vm)");
    }
    owns
}

fn obstacle() -> Option<&'static str> {
    // The inode number of the initial pid namespace is fixed.
    let initial = std::fs::read_link("/proc/self/ns/pid")
        .is_ok_and(|link| link.as_os_str() == "pid:[4026531836]");
    if !rustix::process::geteuid().is_root() {
        Some("only root can trace and make network namespaces")
    } else if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("this kernel has no BTF (/sys/kernel/btf/vmlinux)")
    } else if !initial {
        Some("process ids differ here: this is not the initial pid namespace")
    } else {
        None
    }
}

/// Says something to whoever watches the tests.
#[expect(
    clippy::print_stderr,
    reason = "a skipped test has to say so, and figures are for people"
)]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// The program `name`: from the environment variable, or from where cargo put it.
pub fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test's own path");
    // target/<profile>/deps/<test>
    let profile = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("target/<profile>/deps");
    let target = profile.parent().expect("target/<profile>");
    let places = [
        profile.join(name),
        target.join("release").join(name),
        target.join("debug").join(name),
    ];
    places
        .iter()
        .find(|path| path.exists())
        .cloned()
        .unwrap_or_else(|| {
            panic!(
                "{name} is not built: run `cargo build --workspace`, or set {variable} to its path"
            )
        })
}

/// A copy of the program `name` where everybody can reach it; it goes away with the directory.
pub fn copy_for_everybody(variable: &str, name: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a temporary directory");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everybody).expect("chmod");
    let copy = directory.path().join(name);
    // By another process: a descriptor of ours, open for writing, could be inherited by a child of
    // another test, and a file that is open for writing cannot be executed.
    let mut cp = Command::new("cp");
    let status = cp.arg(program(variable, name)).arg(&copy).status();
    assert!(status.expect("running cp").success());
    (directory, copy)
}

/// A folder to carry a page out in, and in it one of programs, with conntracer.
pub fn workplace() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary directory");
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    let ours = program("CONNTRACER_BIN", "conntracer");
    let ours = ours.canonicalize().expect("conntracer is built");
    symlink(ours, bin.join("conntracer")).expect("a link");
    (folder, bin)
}

/// A child process that ends with its test, whatever happens.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it. What whoever runs the tests ignores, in the background of a script or under nohup, it
    /// does not: a program that a person starts would not either.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_owned();
        // SAFETY: `signal` may be called between fork and exec.
        unsafe { command.pre_exec(heed_signals) };
        Self(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("starting {}: {error}", name.display())),
        )
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("sending a signal");
    }

    /// Kills it and waits.
    pub fn kill(&mut self) -> ExitStatus {
        self.0.kill().expect("killing a child");
        self.0.wait().expect("waiting for a killed child")
    }

    /// Waits for its end; if that does not come, kills it and returns `None`.
    pub fn wait(&mut self) -> Option<ExitStatus> {
        self.wait_for(PATIENCE)
    }

    /// The same for what may take longer.
    pub fn wait_for(&mut self, patience: Duration) -> Option<ExitStatus> {
        // A process that was waited for before has no number any more.
        if let Some(status) = self.0.try_wait().expect("waiting for a child") {
            return Some(status);
        }
        let pid = Pid::from_child(&self.0);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("pidfd_open");
        if !readable(&pidfd, patience) {
            self.kill();
            return None;
        }
        Some(self.0.wait().expect("waiting for a child"))
    }
}

fn heed_signals() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
        // SAFETY: no handler is installed, so nothing of ours is ever called.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only after a failed assertion is there something left to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `fd` can be read, or is at its end.
pub fn readable(fd: &impl AsFd, patience: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let timeout = Timespec::try_from(patience).expect("a short time");
    poll(&mut fds, Some(&timeout)).expect("poll") > 0
}

/// What `/proc/self/status` says after the name of `field`.
pub fn own_status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("our status");
    let mut fields = status.lines().filter_map(|line| line.split_once(":\t"));
    let found = fields.find(|(name, _)| *name == field);
    found.expect("a field of our status").1.to_owned()
}

/// A shell that runs `command` in `folder`, whose `bin` comes first among the programs, with its errors
/// among what it prints.
pub fn shell(folder: &Path, command: &str) -> Command {
    let mut path = folder.join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1; {command}")]);
    shell.env("PATH", path);
    shell.current_dir(folder).stdin(Stdio::null());
    shell
}
