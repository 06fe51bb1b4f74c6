//! Signals while a command runs. Those of the terminal reach the command, too; those that a process
//! sends to this one are passed on.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use rustix::process::Signal;
use signal_hook_registry::register_sigaction;
use tokio::signal::unix::{SignalKind, signal};

/// Those that are passed on.
const PASSED: [Signal; 8] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::WINCH,
];
/// How many of these, the first ones, [`crate::stop::Stop`] always listens for.
const OF_STOP: usize = 2;

/// How often each came, and how often of that from a process.
static SEEN: [AtomicU32; PASSED.len()] = [const { AtomicU32::new(0) }; PASSED.len()];
static SENT: [AtomicU32; PASSED.len()] = [const { AtomicU32::new(0) }; PASSED.len()];

/// Those that are not, or not always, heard by [`crate::stop::Stop`]: a hangup may be for whoever reads
/// files again. One that is heard twice is passed on once, see [`Signals::is_for_us_alone`].
#[derive(Debug)]
pub(super) struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

impl Signals {
    /// Starts listening, and notes from now on where signals come from. To be called before
    /// [`crate::stop::Stop::listen`]: handlers run in the order of registration, and a signal must be
    /// noted when we hear of it.
    pub(super) fn listen(hangup_ignored: bool) -> io::Result<Self> {
        let is_heard = |passed: &Signal| *passed != Signal::HUP || !hangup_ignored;
        for (index, passed) in PASSED.into_iter().enumerate() {
            if !is_heard(&passed) {
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
        let listen = |passed: Signal| Ok((passed, signal(SignalKind::from_raw(passed.as_raw()))?));
        let ours = PASSED[OF_STOP..].iter().copied().filter(is_heard);
        Ok(Self(ours.map(listen).collect::<io::Result<_>>()?))
    }

    /// Waits for the next. Safe to cancel.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let mut streams = self.0.iter_mut();
            let came = streams.find_map(|(signal, stream)| {
                let is_ready = stream.poll_recv(context).is_ready();
                is_ready.then_some(*signal)
            });
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
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
