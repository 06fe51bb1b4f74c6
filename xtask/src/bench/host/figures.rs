//! One load with one side: what its slices say.

use serde::Serialize;

use super::{
    measure::Pair,
    report::{Ran, Window},
    sides::NULL,
    usage::Memory,
    verdict::Verdict,
};
use crate::bench::calm::{self, Calm};
use crate::bench::stats::{Median, float, median};

/// With less of its core, what the load did is what others left to it.
const LEAST_SHARE: f64 = 0.95;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// Operations in a time, by those without the side, in the calmest moments.
    pub(crate) throughput: Calm,
    /// The same as the machine was: of each slice, by those before and after it.
    pub(crate) disturbed: Median,
    /// CPU time of the load for an operation, by that without the side.
    pub(crate) load_cpu: Median,
    /// How much of its core the load had without the side.
    pub(crate) core_share: f64,
    /// An operation without the side.
    pub(crate) operation_ns: f64,
    /// The side's own CPU, in per cent of a core.
    pub(crate) own_cpu_percent: f64,
    /// The most there was.
    pub(crate) memory: Memory,
    /// The most resident memory before the load did anything.
    pub(crate) at_rest: u64,
    pub(crate) events: Option<u64>,
    /// CPU time of the side for 1,000 events, in nanoseconds.
    pub(crate) cpu_ns_per_1000_events: Option<f64>,
    pub(crate) lost: Option<u64>,
    pub(crate) verdict: Verdict,
}

impl Figures {
    /// Of a side's pairs, and of the slices without it. Whether the events are mostly
    /// such as happened in the slices is for the caller to know.
    pub(crate) fn of(
        pairs: &[Pair],
        without: &[Vec<f64>],
        level: f64,
        counts_events: bool,
    ) -> Option<Self> {
        let with: Vec<_> = pairs
            .iter()
            .map(|pair| pair.with.ran.operations_ns())
            .collect();
        let by = |of: fn(&Ran) -> f64| {
            let ratios = pairs.iter().map(|pair| {
                let without = f64::midpoint(of(&pair.before), of(&pair.after));
                of(&pair.with.ran) / without
            });
            Median::of(&ratios.collect::<Vec<_>>(), level)
        };
        let sum = |of: fn(&Pair) -> Option<u64>| -> Option<u64> { pairs.iter().map(of).sum() };
        let own_cpu: Vec<f64> = pairs.iter().map(Pair::own_cpu_percent).collect();
        let shares: Vec<f64> = pairs.iter().map(|pair| pair.before.core_share()).collect();
        let events = sum(|pair| pair.with.reported.events);
        let cpu: u64 = pairs.iter().map(|pair| pair.with.own.until_settled).sum();
        let most = pairs.iter().map(|pair| pair.with.memory);
        let at_rest = pairs.iter().map(|pair| pair.with.at_rest.resident);
        let checks = pairs
            .iter()
            .flat_map(|pair| pair.with.reported.checks.clone());
        let faults = pairs.iter().filter_map(|pair| pair.with.fault.clone());
        Some(Self {
            // Throughput is what a time of an operation is not.
            throughput: Calm::ratio(without, &with, level)?,
            disturbed: by(Ran::throughput)?,
            load_cpu: by(Ran::cpu_ns_per_operation)?,
            core_share: median(&shares)?,
            operation_ns: calm::calmest(without)?,
            own_cpu_percent: median(&own_cpu)?,
            memory: most.fold(Memory::default(), Memory::max),
            at_rest: at_rest.max().unwrap_or_default(),
            cpu_ns_per_1000_events: events
                .filter(|events| counts_events && *events > 0)
                .map(|events| float(cpu) * 1000.0 / float(events)),
            events,
            lost: sum(|pair| pair.with.reported.lost),
            verdict: Verdict::of(checks, faults.collect()),
        })
    }
}

impl Figures {
    /// Why nothing can be believed where a side that does nothing has these figures, and the load
    /// had this share of its core.
    pub(crate) fn distrust(&self, share: f64) -> Option<String> {
        if !self.throughput.contains(1.0) {
            return Some(format!("`{NULL}` comes out at {}", self.throughput));
        }
        let others = 100.0 * (1.0 - share);
        (share < LEAST_SHARE).then(|| {
            format!("the load had its core not for itself: others took {others:.0} % of it")
        })
    }
}

impl Ran {
    /// Of all windows.
    fn sum(&self, of: fn(&Window) -> u64) -> f64 {
        float(self.windows.iter().map(of).sum())
    }

    /// How much of its core the load had. It never sleeps.
    fn core_share(&self) -> f64 {
        self.sum(|window| window.cpu_ns) / self.sum(|window| window.wall_ns)
    }

    /// Nanoseconds of an operation, window by window.
    pub(crate) fn operations_ns(&self) -> Vec<f64> {
        let windows = self.windows.iter();
        windows
            .map(|window| float(window.wall_ns) / float(window.ops))
            .collect()
    }

    /// Operations in a second, of all windows.
    fn throughput(&self) -> f64 {
        self.sum(|window| window.ops) / self.sum(|window| window.wall_ns) * 1e9
    }

    /// CPU time of an operation, of all windows.
    fn cpu_ns_per_operation(&self) -> f64 {
        self.sum(|window| window.cpu_ns) / self.sum(|window| window.ops)
    }
}

impl Pair {
    /// While the load worked.
    fn own_cpu_percent(&self) -> f64 {
        100.0 * float(self.with.own.in_slice) / float(self.with.ran.working_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::host::result::tests::pair;

    #[test]
    fn a_drift_of_the_machine_is_no_cost() {
        let pairs = [pair(1000, 900, 800), pair(800, 700, 600)];
        let without = vec![
            pairs[0].before.operations_ns(),
            pairs[1].before.operations_ns(),
        ];
        let figures = Figures::of(&pairs, &without, 0.95, true).unwrap();
        assert!((figures.disturbed.value - 1.0).abs() < 1e-9);
        assert!((figures.throughput.value - 0.9).abs() < 1e-9);
        assert!((figures.own_cpu_percent - 2.0).abs() < 1e-9);
    }
}
