//! Children that are copies of this process, for workloads that have no threads.

use std::io::{Read as _, Write as _};

use anyhow::Context as _;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, set_parent_process_death_signal, waitpid,
};

/// A child. Whoever starts it waits for it.
#[derive(Debug)]
pub(super) struct Child(Pid);

impl Child {
    /// Starts a child that does `work`, ends when it is done, and does not outlive this process.
    /// With `number` its process id is that one, which must be free.
    pub(super) fn start(
        number: Option<Pid>,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let number = number.map(|number| number.as_raw_nonzero().get());
        // SAFETY: all zeroes is a valid `clone_args`.
        let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
        arguments.exit_signal = u64::try_from(libc::SIGCHLD)?;
        if let Some(number) = &number {
            arguments.set_tid = std::ptr::from_ref(number).addr() as u64;
            arguments.set_tid_size = 1;
        }
        let size = size_of_val(&arguments);
        // SAFETY: the arguments and what they point to outlive the call. Nothing is shared, so the
        // child goes on with a copy of all memory, in which no other thread can have held a lock.
        let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) };
        match result {
            -1 => Err(std::io::Error::last_os_error()).context("clone3"),
            0 => {
                let done = set_parent_process_death_signal(Some(Signal::KILL))
                    .map_err(Into::into)
                    .and_then(|()| work());
                if let Err(error) = &done {
                    let _ = writeln!(std::io::stderr(), "child: {error:#}");
                }
                std::process::exit(i32::from(done.is_err()))
            }
            pid => {
                let pid = Pid::from_raw(pid.try_into()?).context("clone3 gave no process id")?;
                Ok(Self(pid))
            }
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.0
    }

    pub(super) fn kill(&self) -> anyhow::Result<()> {
        Ok(rustix::process::kill_process(self.0, Signal::KILL)?)
    }

    /// Waits for its end; it ended as it should if `expected` says so.
    pub(super) fn wait(self, expected: impl FnOnce(WaitStatus) -> bool) -> anyhow::Result<()> {
        let (_, status) = waitpid(Some(self.0), WaitOptions::empty())?.context("no child")?;
        anyhow::ensure!(expected(status), "a child ended otherwise: {status:?}");
        Ok(())
    }
}

/// How a child ends that has done its work.
pub(super) fn well(status: WaitStatus) -> bool {
    status.exit_status() == Some(0)
}

/// How a child ends that was killed.
pub(super) fn killed(status: WaitStatus) -> bool {
    status.terminating_signal() == Some(Signal::KILL.as_raw())
}

/// Where children say that they are ready.
#[derive(Debug)]
pub(super) struct Roll {
    reader: std::io::PipeReader,
    writer: std::io::PipeWriter,
}

impl Roll {
    pub(super) fn new() -> anyhow::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Self { reader, writer })
    }

    /// A child is ready; it stays so until it is killed.
    pub(super) fn ready(&self) -> anyhow::Result<()> {
        (&self.writer).write_all(b"+")?;
        loop {
            std::thread::park();
        }
    }

    /// Waits until `children` are ready; an error if they ended instead.
    pub(super) fn call(self, children: usize) -> anyhow::Result<()> {
        // With our own writing end gone, the pipe ends if all children do.
        drop(self.writer);
        let mut bytes = vec![0; children];
        (&self.reader)
            .read_exact(&mut bytes)
            .context("children ended before they were ready")
    }
}
