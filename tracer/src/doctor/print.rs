//! The report as text.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::attempt::{Attempt, Program, State, Usable};
use super::compare::Comparison;
use super::coverage::{Counted, Coverage};
use super::report::{Report, Row, SelfTest, Verdict};

/// Lines longer than this are hard to read, however wide the terminal is.
const WIDEST: usize = 110;
/// Narrower than this, lines break in ugly places.
const NARROWEST: usize = 60;
/// A refusal by the verifier comes with its log, which `--format json` has in full.
const LONGEST_REASON: usize = 400;

/// The report for a terminal of this many columns.
pub fn text(report: &Report, width: usize) -> String {
    let width = width.clamp(NARROWEST, WIDEST);
    let mut out = format!("conntracer {}\n", report.version);
    section(
        "Machine",
        report.machine.iter().map(machine),
        width,
        &mut out,
    );
    for attempt in &report.backends {
        let chosen = report.choice.as_ref();
        let chosen = chosen.is_some_and(|choice| choice.backend == attempt.backend);
        let told = report.self_test.error.as_deref();
        section(
            &head(attempt, chosen),
            hooks(attempt, told),
            width,
            &mut out,
        );
    }
    section("Choice", choice(report).into_iter(), width, &mut out);
    let head = report.self_test.place.as_ref().map_or_else(
        || "Self-test".to_owned(),
        |place| format!("Self-test: a loopback connection in {place}"),
    );
    section(&head, self_test(&report.self_test), width, &mut out);
    section(
        "Counted here",
        report.counted.iter().map(counted),
        width,
        &mut out,
    );
    out
}

/// A word, a name, and a text that may be broken.
struct Line {
    mark: &'static str,
    name: String,
    text: String,
}

/// Writes lines under a heading, the names aligned with each other.
fn section(head: &str, lines: impl Iterator<Item = Line>, width: usize, out: &mut String) {
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return;
    }
    let mark_width = lines.iter().map(|line| line.mark.width()).max();
    let name_width = lines.iter().map(|line| line.name.width()).max();
    let (marks, names) = (mark_width.unwrap_or(0), name_width.unwrap_or(0));
    let hanging = " ".repeat(2 + marks + 2 + names + 2);
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\n{}", textwrap::fill(head, width));
    for Line { mark, name, text } in lines {
        let first = format!("  {mark:marks$}  {name:names$}  ");
        // Beside a long name there may be no room for words.
        let hanging = if hanging.len() + NARROWEST / 3 > width {
            "      "
        } else {
            &hanging
        };
        let options = textwrap::Options::new(width)
            .initial_indent(&first)
            .subsequent_indent(hanging);
        let filled = textwrap::fill(&text, options);
        let filled = filled.lines().map(str::trim_end).collect::<Vec<_>>();
        let _ = writeln!(out, "{}", filled.join("\n"));
    }
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "FAILED",
    }
}

fn machine(row: &Row) -> Line {
    let advice = row.advice.as_ref();
    Line {
        mark: mark(row.verdict),
        name: row.check.to_owned(),
        text: advice.map_or_else(
            || row.found.clone(),
            |advice| format!("{}. {advice}", row.found),
        ),
    }
}

fn head(attempt: &Attempt, chosen: bool) -> String {
    let how = match attempt.usable {
        _ if chosen => "used for the self-test",
        Usable::Yes => "can be used",
        Usable::No => "cannot be used",
        Usable::Unknown => "not tried",
    };
    format!("Backend {}: {how}", attempt.backend)
}

/// The programs, and why they were not tried unless that is `told` elsewhere.
fn hooks(attempt: &Attempt, told: Option<&str>) -> impl Iterator<Item = Line> {
    let reason = attempt.reason.as_deref();
    let is_new = attempt.usable == Usable::Unknown && reason != told;
    let reason = reason.filter(|_| is_new).map(|reason| Line {
        mark: mark(Verdict::Failed),
        name: "not tried".to_owned(),
        text: brief(reason),
    });
    reason.into_iter().chain(attempt.programs.iter().map(hook))
}

fn hook(program: &Program) -> Line {
    let refused = program.reason.as_ref().map(|reason| {
        let lost = program.lost.map(|lost| format!(": {lost}"));
        let lost = lost.unwrap_or_default();
        format!(
            " (Linux {}+) refused ({}){lost}",
            program.since,
            brief(reason)
        )
    });
    Line {
        mark: match program.state {
            State::NotTried => "untried",
            _ => mark(program.verdict()),
        },
        name: program.program.to_owned(),
        text: format!("{}{}", program.hook, refused.unwrap_or_default()),
    }
}

/// A reason on one line, without the end of a very long one.
fn brief(reason: &str) -> String {
    let words: Vec<_> = reason.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn choice(report: &Report) -> Option<Line> {
    let choice = report.choice.as_ref()?;
    Some(Line {
        mark: mark(Verdict::Ok),
        name: choice.backend.to_owned(),
        text: choice.reason.clone(),
    })
}

fn self_test(test: &SelfTest) -> impl Iterator<Item = Line> {
    let error = test.error.as_ref().map(|error| Line {
        mark: mark(Verdict::Failed),
        name: "not made".to_owned(),
        text: brief(error),
    });
    error
        .into_iter()
        .chain(test.comparisons.iter().map(comparison))
}

fn comparison(comparison: &Comparison) -> Line {
    let Comparison { expected, seen, .. } = comparison;
    let text = match (comparison.verdict, seen) {
        (Verdict::Warning, _) => format!("expected {expected}, which these hooks do not see"),
        (_, Some(seen)) => format!("expected {expected}, seen {seen}"),
        (_, None) => format!("expected {expected}, not seen"),
    };
    Line {
        mark: mark(comparison.verdict),
        name: comparison.what.to_owned(),
        text,
    }
}

fn counted(coverage: &Coverage) -> Line {
    let mark = match coverage.counted {
        Counted::Yes => "yes",
        Counted::Partly => "partly",
        Counted::No => "no",
    };
    Line {
        mark,
        name: coverage.what.clone(),
        text: coverage.note.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::programs::Backend;
    use crate::doctor::attempt::sample;
    use crate::doctor::coverage::coverage;
    use crate::doctor::report::Choice;

    fn report() -> Report {
        let attempt = sample(Backend::Fentry, &["graft_fentry"]);
        Report {
            v: 1,
            version: "1.2.3",
            passed: false,
            machine: vec![Row {
                check: "capabilities",
                verdict: Verdict::Failed,
                found: "none".to_owned(),
                advice: Some("CAP_BPF missing".to_owned()),
            }],
            choice: Some(Choice {
                backend: "fentry",
                reason: "the first choice".to_owned(),
            }),
            self_test: SelfTest {
                verdict: Verdict::Failed,
                place: Some("a place".to_owned()),
                error: None,
                comparisons: vec![
                    Comparison::new("accepts", 1, Some(1)),
                    Comparison::new("connects", 1, Some(2)),
                ],
            },
            counted: coverage(Some(&attempt), None),
            backends: vec![attempt],
        }
    }

    #[test]
    fn everything_that_matters_is_in_the_text() {
        let text = text(&report(), 200);
        for line in [
            "conntracer 1.2.3",
            "  FAILED  capabilities  none. CAP_BPF missing",
            "Backend fentry: used for the self-test",
            "  ok       connect_fentry       fentry tcp_connect",
            "  ok  fentry  the first choice",
            "Self-test: a loopback connection in a place",
            "  ok      accepts   expected 1, seen 1",
            "  FAILED  connects  expected 1, seen 2",
        ] {
            assert!(text.lines().any(|it| it == line), "{line:?} in\n{text}");
        }
        assert!(text.contains("refused (no such hook): accepts"), "{text}");
        assert!(text.contains("  no      traffic forwarded"), "{text}");
    }

    #[test]
    fn a_reason_that_holds_for_everything_is_told_once() {
        let mut report = report();
        let specs = report.backends[0].programs.clone();
        let untried = |reason: &str| {
            let specs = specs.iter().map(|it| it.spec);
            Attempt::untried(Backend::Fentry, specs, reason.to_owned())
        };
        report.backends = vec![untried("no rights"), untried("no memory")];
        report.choice = None;
        report.self_test.error = Some("no rights".to_owned());
        let text = text(&report, 200);
        assert_eq!(text.matches("no rights").count(), 1, "{text}");
        assert_eq!(text.matches("no memory").count(), 1, "{text}");
        assert!(text.contains("  untried  connect_fentry "), "{text}");
        assert!(!text.contains("Choice"), "{text}");
    }

    #[test]
    fn lines_fit_the_terminal() {
        for width in [60, 80, 110] {
            let text = text(&report(), width);
            let longest = text.lines().map(UnicodeWidthStr::width).max();
            assert!(longest.is_some_and(|longest| longest <= width), "{text}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_and_put_on_one_line() {
        assert_eq!(brief("a\n  b"), "a b");
        let long = brief(&"ä ".repeat(1000));
        assert_eq!(long.chars().count(), LONGEST_REASON + 1);
    }
}
