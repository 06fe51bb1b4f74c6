//! Files and cgroups looked at again on SIGHUP, as services do. On a terminal that signal means that
//! the terminal is gone, and ends the run as always.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Choice;
use crate::say::say;

/// Waits for the signal.
#[derive(Debug)]
pub struct Reload(Option<Signal>);

impl Reload {
    /// Takes the signal over if something of `choice` can change, and it means nothing else. To be
    /// called inside a tokio runtime.
    pub fn listen(choice: &Choice, hangup_ignored: bool) -> io::Result<Self> {
        let wanted = choice.can_change() && !hangup_ignored && !has_terminal();
        let hangup = wanted.then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self(hangup))
    }

    /// Whether the signal is no wish to stop.
    pub fn takes_hangup(&self) -> bool {
        self.0.is_some()
    }

    /// From now on, each time, hands what `choice` has become to `change`, beside whatever else the
    /// runtime does. What cannot be used is told, and nothing changes then.
    pub fn start(
        self,
        choice: &Choice,
        mut change: impl FnMut(&Choice) -> io::Result<()> + Send + 'static,
    ) {
        let Some(mut hangup) = self.0 else { return };
        let mut choice = choice.clone();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                let turn = tokio::task::spawn_blocking(move || {
                    turn(&mut choice, &mut change);
                    (choice, change)
                });
                match turn.await {
                    Ok(back) => (choice, change) = back,
                    Err(_) => return,
                }
            }
        });
    }
}

fn turn(choice: &mut Choice, change: &mut impl FnMut(&Choice) -> io::Result<()>) {
    let changed = match choice.again() {
        Ok(changed) => changed,
        Err(error) => return say(&format!("error: {error}. What was chosen before stays")),
    };
    match change(&changed) {
        Ok(()) => {
            say(&format!("note: chosen anew: {}", summary(&changed)));
            *choice = changed;
        }
        Err(error) => say(&format!(
            "error: the choice cannot be changed: {error}. It may be in part what it was before"
        )),
    }
}

fn summary(choice: &Choice) -> String {
    let prefixes = choice
        .prefixes()
        .map(|(option, _, prefixes)| (option, prefixes.set().len(), "networks"));
    let cgroups = (!choice.cgroups.is_empty()).then(|| ("", choice.cgroups.ids().len(), "cgroups"));
    let parts: Vec<_> = prefixes
        .chain(cgroups)
        .map(|(option, count, what)| format!("{option} {count} {what}").trim_start().to_owned())
        .collect();
    parts.join(", ")
}

/// Whether a terminal controls this process.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::source::Prefixes;
    use super::*;

    fn file(folder: &tempfile::TempDir, text: &str) -> String {
        let path = folder.path().join("list");
        std::fs::write(&path, text).unwrap();
        format!("@{}", path.display())
    }

    #[test]
    fn what_changed_is_handed_over_and_what_is_broken_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let value = file(&folder, "10.0.0.0/8\n192.0.2.1\n");
        let mut choice = Choice {
            exclude: Some(Prefixes::of(&[value]).unwrap()),
            ..Choice::default()
        };
        let mut handed = Vec::new();
        let mut change = |choice: &Choice| {
            handed.push(summary(choice));
            Ok(())
        };
        file(&folder, "10.0.0.0/8");
        turn(&mut choice, &mut change);
        file(&folder, "nonsense");
        turn(&mut choice, &mut change);
        file(&folder, "");
        turn(&mut choice, &mut change);
        assert_eq!(handed, ["--exclude 1 networks", "--exclude 0 networks"]);
        let before = choice.clone();
        file(&folder, "::1");
        turn(&mut choice, &mut |_| Err(io::Error::other("full")));
        assert_eq!(choice, before);
    }

    #[tokio::test]
    async fn nothing_that_can_change_leaves_the_signal_alone() {
        let choice = Choice {
            only: Some(Prefixes::of(&["10.0.0.0/8"]).unwrap()),
            ..Choice::default()
        };
        assert!(!Reload::listen(&choice, false).unwrap().takes_hangup());
    }
}
