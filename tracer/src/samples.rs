//! Bytes of open connections where no hook sees them: passes over the connection table, which read
//! the kernel's counters of each socket.

use std::io;

use hashbrown::HashMap;
use tracer_common::connection::{Connection, ConnectionKey};
use tracer_common::sample::Sample;

use crate::bpf::sample::{Pass, Sampler};
use crate::clock;
use crate::track::Track;

/// A pass may take one part in so many of the time: a large table is sampled less often.
const SHARE: u64 = 50;

/// The passes.
#[derive(Debug)]
pub struct Samples {
    sampler: Sampler,
    /// The one that is in progress.
    pass: Option<Pass>,
    /// Time that it has taken, nanoseconds.
    spent_ns: u64,
    /// No other begins before.
    not_before_ns: u64,
    /// At the end of the run: each open connection's.
    last: HashMap<u64, Sample>,
}

impl Samples {
    /// None yet.
    pub fn new(sampler: Sampler) -> Self {
        Self {
            sampler,
            pass: None,
            spent_ns: 0,
            not_before_ns: 0,
            last: HashMap::new(),
        }
    }

    /// Begins a pass, unless one is in progress or would take too large a share of the time.
    pub fn begin(&mut self, now_ns: u64) -> io::Result<()> {
        if self.pass.is_none() && now_ns >= self.not_before_ns {
            self.pass = Some(self.sampler.pass()?);
            self.spent_ns = 0;
        }
        Ok(())
    }

    /// Whether a pass is in progress.
    pub fn are_due(&self) -> bool {
        self.pass.is_some()
    }

    /// Takes a step of the pass: the samples of connections that moved since the last one, of a few
    /// hundred.
    pub fn step(&mut self, track: &mut Track) -> io::Result<Vec<Sample>> {
        let mut moved = Vec::new();
        let Some(pass) = &mut self.pass else {
            return Ok(moved);
        };
        let begun_ns = clock::mono_ns();
        let more = pass.step(|sample| {
            if track.has_moved(key(&sample), sample.position()) {
                moved.push(sample);
            }
        })?;
        let now_ns = clock::mono_ns();
        self.spent_ns += now_ns.saturating_sub(begun_ns);
        if !more {
            self.pass = None;
            self.not_before_ns = now_ns.saturating_add(self.spent_ns.saturating_mul(SHARE));
        }
        Ok(moved)
    }

    /// Takes a sample of each open connection that has none of the end yet.
    pub fn take_all(&mut self) -> io::Result<()> {
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
    pub fn apply(&self, key: ConnectionKey, connection: &mut Connection) {
        if let Some(sample) = self.last.get(&key.sk) {
            sample.apply(connection);
        }
    }
}

fn key(sample: &Sample) -> ConnectionKey {
    ConnectionKey {
        sk: sample.sk,
        birth_ns: sample.birth_ns,
    }
}
