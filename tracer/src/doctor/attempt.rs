//! A backend, each of its programs, and what the kernel said of them.

use serde::Serialize;

use super::report::Verdict;
use crate::bpf::programs::{Backend, Failure, Need, Spec};

/// Whether a backend can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Usable {
    /// Every program that it must have was attached.
    Yes,
    /// One was not.
    No,
    /// It could not be tried.
    Unknown,
}

/// How it went with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was attached.
    Attached,
    /// The kernel refused it.
    Refused,
    /// It was not tried.
    NotTried,
}

/// One program of a backend.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    /// Its row in the table of programs.
    #[serde(skip)]
    pub spec: &'static Spec,
    /// Its name.
    pub program: &'static str,
    /// Where it is attached.
    pub hook: String,
    /// First kernel that has the hook.
    pub since: &'static str,
    /// How it went.
    pub state: State,
    /// Why it was refused, in the kernel's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is not seen without it, if tracing goes on without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<&'static str>,
}

impl Program {
    /// How bad it is.
    pub fn verdict(&self) -> Verdict {
        match (self.state, self.spec.need) {
            (State::Attached, _) => Verdict::Ok,
            (State::Refused, Need::Required) => Verdict::Failed,
            _ => Verdict::Warning,
        }
    }
}

/// One backend.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// Which.
    #[serde(skip)]
    pub kind: Backend,
    /// Its name.
    pub backend: &'static str,
    /// Whether it can be used.
    pub usable: Usable,
    /// Why it cannot be used, or could not be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its programs on this kernel, in the order of attachment; empty where the kernel's types do
    /// not tell which these are.
    pub programs: Vec<Program>,
}

impl Attempt {
    /// A backend that was tried: all but `failures` were attached. `reason` is why it cannot be
    /// used, if so.
    pub fn tried(
        backend: Backend,
        programs: impl Iterator<Item = &'static Spec>,
        failures: &[Failure],
        reason: Option<String>,
    ) -> Self {
        let programs: Vec<_> = programs
            .map(|spec| {
                let failure = failures.iter().find(|it| it.spec.name == spec.name);
                let state = if failure.is_some() {
                    State::Refused
                } else {
                    State::Attached
                };
                let reason = failure.map(|failure| failure.reason.clone());
                program(spec, state, reason)
            })
            .collect();
        let usable = if programs.iter().any(|it| it.verdict() == Verdict::Failed) {
            Usable::No
        } else {
            Usable::Yes
        };
        Self {
            kind: backend,
            backend: backend.name(),
            usable,
            reason,
            programs,
        }
    }

    /// A backend that could not be tried.
    pub fn untried(
        backend: Backend,
        programs: impl Iterator<Item = &'static Spec>,
        reason: String,
    ) -> Self {
        Self {
            kind: backend,
            backend: backend.name(),
            usable: Usable::Unknown,
            reason: Some(reason),
            programs: programs
                .map(|spec| program(spec, State::NotTried, None))
                .collect(),
        }
    }

    /// Whether it is this backend's.
    pub fn is(&self, backend: Backend) -> bool {
        self.kind == backend
    }

    /// The hooks of those of `programs` that are attached.
    pub fn hooks_of(&self, programs: &[&str]) -> Vec<&str> {
        self.programs
            .iter()
            .filter(|it| it.state == State::Attached && programs.contains(&it.program))
            .map(|it| &*it.hook)
            .collect()
    }

    /// The refused programs that tracing goes on without, with what is not seen then. Of two that
    /// see the same, the last.
    pub fn lost(&self) -> impl Iterator<Item = (&'static Spec, &'static str)> {
        self.programs
            .iter()
            .filter(|it| it.state == State::Refused && it.spec.twin.is_none())
            .filter_map(|it| Some((it.spec, it.lost?)))
    }
}

fn program(spec: &'static Spec, state: State, reason: Option<String>) -> Program {
    let lost = match spec.need {
        Need::Required => None,
        Need::Optional(lost) | Need::Bytes(lost) | Need::AcceptHooks(lost) => Some(lost),
    };
    Program {
        spec,
        program: spec.name,
        hook: spec.hook.to_string(),
        since: spec.since,
        state,
        reason,
        lost: lost.filter(|_| state == State::Refused),
    }
}

/// A backend on a kernel without preemption of programs, where `refused` cannot be attached.
#[cfg(test)]
pub(super) fn sample(backend: Backend, refused: &[&str]) -> Attempt {
    use crate::bpf::kernel::Traits;
    use crate::bpf::programs;
    let specs = || programs::of(backend, Traits::default());
    let failures: Vec<_> = specs()
        .filter(|spec| refused.contains(&spec.name))
        .map(|spec| Failure {
            spec,
            reason: "no such hook".to_owned(),
        })
        .collect();
    assert_eq!(failures.len(), refused.len(), "{refused:?}");
    Attempt::tried(backend, specs(), &failures, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_without_a_required_program_cannot_be_used() {
        let usable = |refused: &[&str]| sample(Backend::Fentry, refused).usable;
        assert_eq!(usable(&[]), Usable::Yes);
        assert_eq!(usable(&["graft_fentry"]), Usable::Yes);
        assert_eq!(usable(&["graft_fentry", "connect_fentry"]), Usable::No);
    }

    #[test]
    fn a_refused_program_has_the_kernels_words_and_what_is_lost() {
        let attempt = sample(Backend::Kprobe, &["graft_kprobe", "set_state"]);
        let of = |name: &str| {
            let mut programs = attempt.programs.iter();
            programs.find(|it| it.program == name).unwrap()
        };
        let graft = of("graft_kprobe");
        assert_eq!(graft.reason.as_deref(), Some("no such hook"));
        assert!(graft.lost.is_some());
        assert_eq!(graft.verdict(), Verdict::Warning);
        assert_eq!(of("set_state").verdict(), Verdict::Failed);
        assert_eq!(of("destroy_sock").verdict(), Verdict::Ok);
        assert_eq!(of("destroy_sock").reason, None);
        assert_eq!(attempt.lost().count(), 1);
    }

    #[test]
    fn what_two_programs_see_is_lost_once() {
        let attempt = sample(Backend::Tracepoint, &["accept_exit", "send_length"]);
        assert_eq!(attempt.lost().count(), 2);
    }

    #[test]
    fn hooks_are_those_of_attached_programs() {
        let names = ["connect_fentry", "connect_kprobe", "set_state"];
        let hooks = |refused: &[&str]| {
            let attempt = sample(Backend::Fentry, refused);
            attempt.hooks_of(&names).join(", ")
        };
        let [connect, state] = ["fentry tcp_connect", "tracepoint inet_sock_set_state"];
        assert_eq!(hooks(&[]), format!("{connect}, {state}"));
        assert_eq!(hooks(&["connect_fentry"]), state);
    }

    #[test]
    fn a_backend_that_was_not_tried_has_no_verdict_on_its_programs() {
        let programs = sample(Backend::Fentry, &[]).programs;
        let specs = programs.iter().map(|it| it.spec);
        let attempt = Attempt::untried(Backend::Fentry, specs, "no rights".to_owned());
        assert_eq!(attempt.usable, Usable::Unknown);
        let untried =
            |it: &Program| it.state == State::NotTried && it.verdict() == Verdict::Warning;
        assert!(attempt.programs.iter().all(untried));
    }
}
