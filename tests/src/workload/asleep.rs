//! Proof that a thread of this process waits in a certain system call.

use std::io::{Error, ErrorKind};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::thread::Pid;

use super::counted::PATIENCE;
use super::report::say;
use crate::truth::{Line, Member};

/// Returns when the thread sleeps in one of `calls`, which are numbers of system calls.
///
/// Where the kernel does not tell the call (`/proc/PID/task/TID/syscall`), any sleep counts.
fn wait_until_asleep(thread: Pid, calls: &[libc::c_long]) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let folder = format!("/proc/self/task/{thread}");
        let stat = std::fs::read_to_string(format!("{folder}/stat"))
            .with_context(|| format!("thread {thread} ended before it could wait"))?;
        let call = match std::fs::read_to_string(format!("{folder}/syscall")) {
            Ok(text) => Some(text),
            Err(error) if is_untold(&error) => None,
            Err(error) => return Err(error.into()),
        };
        if is_asleep(&stat) && call.as_deref().is_none_or(|text| is_in(text, calls)) {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            bail!("thread {thread} does not wait: it is in {call:?}, {stat:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Names this process as a server when all its tasks, whose threads announce themselves, wait in one
/// of `calls`; then waits for their end.
pub(super) fn serve_from_sleep(
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
    threads: &Receiver<Pid>,
    calls: &[libc::c_long],
) -> anyhow::Result<()> {
    for thread in threads.iter().take(tasks.len()) {
        wait_until_asleep(thread, calls)?;
    }
    say(&Line::Process(Member {
        duty: "server".into(),
        pid: std::process::id(),
    }))?;
    tasks
        .into_iter()
        .try_for_each(|task| task.join().expect("a server thread panicked"))
}

/// A kernel without `CONFIG_HAVE_ARCH_TRACEHOOK`.
fn is_untold(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

/// Interruptible sleep; a thread that waits for the lock of a socket sleeps uninterruptibly.
fn is_asleep(stat: &str) -> bool {
    // The name before it may have any character in it.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.starts_with(" S "))
}

/// `running`, or the number of the call and its arguments.
fn is_in(syscall: &str, calls: &[libc::c_long]) -> bool {
    let number = syscall.split_whitespace().next();
    number
        .and_then(|number| number.parse().ok())
        .is_some_and(|number| calls.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interruptible_sleep_is_one() {
        assert!(is_asleep("7 (a) R (b) S 1 7 7"));
        assert!(!is_asleep("7 (a) S (b) R 1 7 7"));
        assert!(!is_asleep("7 (a) D 1 7 7") && !is_asleep(""));
    }

    #[test]
    fn only_the_named_calls_count() {
        assert!(is_in(
            "288 0x3 0x0 0x0 0x80000 0x0 0x0 0x1 0x2\n",
            &[43, 288]
        ));
        assert!(!is_in("28 0x3 0x0\n", &[43, 288]));
        assert!(!is_in("running\n", &[43, 288]));
        assert!(!is_in("-1 0x1 0x2\n", &[43, 288]) && !is_in("", &[43]));
    }

    #[test]
    fn a_thread_is_found_where_it_waits() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (reader, writer) = std::io::pipe().unwrap();
        let thread = std::thread::spawn(move || {
            sender.send(rustix::thread::gettid()).unwrap();
            std::io::read_to_string(reader).unwrap();
        });
        let id = receiver.recv().unwrap();
        wait_until_asleep(id, &[libc::SYS_read]).unwrap();
        drop(writer);
        thread.join().unwrap();
        assert!(wait_until_asleep(id, &[libc::SYS_read]).is_err());
    }
}
