//! What ends a run, beside its output: a signal, the end of `--duration`, or of the command.

use std::time::Duration;

use tokio::time::Instant;

use crate::bpf::follow::Followed;
use crate::command::Command;
use crate::stop::Stop;
use crate::timer;

/// How long, after a command has ended, the kernel may take to finish its connections: without that,
/// what a command closed last would count as open.
const GOODBYES: Duration = Duration::from_secs(2);

/// What ends a run.
pub(super) struct End<'a> {
    stop: &'a mut Stop,
    command: Option<&'a mut Command>,
    followed: Option<&'a Followed>,
    deadline: Option<Instant>,
    /// The command has ended, and until then the kernel may finish its connections.
    goodbyes: Option<Instant>,
}

impl<'a> End<'a> {
    pub(super) fn new(
        stop: &'a mut Stop,
        command: Option<&'a mut Command>,
        followed: Option<&'a Followed>,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            stop,
            command,
            followed,
            deadline,
            goodbyes: None,
        }
    }

    /// Waits for the first of them. Safe to cancel.
    pub(super) async fn come(&mut self) {
        let Self {
            stop,
            command,
            followed,
            deadline,
            goodbyes,
        } = self;
        let stopped = async {
            match command {
                Some(command) if goodbyes.is_none() => command.over(stop, *followed).await,
                _ => stop.requested().await,
            }
        };
        tokio::select! {
            biased;
            () = stopped => {}
            () = timer::until(goodbyes.or(*deadline)) => {}
        }
    }

    /// Whether, now that it has come, connections are waited for that the kernel finishes.
    pub(super) fn waits_for_goodbyes(&mut self) -> bool {
        let ended = self.command.as_ref().is_some_and(|it| it.has_ended());
        let waits = ended && self.goodbyes.is_none();
        if waits {
            self.goodbyes = Some(Instant::now() + GOODBYES);
        }
        waits
    }

    /// Whether connections are waited for that the kernel finishes.
    pub(super) fn is_at_goodbyes(&self) -> bool {
        self.goodbyes.is_some()
    }
}
