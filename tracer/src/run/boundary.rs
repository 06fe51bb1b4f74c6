//! The ends of the intervals of `--interval`.

use std::io;
use std::time::Duration;

use super::{IDLE_TICK, TICK, Tracing};
use crate::clock::{self, Moment};

/// Where the end of the running interval of `--interval` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boundary {
    Ahead,
    /// Its time has come, and what open connections moved until then is being read.
    Passing,
}

impl Tracing {
    /// Ends the running interval when its time has come, once what open connections moved in it is
    /// told. To be called when the ring was just read. Returns whether there is something to do at
    /// once.
    pub(super) fn pass_boundary(&mut self) -> io::Result<bool> {
        let Some(remaining) = self.publisher.interval_remaining(clock::mono_ns()) else {
            return Ok(false);
        };
        if remaining > Duration::ZERO || self.collector.has_steps() {
            return Ok(false);
        }
        match self.boundary {
            Boundary::Ahead => {
                self.collector.interval()?;
                self.boundary = Boundary::Passing;
                Ok(true)
            }
            Boundary::Passing => {
                self.publisher.close_interval(Moment::now());
                self.boundary = Boundary::Ahead;
                Ok(false)
            }
        }
    }

    /// How long the ring may be left alone: not past the end of an interval.
    pub(super) fn tick(&mut self) -> Duration {
        let tick = if self.collector.has_heard() {
            TICK
        } else {
            IDLE_TICK
        };
        let remaining = self.publisher.interval_remaining(clock::mono_ns());
        remaining.map_or(tick, |remaining| tick.min(remaining))
    }
}
