//! What a VM's console says: the tests' results, and the kernel's troubles.

use super::plan::Said;

/// What the kernel prints when it is not well.
const TROUBLES: [&str; 8] = [
    "Kernel panic",
    "BUG:",
    "Oops",
    "WARNING:",
    "general protection fault",
    "detected stalls",
    "self-detected stall",
    "blocked for more than",
];

/// The results so far.
#[derive(Debug, Default)]
pub(crate) struct Console {
    binary: Option<String>,
    passed_here: usize,
    pub(crate) passed: usize,
    pub(crate) failed: Vec<String>,
    /// What ended badly, but is no failed test.
    pub(crate) problems: Vec<String>,
    /// The kernel's complaints.
    pub(crate) troubles: Vec<String>,
    done: bool,
}

impl Console {
    /// Takes a line in; returns news worth a line on the terminal.
    pub(crate) fn take(&mut self, line: &str) -> Option<String> {
        if let Some(said) = Said::parse(line) {
            return self.said(said);
        }
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
                self.passed += 1;
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
            Said::Begin(name) => {
                self.binary = Some(name);
                self.passed_here = 0;
                None
            }
            Said::End(name, how) => {
                self.binary = None;
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

    /// The kernel crashed: nothing more will come.
    pub(crate) fn panic(&self) -> Option<&str> {
        let mut troubles = self.troubles.iter();
        Some(troubles.find(|text| text.contains("Kernel panic"))?)
    }

    /// Why this run does not count as passed; nothing if it does.
    pub(crate) fn faults(&self) -> Vec<String> {
        let failed = self.failed.iter().map(|name| format!("{name} failed"));
        let mut faults: Vec<String> = failed.chain(self.problems.iter().cloned()).collect();
        faults.extend(self.troubles.iter().map(|text| format!("kernel: {text}")));
        if !self.done {
            let place = self.binary.as_deref().unwrap_or("the start");
            faults.push(format!("the VM did not come to its end, but to {place}"));
        } else if self.passed == 0 && faults.is_empty() {
            faults.push("no test ran".to_owned());
        }
        faults
    }
}

/// The text of a line by the kernel, which has a time before it.
fn kernel_message(line: &str) -> Option<&str> {
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
        assert_eq!((run.passed, run.faults().len()), (1, 0));
        assert_eq!(console(&[BEGIN, WELL, DONE]).faults(), ["no test ran"]);
        let cut = console(&[BEGIN, "test a ... ok\r"]);
        assert!(cut.faults()[0].contains("churn"), "{:?}", cut.faults());
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
        assert!(
            run.panic()
                .is_some_and(|text| text.starts_with("Kernel panic"))
        );
    }
}
