//! The beginning of a command: a child that waits, becomes who it runs as, and executes the program.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;

use nix::unistd::{ForkResult, fork as fork_process};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::CommandLine;
use super::user::User;
use crate::exit;

/// What a shell's exit codes say of a command that cannot be run.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Why a command did not begin.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "every variant has its sentence")]
pub enum Failure {
    #[error(
        "cannot run {0}: there is no such command, or the interpreter that it names is missing"
    )]
    NotFound(String),
    #[error("cannot run {program}: {error}")]
    NotExecutable { program: String, error: io::Error },
    #[error("cannot run {program} as another user: {error}; `--as-root` runs it as root")]
    NotTheUser { program: String, error: io::Error },
}

impl Failure {
    /// The exit code of this program, as a shell's.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => NOT_FOUND,
            Self::NotExecutable { .. } => NOT_EXECUTABLE,
            Self::NotTheUser { .. } => exit::FAILURE,
        }
    }
}

/// A child that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Tells it to go on; that it is closed tells it to end.
    go: Option<PipeWriter>,
    /// Has what went wrong, and ends when the program is executed.
    failed: File,
    program: String,
}

/// Steps that can go wrong in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Become,
    Execute,
}

/// What the child writes: a step and an error number.
const REPORT: usize = 5;

/// Starts the child, which has the signals' dispositions and all descriptors of this moment. There
/// must be no other thread.
pub(super) fn fork(line: &CommandLine, user: Option<&User>) -> io::Result<(Pid, OwnedFd, Waiting)> {
    // A child whose end is ignored leaves nothing to wait for; who started us may have wanted that.
    // SAFETY: the default is no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    // Both are closed on exec.
    let (on_go, go) = io::pipe()?;
    let (failed, on_failure) = io::pipe()?;
    // SAFETY: no other thread can hold a lock in the child's copy of the memory.
    match unsafe { fork_process() }? {
        ForkResult::Child => {
            drop((go, failed));
            run(line, user, on_go, on_failure)
        }
        ForkResult::Parent { child } => {
            let pid = Pid::from_raw(child.as_raw()).ok_or(io::ErrorKind::InvalidData)?;
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            let waiting = Waiting {
                go: Some(go),
                failed: File::from(OwnedFd::from(failed)),
                program: shown(line),
            };
            Ok((pid, process, waiting))
        }
    }
}

/// The program's name for messages.
fn shown(line: &CommandLine) -> String {
    let name = line.program.to_string_lossy();
    format!("`{}`", name.escape_debug())
}

impl Waiting {
    /// Lets it go on, and waits until the program is executed, or cannot be.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        if let Some(mut go) = self.go.take() {
            // If it was killed meanwhile, its end tells.
            let _ = go.write_all(b"!");
        }
        let mut report = [0; REPORT];
        match self.failed.read_exact(&mut report) {
            Ok(()) => Err(self.failure(report)),
            Err(_) => Ok(()),
        }
    }

    fn failure(&self, report: [u8; REPORT]) -> Failure {
        let [step, number @ ..] = report;
        let error = io::Error::from_raw_os_error(i32::from_le_bytes(number));
        let program = self.program.clone();
        if step == Step::Become as u8 {
            Failure::NotTheUser { program, error }
        } else if error.kind() == io::ErrorKind::NotFound {
            Failure::NotFound(program)
        } else {
            Failure::NotExecutable { program, error }
        }
    }
}

/// The child.
fn run(
    line: &CommandLine,
    user: Option<&User>,
    mut on_go: PipeReader,
    mut on_failure: PipeWriter,
) -> ! {
    let became = user
        .map_or(Ok(()), User::become_it)
        .and_then(|()| drop_inheritable());
    if on_go.read_exact(&mut [0]).is_ok() {
        let (step, error) = match became {
            Ok(()) => (Step::Execute, execute(line, user)),
            Err(error) => (Step::Become, error),
        };
        let number = error.raw_os_error().unwrap_or(libc::EIO);
        let mut report = [step as u8; REPORT];
        report[1..].copy_from_slice(&number.to_le_bytes());
        let _ = on_failure.write_all(&report);
    }
    // SAFETY: ends this process, without what the parent registered for its own end.
    unsafe { libc::_exit(NOT_FOUND.into()) }
}

/// Capabilities that a service manager gave us would be the program's, too: ambient ones at once, and
/// inheritable ones if its file says so. An ambient one ends with the inheritable one. All others end
/// when a user's program is executed.
fn drop_inheritable() -> io::Result<()> {
    let sets = CapabilitySets {
        inheritable: CapabilitySet::empty(),
        ..capabilities(None)?
    };
    Ok(set_capabilities(None, sets)?)
}

/// Returns only if it fails. Resets the signal mask, and SIGPIPE, which the runtime ignores.
fn execute(line: &CommandLine, user: Option<&User>) -> io::Error {
    let mut command = std::process::Command::new(&line.program);
    command.args(&line.arguments);
    for (name, value) in user.into_iter().flat_map(User::environment) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.exec()
}
