//! The wish to stop: Ctrl-C, SIGTERM, and the end of the terminal.

use std::io;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that end the run. From here on they do not kill the process.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    /// `None` when SIGHUP was ignored at start, as under nohup: then it stays ignored.
    hangup: Option<Signal>,
}

impl Stop {
    /// Starts listening. Must be called inside a tokio runtime.
    pub fn listen(hangup_ignored: bool) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if hangup_ignored {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
        })
    }

    /// Waits for any of them. Safe to cancel.
    pub async fn requested(&mut self) {
        self.next().await;
    }

    /// Waits for the next of them, and says which it is. Safe to cancel.
    pub async fn next(&mut self) -> Number {
        let Self {
            interrupt,
            terminate,
            hangup,
        } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => Number::INT,
            _ = terminate.recv() => Number::TERM,
            _ = hung_up => Number::HUP,
        }
    }
}
