//! What is counted on this machine, and what is not.

use serde::Serialize;

use super::attempt::Attempt;
use crate::bpf::programs::{Backend, Need};

/// Whether something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Exactly.
    Yes,
    /// Not all of it, or not as one would think.
    Partly,
    /// Not at all.
    No,
}

/// One thing that one would like to be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// What.
    pub what: String,
    /// Whether it is.
    pub counted: Counted,
    /// By which hook, or what is missing and why.
    pub note: String,
}

impl Coverage {
    fn new(what: &str, counted: Counted, note: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            counted,
            note: note.into(),
        }
    }
}

/// What depends on no hook.
const STANDING: [(&str, Counted, &str); 2] = [
    ("UDP and QUIC", Counted::No, "only TCP is traced"),
    (
        "traffic forwarded or NATed by this host",
        Counted::No,
        "it has no socket here; what a proxy relays has",
    ),
];

/// The list: first what `attempt`, the backend that is used, counts; without one, only what depends
/// on no backend. `unsteady` is why the kernel may skip programs unseen, if so.
pub fn coverage(attempt: Option<&Attempt>, unsteady: Option<&str>) -> Vec<Coverage> {
    let mut all = attempt.map_or_else(Vec::new, of_backend);
    if let Some(reason) = unsteady {
        let note = format!("the kernel may skip programs while it preempts one ({reason})");
        all.push(Coverage::new("everything at once", Counted::Partly, note));
    }
    let standing = STANDING.iter();
    all.extend(standing.map(|(what, counted, note)| Coverage::new(what, *counted, *note)));
    all
}

fn of_backend(attempt: &Attempt) -> Vec<Coverage> {
    let bytes = bytes_by_process(attempt);
    let encrypted_only = bytes.counted != Counted::Yes;
    let mut all = vec![
        seen(
            attempt,
            "connects",
            &["connect_fentry", "connect_kprobe", "set_state"],
        ),
        seen(attempt, "failed attempts, with the reason", &["set_state"]),
        seen(
            attempt,
            "connects that find no route",
            &["route_v4_fexit", "route_kretprobe", "connect_exit"],
        ),
        accepts(attempt),
        seen(
            attempt,
            "connections older than the run",
            &["older_sockets"],
        ),
        seen(attempt, "bytes of a connection in total", &["destroy_sock"]),
        bytes,
        mptcp(attempt),
    ];
    all.extend(blind_spots(attempt.kind, encrypted_only));
    let optional = attempt
        .lost()
        .filter(|(spec, _)| matches!(spec.need, Need::Optional(_)));
    all.extend(optional.map(|(spec, lost)| {
        let what = format!("what {} sees", spec.name);
        Coverage::new(&what, Counted::No, lost)
    }));
    all
}

/// What those of `programs` that are attached see.
fn seen(attempt: &Attempt, what: &str, programs: &[&str]) -> Coverage {
    let hooks = attempt.hooks_of(programs);
    if hooks.is_empty() {
        Coverage::new(what, Counted::No, "no program for it is attached")
    } else {
        Coverage::new(what, Counted::Yes, hooks.join(", "))
    }
}

fn accepts(attempt: &Attempt) -> Coverage {
    const WHAT: &str = "accepts, with their process";
    let lost = attempt
        .lost()
        .find(|(spec, _)| matches!(spec.need, Need::AcceptHooks(_)));
    match lost {
        Some((_, lost)) => Coverage::new(WHAT, Counted::Partly, lost),
        None => seen(
            attempt,
            WHAT,
            &[
                "release_sock_fentry",
                "graft_fentry",
                "release_sock_kprobe",
                "graft_kprobe",
                "accept_exit",
            ],
        ),
    }
}

fn bytes_by_process(attempt: &Attempt) -> Coverage {
    const WHAT: &str = "bytes, by process";
    let lost: Vec<_> = attempt
        .lost()
        .filter(|(spec, _)| matches!(spec.need, Need::Bytes(_)))
        .map(|(_, lost)| lost)
        .collect();
    if !lost.is_empty() {
        return Coverage::new(WHAT, Counted::Partly, lost.join("; "));
    }
    seen(
        attempt,
        WHAT,
        &[
            "release_sock_fentry",
            "release_sock_kprobe",
            "send_length",
            "recv_length",
            "send_length_classic",
            "recv_length_classic",
        ],
    )
}

fn mptcp(attempt: &Attempt) -> Coverage {
    const WHAT: &str = "what MPTCP connections carry";
    let calls = ["mptcp_send_fexit", "send_length", "send_length_classic"];
    let seen = seen(attempt, WHAT, &calls);
    if seen.counted == Counted::Yes {
        return seen;
    }
    let note = "by their first subflow, with what MPTCP sends twice";
    Coverage::new(WHAT, Counted::Partly, note)
}

/// What each kind of hook is blind to by its nature.
fn blind_spots(backend: Backend, encrypted_only: bool) -> [Coverage; 2] {
    const SPLICE: &str = "bytes spliced or mapped out, by process";
    const KTLS: &str = "bytes of kTLS, unencrypted";
    let blind = format!("{} does not see {}", backend.name(), backend.blind_to());
    match backend {
        Backend::Fentry | Backend::Kprobe => [
            Coverage::new(SPLICE, Counted::Yes, "as all other bytes"),
            Coverage::new(KTLS, Counted::No, blind + "; they are counted encrypted"),
        ],
        Backend::Tracepoint => [
            Coverage::new(SPLICE, Counted::No, blind + "; they are unattributed"),
            if encrypted_only {
                Coverage::new(KTLS, Counted::No, "in total, they are counted encrypted")
            } else {
                Coverage::new(KTLS, Counted::Yes, "as all other bytes")
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::attempt::sample;

    fn find<'a>(all: &'a [Coverage], what: &str) -> &'a Coverage {
        let found = all.iter().find(|it| it.what.starts_with(what));
        found.unwrap_or_else(|| panic!("{what}: {all:?}"))
    }

    #[test]
    fn forwarded_traffic_is_named_with_every_backend_and_without_one() {
        for attempt in Backend::ALL.map(|backend| Some(sample(backend, &[]))) {
            let all = coverage(attempt.as_ref(), None);
            assert_eq!(find(&all, "traffic forwarded").counted, Counted::No);
            assert_eq!(find(&all, "connects").counted, Counted::Yes);
        }
        let all = coverage(None, None);
        assert_eq!(find(&all, "traffic forwarded").counted, Counted::No);
        assert!(all.iter().all(|it| it.counted != Counted::Yes), "{all:?}");
    }

    #[test]
    fn what_a_backend_says_it_is_blind_to_is_one_row() {
        for backend in Backend::ALL {
            let all = coverage(Some(&sample(backend, &[])), None);
            let blind = all
                .iter()
                .filter(|it| it.note.contains(backend.blind_to()) && it.counted == Counted::No);
            assert_eq!(blind.count(), 1, "{}", backend.name());
        }
    }

    #[test]
    fn with_every_program_attached_accepts_and_bytes_are_counted() {
        for backend in Backend::ALL {
            let all = coverage(Some(&sample(backend, &[])), None);
            for what in ["accepts", "bytes, by process", "bytes of a connection"] {
                assert_eq!(find(&all, what).counted, Counted::Yes, "{what}: {all:?}");
            }
        }
    }

    #[test]
    fn whatever_an_optional_program_would_see_is_said() {
        for (backend, program) in [
            (Backend::Fentry, "graft_fentry"),
            (Backend::Kprobe, "graft_kprobe"),
            (Backend::Tracepoint, "send_length"),
            (Backend::Tracepoint, "recv_length"),
            (Backend::Tracepoint, "accept_exit"),
        ] {
            let attempt = sample(backend, &[program]);
            let (_, lost) = attempt.lost().next().unwrap();
            let all = coverage(Some(&attempt), None);
            let mut said = all.iter().filter(|it| it.note.contains(lost));
            assert!(
                said.next().is_some_and(|it| it.counted != Counted::Yes),
                "{program}: {all:?}"
            );
        }
    }

    #[test]
    fn without_hooks_for_bytes_ktls_is_counted_encrypted() {
        let attempt = sample(Backend::Tracepoint, &["send_length", "recv_length"]);
        let all = coverage(Some(&attempt), None);
        assert_eq!(find(&all, "bytes of kTLS").counted, Counted::No);
        assert_eq!(find(&all, "bytes of a connection").counted, Counted::Yes);
    }

    #[test]
    fn a_kernel_that_skips_programs_is_named() {
        let all = coverage(None, Some("record has moved"));
        assert!(find(&all, "everything").note.contains("record has moved"));
    }
}
