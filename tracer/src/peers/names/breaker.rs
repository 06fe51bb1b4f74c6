//! Whether a question is worth asking: name servers that do not answer are left alone for a while,
//! for longer each time. Pure.

use std::time::{Duration, Instant};

/// Questions in a row without an answer after which nobody is asked.
const TOO_MANY: u32 = 8;
/// How long, at first and at most.
const FIRST_REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_mins(10);

/// What is known of the servers.
#[derive(Debug)]
pub(super) struct Breaker {
    in_vain: u32,
    rest: Duration,
    /// Nobody is asked until then; the first question after it is a trial.
    asleep_until: Option<Instant>,
    /// The trial is on its way.
    trial: bool,
}

/// What to do with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Ask,
    /// Ask again after this time.
    Later(Duration),
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            in_vain: 0,
            rest: FIRST_REST,
            asleep_until: None,
            trial: false,
        }
    }
}

impl Breaker {
    pub(super) fn advise(&mut self, now: Instant) -> Advice {
        match self.asleep_until {
            None => Advice::Ask,
            Some(until) if now < until => Advice::Later(until - now),
            Some(_) if self.trial => Advice::Later(self.rest),
            Some(_) => {
                self.trial = true;
                Advice::Ask
            }
        }
    }

    /// Hears that a question was answered.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// Hears that one was not; returns for how long nobody is asked if that begins now.
    pub(super) fn unanswered(&mut self, now: Instant) -> Option<Duration> {
        self.in_vain = self.in_vain.saturating_add(1);
        let begins = match self.asleep_until {
            None => self.in_vain >= TOO_MANY,
            // Others were asked before the rest began.
            Some(_) => self.trial,
        };
        if !begins {
            return None;
        }
        if std::mem::take(&mut self.trial) {
            self.rest = (self.rest * 2).min(LONGEST_REST);
        }
        self.asleep_until = Some(now + self.rest);
        Some(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_do_not_answer_are_left_alone_for_longer_each_time() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        for _ in 1..TOO_MANY {
            assert_eq!(breaker.advise(now), Advice::Ask);
            assert_eq!(breaker.unanswered(now), None);
        }
        assert_eq!(breaker.unanswered(now), Some(FIRST_REST));
        // Those that were on their way then.
        assert_eq!(breaker.unanswered(now), None);
        let mut rest = FIRST_REST;
        for _ in 0..10 {
            assert_eq!(breaker.advise(now), Advice::Later(rest));
            now += rest;
            assert_eq!(breaker.advise(now), Advice::Ask, "a trial");
            assert!(matches!(breaker.advise(now), Advice::Later(_)), "only one");
            rest = (rest * 2).min(LONGEST_REST);
            assert_eq!(breaker.unanswered(now), Some(rest));
        }
        now += rest;
        assert_eq!(breaker.advise(now), Advice::Ask);
        breaker.answered();
        assert_eq!(breaker.advise(now), Advice::Ask);
        assert_eq!(breaker.unanswered(now), None, "all is forgiven");
    }

    #[test]
    fn an_answer_in_between_starts_the_count_anew() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for question in 0..10 * TOO_MANY {
            if question % (TOO_MANY - 1) == 0 {
                breaker.answered();
            }
            assert_eq!(breaker.unanswered(now), None);
        }
    }
}
