//! When an interval ends: at multiples of its length since the start of the run, however late the
//! ones before were closed. Pure.

use std::time::Duration;

/// The times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    every_ns: u64,
    next_ns: u64,
}

impl Beat {
    /// The first interval begins at `start_ns`.
    pub fn new(every: Duration, start_ns: u64) -> Self {
        let every_ns = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self {
            every_ns,
            next_ns: start_ns.saturating_add(every_ns),
        }
    }

    /// The first one begins then.
    pub fn begin_at(&mut self, start_ns: u64) {
        self.next_ns = start_ns.saturating_add(self.every_ns);
    }

    /// It is later: returns how long ago the last one would have ended.
    pub const fn skip_to(&mut self, now_ns: u64) -> u64 {
        self.go_on(now_ns);
        let start_ns = self.next_ns.saturating_sub(self.every_ns);
        now_ns.saturating_sub(start_ns)
    }

    /// When the running one is to end.
    pub const fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// How long that is; 0 when it has come.
    pub const fn remaining_ns(&self, now_ns: u64) -> u64 {
        self.next_ns.saturating_sub(now_ns)
    }

    /// The running one ends now: the next one ends at the first multiple after that.
    pub const fn go_on(&mut self, now_ns: u64) {
        if let Some(late_ns) = now_ns.checked_sub(self.next_ns) {
            let beats = late_ns / self.every_ns + 1;
            self.next_ns = self
                .next_ns
                .saturating_add(beats.saturating_mul(self.every_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn ends_are_multiples_since_the_start_however_late_they_come() {
        let mut beat = Beat::new(Duration::from_secs(20), 5 * SECOND);
        assert_eq!(beat.remaining_ns(10 * SECOND), 15 * SECOND);
        assert_eq!(beat.remaining_ns(25 * SECOND), 0);
        beat.go_on(25 * SECOND + 1);
        assert_eq!(beat.next_ns(), 45 * SECOND);
        // Two were missed.
        beat.go_on(99 * SECOND);
        assert_eq!(beat.next_ns(), 105 * SECOND);
        // The last one ends before its time.
        beat.go_on(100 * SECOND);
        assert_eq!(beat.next_ns(), 105 * SECOND);
    }

    #[test]
    fn an_interval_longer_than_time_never_ends() {
        let mut beat = Beat::new(Duration::MAX, SECOND);
        assert_eq!(beat.next_ns(), u64::MAX);
        beat.go_on(u64::MAX);
        assert_eq!(beat.next_ns(), u64::MAX);
    }
}
