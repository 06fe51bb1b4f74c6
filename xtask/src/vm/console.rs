//! What a VM's console says: the tests' results, and the kernel's troubles.

use std::collections::VecDeque;

use serde_json::Value;

use super::plan::Said;

/// What the kernel prints when it is not well.
const TROUBLES: [&str; 9] = [
    "Kernel panic",
    DOUBLE_FAULT,
    "BUG:",
    "Oops",
    "WARNING:",
    "general protection fault",
    "detected stalls",
    "self-detected stall",
    "blocked for more than",
];

const DOUBLE_FAULT: &str = "double fault";
const BREAKPOINT: &str = "Oops: int3";
/// Lines of the console that tell why something failed.
const LAST: usize = 150;

/// The results so far. Tests are named `binary::test`.
#[derive(Debug, Default)]
pub(crate) struct Console {
    binary: Option<String>,
    passed_here: usize,
    pub(crate) passed: Vec<String>,
    pub(crate) failed: Vec<String>,
    /// What ended badly, but is no failed test.
    pub(crate) problems: Vec<String>,
    /// The kernel's complaints.
    pub(crate) troubles: Vec<String>,
    /// What the tracer said of itself: whether it could run, and its lines.
    pub(crate) tracer: Option<(bool, Vec<String>)>,
    /// What programs found out, by its subject.
    pub(crate) results: Vec<(String, Value)>,
    /// Last lines of what runs now.
    recent: VecDeque<String>,
    /// Last lines of what ended badly.
    excerpts: Vec<Vec<String>>,
    done: bool,
}

impl Console {
    /// Takes a line in; returns news worth a line on the terminal.
    pub(crate) fn take(&mut self, line: &str) -> Option<String> {
        if let Some(said) = Said::parse(line) {
            return self.said(said);
        }
        if self.recent.len() == LAST {
            self.recent.pop_front();
        }
        self.recent.push_back(line.trim_end().to_owned());
        if let Some(message) = kernel_message(line) {
            if TROUBLES.iter().any(|trouble| message.contains(trouble)) {
                self.troubles.push(message.trim_end().to_owned());
                return Some(message.trim_end().to_owned());
            }
            return None;
        }
        let (name, result) = test_line(line)?;
        let name = match &self.binary {
            Some(binary) => format!("{binary}::{name}"),
            None => name.to_owned(),
        };
        match result {
            "ok" => {
                self.passed.push(name);
                self.passed_here += 1;
                None
            }
            "FAILED" => {
                let news = format!("{name} FAILED");
                self.failed.push(name);
                Some(news)
            }
            // In a VM there is no reason to leave a test out.
            _ => {
                self.problems.push(format!("{name} was skipped"));
                None
            }
        }
    }

    fn said(&mut self, said: Said) -> Option<String> {
        match said {
            Said::Tracer { well, lines } => {
                self.tracer = Some((well, lines));
                None
            }
            Said::Begin(name) => {
                self.recent.clear();
                self.binary = Some(name);
                self.passed_here = 0;
                None
            }
            Said::End(name, how) => {
                self.binary = None;
                let recent = std::mem::take(&mut self.recent);
                if how.is_some() {
                    self.excerpts.push(recent.into());
                }
                let here = format!("{name}::");
                // Exit code 101 says what the lines of its tests say; a test may end without.
                let told = self.failed.iter().any(|failed| failed.starts_with(&here));
                if let Some(how) = how
                    && !told
                {
                    self.problems.push(format!("{name} ended with {how}"));
                    return Some(format!("{name} ended with {how}"));
                }
                (self.passed_here > 0).then(|| format!("{name}: {} passed", self.passed_here))
            }
            Said::Result(subject, result) => {
                self.results.push((subject.clone(), result));
                Some(subject)
            }
            Said::Error(error) => {
                let news = error.clone();
                self.problems.push(error);
                Some(news)
            }
            Said::Done => {
                self.done = true;
                None
            }
        }
    }

    /// QEMU's own fault, not met on any real machine: a double fault on Linux 7 with some
    /// processors, or a processor that runs into the breakpoint with which the kernel patches its
    /// own code, and does not see that it is gone by then.
    pub(crate) fn blames_emulator(&self) -> bool {
        let mut troubles = self.troubles.iter();
        troubles.any(|text| {
            [DOUBLE_FAULT, BREAKPOINT]
                .iter()
                .any(|it| text.contains(it))
        })
    }

    /// Last lines of each test binary that failed, and of the console if it broke off.
    pub(crate) fn excerpts(&self) -> Vec<Vec<String>> {
        let mut excerpts = self.excerpts.clone();
        if !self.done {
            excerpts.push(self.recent.iter().cloned().collect());
        }
        excerpts
    }

    /// The tracer could not run, so nothing was tested.
    fn refused(&self) -> bool {
        self.tracer.as_ref().is_some_and(|(well, _)| !well)
    }

    fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.results.is_empty()
    }

    /// Why this run does not count as passed; nothing if it does.
    pub(crate) fn faults(&self) -> Vec<String> {
        let failed = self.failed.iter().map(|name| format!("{name} failed"));
        let mut faults: Vec<String> = failed.chain(self.problems.iter().cloned()).collect();
        faults.extend(self.troubles.iter().map(|text| format!("kernel: {text}")));
        if !self.done {
            let place = self.binary.as_deref().unwrap_or("the start");
            faults.push(format!("the VM did not come to its end, but to {place}"));
        } else if self.is_empty() && faults.is_empty() && !self.refused() {
            faults.push("no test ran".to_owned());
        }
        faults
    }
}

/// The text of a line by the kernel, which has a time before it.
pub(crate) fn kernel_message(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once('[')?;
    let (time, message) = rest.split_once("] ")?;
    time.trim().parse::<f64>().ok().map(|_| message)
}

/// Name and result in a line of the test runner.
fn test_line(line: &str) -> Option<(&str, &str)> {
    let (name, result) = line.trim().strip_prefix("test ")?.split_once(" ... ")?;
    let result = result.split(',').next()?;
    ["ok", "FAILED", "ignored"]
        .contains(&result)
        .then_some((name, result))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[&str]) -> Console {
        let mut console = Console::default();
        for line in lines {
            console.take(line);
        }
        console
    }

    const BEGIN: &str = "@vm {\"begin\":\"churn\"}\r";
    const WELL: &str = "@vm {\"end\":[\"churn\",null]}\r";
    const BADLY: &str = "@vm {\"end\":[\"churn\",\"exit code 101\"]}\r";
    const DONE: &str = "@vm \"done\"\r";

    #[test]
    fn a_run_without_faults_has_passed_tests_and_an_end() {
        let run = console(&[BEGIN, "test a ... ok\r", WELL, DONE]);
        assert_eq!((run.passed.len(), run.faults().len()), (1, 0));
        assert_eq!(console(&[BEGIN, WELL, DONE]).faults(), ["no test ran"]);
        let cut = console(&[BEGIN, "test a ... ok\r"]);
        assert!(cut.faults()[0].contains("churn"), "{:?}", cut.faults());
    }

    #[test]
    fn results_are_kept_and_are_a_reason_to_run() {
        let run = console(&[BEGIN, "@vm {\"result\":[\"echo\",{\"n\":1}]}\r", WELL, DONE]);
        assert!(run.faults().is_empty(), "{:?}", run.faults());
        assert_eq!(run.results[0].0, "echo");
        assert_eq!(run.results[0].1["n"], 1);
    }

    #[test]
    fn failed_and_skipped_tests_are_named() {
        let run = console(&[
            BEGIN,
            "test a ... FAILED",
            "test b ... ignored, why",
            BADLY,
            DONE,
        ]);
        assert_eq!(run.faults(), ["churn::a failed", "churn::b was skipped"]);
    }

    #[test]
    fn a_binary_that_dies_without_a_failed_test_is_a_fault() {
        let run = console(&[BEGIN, "test a ... ok", BADLY, DONE]);
        assert_eq!(run.faults(), ["churn ended with exit code 101"]);
    }

    #[test]
    fn the_kernels_troubles_are_seen_and_the_tests_words_are_not() {
        let panic = "[    1.5] Kernel panic - not syncing: Fatal exception";
        let run = console(&[panic, "a test says BUG: x", "[    2.0] veth: loaded"]);
        assert_eq!(run.troubles.len(), 1);
        assert!(run.troubles[0].starts_with("Kernel panic"));
        assert!(!run.blames_emulator());
    }

    #[test]
    fn the_emulators_mistakes_are_told_from_other_panics() {
        for mistake in [
            "[    1.4] traps: PANIC: double fault, error_code: 0x0",
            "[    1.4] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI",
        ] {
            let panic = "[    1.5] Kernel panic - not syncing: Fatal exception in interrupt";
            assert!(console(&[mistake, panic]).blames_emulator());
        }
    }

    #[test]
    fn the_last_lines_of_what_failed_are_kept() {
        let many: Vec<String> = (0..200).map(|n| format!("line {n}\r\n")).collect();
        let mut run = console(&[BEGIN, "well", WELL, BEGIN]);
        for line in &many {
            run.take(line);
        }
        run.take(BADLY);
        run.take("[    9.0] Kernel panic - not syncing");
        let excerpts = run.excerpts();
        assert_eq!(excerpts.len(), 2, "{excerpts:?}");
        assert_eq!(
            (&*excerpts[0][0], &*excerpts[0][149]),
            ("line 50", "line 199")
        );
        assert_eq!(excerpts[1], ["[    9.0] Kernel panic - not syncing"]);
    }

    #[test]
    fn a_tracer_that_cannot_run_is_no_test_that_did_not() {
        let refusal = r#"@vm {"tracer":{"well":false,"lines":["error: no"]}}"#;
        let run = console(&[refusal, DONE]);
        assert!(run.faults().is_empty());
        assert_eq!(run.tracer, Some((false, vec!["error: no".to_owned()])));
    }
}
