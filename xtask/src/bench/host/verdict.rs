//! Whether what a side reported is what happened. A fast wrong answer is a wrong answer.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::compare::measure::{Amount, grouped};

/// One number of a side against the load's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) truth: u64,
    /// Less than happened, by so much.
    pub(crate) missing: u64,
    /// More than happened.
    pub(crate) surplus: u64,
}

impl Check {
    pub(crate) fn new(what: &'static str, reported: u64, truth: u64) -> Self {
        Self {
            what,
            truth,
            missing: truth.saturating_sub(reported),
            surplus: reported.saturating_sub(truth),
        }
    }

    /// The same for a number that was printed with less digits than it has.
    pub(crate) fn rounded(what: &'static str, reported: Amount, truth: u64) -> Self {
        if reported.is(truth) {
            Self::new(what, truth, truth)
        } else {
            Self::new(what, reported.printed, truth)
        }
    }

    fn is_wrong(&self) -> bool {
        self.missing > 0 || self.surplus > 0
    }

    fn text(&self) -> String {
        let mut text = Vec::new();
        if self.missing > 0 {
            let (missing, truth) = (grouped(self.missing), grouped(self.truth));
            text.push(format!("missing {missing} of {truth} {}", self.what));
        }
        if self.surplus > 0 {
            text.push(format!(
                "{} more than {} {}",
                grouped(self.surplus),
                grouped(self.truth),
                self.what
            ));
        }
        text.join(", ")
    }
}

/// All checks of all runs of a side, added up. What is missing in one run is not made good by a
/// surplus in another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) checks: Vec<Check>,
    /// Whether the side ended before its time, and such.
    pub(crate) faults: Vec<String>,
}

impl Verdict {
    pub(crate) fn of(checks: impl IntoIterator<Item = Check>, faults: Vec<String>) -> Self {
        let mut order = Vec::new();
        let mut sums: BTreeMap<&'static str, Check> = BTreeMap::new();
        for check in checks {
            let sum = sums.entry(check.what).or_insert_with(|| {
                order.push(check.what);
                Check::new(check.what, 0, 0)
            });
            sum.truth += check.truth;
            sum.missing += check.missing;
            sum.surplus += check.surplus;
        }
        let checks = order.iter().map(|what| sums[what]).collect();
        Self { checks, faults }
    }

    pub(crate) fn is_wrong(&self) -> bool {
        !self.faults.is_empty() || self.checks.iter().any(Check::is_wrong)
    }

    /// In Markdown. What is wrong is bold; `–` is for a side that shows nothing of this kind.
    pub(crate) fn text(&self, whole: bool) -> String {
        if self.is_wrong() {
            let wrong = self.checks.iter().filter(|check| check.is_wrong());
            let mut words: Vec<String> = wrong.map(Check::text).collect();
            words.extend(self.faults.iter().take(2).cloned());
            return format!("**{}**", words.join("; "));
        }
        if self.checks.is_empty() {
            return "–".to_owned();
        }
        if whole {
            return "exact".to_owned();
        }
        let names: Vec<&str> = self.checks.iter().map(|check| check.what).collect();
        format!("right: {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_is_said_in_short() {
        let right = Verdict::of(
            [Check::new("accepts", 4, 4), Check::new("bytes sent", 9, 9)],
            vec![],
        );
        assert_eq!(right.text(true), "exact");
        assert_eq!(right.text(false), "right: accepts, bytes sent");
        assert_eq!(Verdict::default().text(true), "–");
    }

    #[test]
    fn a_surplus_does_not_make_good_what_is_missing() {
        let checks = [
            Check::new("accepts", 3988, 4000),
            Check::new("accepts", 12, 0),
        ];
        let verdict = Verdict::of(checks, vec![]);
        assert!(verdict.is_wrong());
        assert_eq!(
            verdict.text(true),
            "**missing 12 of 4,000 accepts, 12 more than 4,000 accepts**"
        );
    }

    #[test]
    fn a_side_that_died_is_wrong_even_if_its_numbers_are_not() {
        let verdict = Verdict::of(
            [Check::new("ends", 1, 1)],
            vec!["it ended by itself".to_owned()],
        );
        assert_eq!(verdict.text(false), "**it ended by itself**");
    }

    #[test]
    fn a_rounded_number_is_right_as_far_as_it_goes() {
        let reported = Amount::kilobytes("97.66").unwrap();
        assert!(!Check::rounded("bytes", reported, 100_001).is_wrong());
        assert!(Check::rounded("bytes", reported, 100_200).is_wrong());
    }
}
