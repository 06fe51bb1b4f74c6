//! How fast the core is at the moment: it shares its clock, caches and pipelines with others that
//! nobody here sees.

use std::time::{Duration, Instant};

/// Places of the table: more than the first cache holds, and less than the second.
const PLACES: u32 = 1 << 16;

/// So long is measured. The first turn finds the table where a window of work has left it.
const TIME: Duration = Duration::from_micros(500);

/// Steps between two looks at the clock.
const STEPS: u64 = 512;

/// Reads from memory, each of which needs the result of the one before, and no system call: no
/// tracer makes them slower, but what makes everything slower does.
pub(super) struct Yardstick {
    next: Vec<u32>,
    place: u32,
}

impl Yardstick {
    pub(super) fn new() -> Self {
        Self {
            next: cycle(PLACES),
            place: 0,
        }
    }

    /// Picoseconds of a step, now.
    pub(super) fn step_ps(&mut self) -> u64 {
        let begin = Instant::now();
        let mut steps = 0;
        loop {
            for _ in 0..STEPS {
                self.place = self.next[self.place as usize];
            }
            steps += STEPS;
            let taken = begin.elapsed();
            if taken >= TIME {
                let picoseconds = taken.as_nanos() * 1000 / u128::from(steps);
                return u64::try_from(picoseconds).unwrap_or(u64::MAX);
            }
        }
    }
}

/// For each place the next one; they go through all places, in an order that no prefetcher guesses.
fn cycle(places: u32) -> Vec<u32> {
    let mut next: Vec<u32> = (0..places).collect();
    // Sattolo's shuffle leaves one cycle. Any sequence does; this one is Marsaglia's xorshift.
    let mut random = 0x9E37_79B9_u32;
    for last in (1..next.len()).rev() {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        next.swap(last, random as usize % last);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_one_cycle() {
        let next = cycle(1000);
        let mut place = 0;
        let turn = (0..1000).take_while(|step| {
            let is_new = *step == 0 || place != 0;
            place = next[place as usize];
            is_new
        });
        assert_eq!(turn.count(), 1000);
        assert_eq!(place, 0);
    }

    #[test]
    fn a_step_takes_time() {
        assert!(Yardstick::new().step_ps() > 0);
    }
}
