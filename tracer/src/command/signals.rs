//! Signals while a command runs. Those of the terminal reach the command, too; those that a process
//! sends to this one are passed on.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use signal_hook_registry::register_sigaction;
use tokio::signal::unix::{SignalKind, signal};

/// Those that are passed on.
const PASSED: [Signal; 6] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];
/// How many of these [`crate::stop::Stop`] listens for.
const OF_STOP: usize = 3;

/// How often each came, and how often of that from a process.
static SEEN: [AtomicU32; PASSED.len()] = [const { AtomicU32::new(0) }; PASSED.len()];
static SENT: [AtomicU32; PASSED.len()] = [const { AtomicU32::new(0) }; PASSED.len()];

/// Those that a run without a command does not listen for.
#[derive(Debug)]
pub(super) struct Signals([tokio::signal::unix::Signal; PASSED.len() - OF_STOP]);

impl Signals {
    /// Starts listening, and notes from now on where signals come from. To be called before
    /// [`crate::stop::Stop::listen`]: handlers run in the order of registration, and a signal must be
    /// noted when we hear of it.
    pub(super) fn listen(hangup_ignored: bool) -> io::Result<Self> {
        for (index, passed) in PASSED.into_iter().enumerate() {
            if passed == Signal::HUP && hangup_ignored {
                continue;
            }
            // SAFETY: adding to atomics is all that the handler does.
            unsafe {
                register_sigaction(passed.as_raw(), move |info| {
                    SEEN[index].fetch_add(1, Ordering::Relaxed);
                    if is_from_a_process(info.si_code) {
                        SENT[index].fetch_add(1, Ordering::Relaxed);
                    }
                })?;
            }
        }
        let listen = |index: usize| signal(SignalKind::from_raw(PASSED[index].as_raw()));
        Ok(Self([
            listen(OF_STOP)?,
            listen(OF_STOP + 1)?,
            listen(OF_STOP + 2)?,
        ]))
    }

    /// Waits for the next. Safe to cancel.
    pub(super) async fn next(&mut self) -> Signal {
        let [quit, first, second] = &mut self.0;
        tokio::select! {
            _ = quit.recv() => Signal::QUIT,
            _ = first.recv() => Signal::USR1,
            _ = second.recv() => Signal::USR2,
        }
    }

    /// Whether a process sent this signal since this was last asked.
    #[expect(clippy::unused_self, reason = "nothing is noted before `listen`")]
    pub(super) fn is_for_us_alone(&self, signal: Signal) -> bool {
        place(signal).is_some_and(|index| SENT[index].swap(0, Ordering::Relaxed) > 0)
    }

    /// Whether it came at all.
    #[expect(clippy::unused_self, reason = "nothing is noted before `listen`")]
    pub(super) fn has_seen(&self, signal: Signal) -> bool {
        place(signal).is_some_and(|index| SEEN[index].load(Ordering::Relaxed) > 0)
    }
}

fn place(signal: Signal) -> Option<usize> {
    PASSED.iter().position(|passed| *passed == signal)
}

/// Codes above 0 are the kernel's own, as for what is typed at a terminal.
fn is_from_a_process(code: libc::c_int) -> bool {
    code <= 0
}
