//! Bytes of open connections where no hook sees them: passes over the connection table, which read
//! the kernel's counters of each socket.

use std::io;

use hashbrown::HashMap;
use tracer_common::connection::{Connection, ConnectionKey};
use tracer_common::sample::Sample;

use crate::bpf::sample::{Pass, Sampler};
use crate::clock;

/// A pass may take one part in so many of the time: a large table is sampled less often.
const SHARE: u64 = 50;

/// The passes.
pub(super) struct Samples {
    sampler: Sampler,
    /// Time that the last pass has taken so far, nanoseconds.
    spent_ns: u64,
    /// No other begins before.
    not_before_ns: u64,
    /// At the end of the run: each open connection's.
    last: HashMap<u64, Sample>,
}

impl Samples {
    pub(super) fn new(sampler: Sampler) -> Self {
        Self {
            sampler,
            spent_ns: 0,
            not_before_ns: 0,
            last: HashMap::new(),
        }
    }

    /// Begins a pass, unless it would take too large a share of the time.
    pub(super) fn begin(&mut self, now_ns: u64) -> io::Result<Option<Pass>> {
        if now_ns < self.not_before_ns {
            return Ok(None);
        }
        self.spent_ns = 0;
        self.sampler.pass().map(Some)
    }

    /// Takes a step of the pass; `false` at its end.
    pub(super) fn step(&mut self, pass: &mut Pass, each: impl FnMut(Sample)) -> io::Result<bool> {
        let begun_ns = clock::mono_ns();
        let more = pass.step(each)?;
        let now_ns = clock::mono_ns();
        self.spent_ns += now_ns.saturating_sub(begun_ns);
        self.not_before_ns = now_ns.saturating_add(self.spent_ns.saturating_mul(SHARE));
        Ok(more)
    }

    /// Takes a sample of each open connection that has none of the end yet.
    pub(super) fn take_all(&mut self) -> io::Result<()> {
        let mut pass = self.sampler.pass()?;
        while pass.step(|sample| {
            let last = self.last.entry(sample.sk).or_insert(sample);
            // The socket is another's since.
            if last.birth_ns != sample.birth_ns {
                *last = sample;
            }
        })? {}
        Ok(())
    }

    /// Writes what was taken at the end into the connection's state.
    pub(super) fn apply(&self, key: ConnectionKey, connection: &mut Connection) {
        if let Some(sample) = self.last.get(&key.sk) {
            sample.apply(connection);
        }
    }
}

/// The connection it is of.
pub(super) fn key(sample: &Sample) -> ConnectionKey {
    ConnectionKey {
        sk: sample.sk,
        birth_ns: sample.birth_ns,
    }
}
