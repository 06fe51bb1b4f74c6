//! Bytes of open connections where no hook sees them: passes over the connection table, which read
//! the kernel's counters of each socket.

use std::io;

use tracer_common::sample::Sample;

use super::at_end::AtEnd;
use crate::bpf::sample::{Pass, Sampler};
use crate::clock;

/// A pass may take one part in so many of the time: a large table is sampled less often.
const SHARE: u64 = 50;

/// The passes.
pub(super) struct Samples {
    /// Time that the last pass has taken so far, nanoseconds.
    spent_ns: u64,
    /// No other begins before.
    not_before_ns: u64,
    /// At the end of the run.
    pub(super) at_end: AtEnd<Sample>,
}

impl Samples {
    pub(super) fn new(sampler: Sampler<Sample>) -> Self {
        Self {
            spent_ns: 0,
            not_before_ns: 0,
            at_end: AtEnd::new(sampler),
        }
    }

    /// Begins a pass, unless it would take too large a share of the time.
    pub(super) fn begin(&mut self, now_ns: u64) -> io::Result<Option<Pass<Sample>>> {
        if now_ns < self.not_before_ns {
            return Ok(None);
        }
        self.spent_ns = 0;
        self.at_end.sampler.pass().map(Some)
    }

    /// Takes a step of the pass; `false` at its end.
    pub(super) fn step(
        &mut self,
        pass: &mut Pass<Sample>,
        each: impl FnMut(Sample),
    ) -> io::Result<bool> {
        let begun_ns = clock::mono_ns();
        let more = pass.step(each)?;
        let now_ns = clock::mono_ns();
        self.spent_ns += now_ns.saturating_sub(begun_ns);
        self.not_before_ns = now_ns.saturating_add(self.spent_ns.saturating_mul(SHARE));
        Ok(more)
    }
}
