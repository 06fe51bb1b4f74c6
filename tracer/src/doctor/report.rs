//! What the doctor found, as data: `--format json` writes it as it is.

use serde::Serialize;

use super::attempt::{Attempt, Usable};
use super::compare::{Comparison, differing};
use super::coverage::{Coverage, coverage};
use super::gather::{Findings, Tried};
use super::machine;
use super::self_test::Trial;
use crate::bpf::programs::Backend;

/// Version of the report's shape: fields may be added, never renamed.
const VERSION: u8 = 1;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Something is missing that tracing can do without.
    Warning,
    /// It stands in the way of tracing, or is wrong.
    Failed,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What is wrong and what to do about it; absent if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Which backend a trace takes here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Its name.
    pub backend: &'static str,
    /// Why it is this one.
    pub reason: String,
}

/// The traced connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SelfTest {
    /// `Ok` = everything was seen as it was.
    pub verdict: Verdict,
    /// Where the connection was; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Why there was none, or why it was not traced to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it did, and what was seen of it.
    pub comparisons: Vec<Comparison>,
}

impl SelfTest {
    fn new(trial: Trial) -> Self {
        match trial {
            Trial::NotMade { reason, place } => Self {
                verdict: Verdict::Failed,
                place,
                error: Some(reason),
                comparisons: Vec::new(),
            },
            Trial::Made { place, comparisons } => Self {
                verdict: if differing(&comparisons).next().is_some() {
                    Verdict::Failed
                } else {
                    Verdict::Ok
                },
                place: Some(place),
                error: None,
                comparisons,
            },
        }
    }

    /// Why it did not pass, in a sentence; `None` if it did.
    pub fn problem(&self) -> Option<String> {
        if let Some(error) = &self.error {
            return Some(format!("the self-test could not be made: {error}"));
        }
        let wrong: Vec<_> = differing(&self.comparisons)
            .map(Comparison::sentence)
            .collect();
        (self.verdict != Verdict::Ok).then(|| format!("the self-test failed: {}", wrong.join("; ")))
    }
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this shape.
    pub v: u8,
    /// Version of conntracer.
    pub version: &'static str,
    /// Whether the self-test passed.
    pub passed: bool,
    /// What the machine is and allows.
    pub machine: Vec<Row>,
    /// Every backend with its programs, the preferred one first.
    pub backends: Vec<Attempt>,
    /// What the self-test was made with; absent if nothing can be attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// The traced connection.
    pub self_test: SelfTest,
    /// What is counted here, and what is not.
    pub counted: Vec<Coverage>,
}

impl Report {
    /// Judges what was found.
    pub fn new(findings: Findings) -> Self {
        let Findings {
            machine,
            types,
            asked,
            tried,
        } = findings;
        let Tried {
            attempts,
            chosen,
            trial,
        } = tried;
        let self_test = SelfTest::new(trial);
        let used = chosen.and_then(|chosen| attempts.iter().find(|it| it.is(chosen)));
        let types = types.as_ref().map_err(String::as_str);
        let unsteady = types.ok().and_then(|types| types.unsteady.as_deref());
        Self {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION"),
            passed: self_test.verdict == Verdict::Ok,
            machine: machine::rows(&machine, types),
            choice: chosen.map(|backend| choice(backend, asked, &attempts)),
            counted: coverage(used, unsteady),
            backends: attempts,
            self_test,
        }
    }
}

fn choice(backend: Backend, asked: Option<Backend>, attempts: &[Attempt]) -> Choice {
    let refused: Vec<_> = attempts
        .iter()
        .take_while(|attempt| !attempt.is(backend))
        .filter(|attempt| attempt.usable == Usable::No)
        .map(|attempt| attempt.backend)
        .collect();
    let reason = if asked.is_some() {
        "asked for with --backend".to_owned()
    } else if refused.is_empty() {
        "the first choice, and all that it needs is attached".to_owned()
    } else {
        format!(
            "the best of those that can be attached; {} cannot",
            refused.join(" and ")
        )
    };
    Choice {
        backend: backend.name(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::attempt::sample;

    #[test]
    fn the_choice_names_what_could_not_be_had() {
        let attempts = [
            sample(Backend::Fentry, &["connect_fentry"]),
            sample(Backend::Kprobe, &[]),
        ];
        let auto = choice(Backend::Kprobe, None, &attempts);
        assert_eq!(auto.backend, "kprobe");
        assert!(auto.reason.ends_with("; fentry cannot"), "{}", auto.reason);
        let asked = choice(Backend::Kprobe, Some(Backend::Kprobe), &attempts);
        assert!(asked.reason.contains("--backend"));
        let first = choice(Backend::Kprobe, None, &attempts[1..]);
        assert!(!first.reason.contains("cannot"));
    }

    #[test]
    fn a_self_test_that_was_not_made_or_saw_something_else_has_a_problem() {
        let not_made = SelfTest::new(Trial::NotMade {
            reason: "CAP_BPF missing".to_owned(),
            place: None,
        });
        assert_eq!(not_made.verdict, Verdict::Failed);
        assert!(not_made.problem().unwrap().ends_with("CAP_BPF missing"));
        let made = |seen| {
            SelfTest::new(Trial::Made {
                place: "here".to_owned(),
                comparisons: vec![Comparison::new("accepts", 1, Some(seen))],
            })
        };
        assert_eq!(made(1_u64).problem(), None);
        let problem = made(2).problem().unwrap();
        assert!(problem.contains("accepts: 1 expected, 2 seen"), "{problem}");
    }
}
