//! One load with one side: what its slices say.

use serde::Serialize;

use super::{
    measure::Pair,
    report::{Ran, Window},
    sides::NULL,
    usage::Memory,
    verdict::Verdict,
};
use crate::bench::stats::{Median, float, median};

/// With less of its core, what the load did is what others left to it.
const LEAST_SHARE: f64 = 0.95;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// Operations in a time, by those without the side.
    pub(crate) throughput: Median,
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
    /// Whether the events are mostly such as happened in the slices is for the caller to know.
    pub(crate) fn of(pairs: &[Pair], level: f64, counts_events: bool) -> Option<Self> {
        let by = |of: fn(&Ran) -> f64| {
            let ratios = pairs.iter().map(|pair| {
                let without = f64::midpoint(of(&pair.before), of(&pair.after));
                of(&pair.with.ran) / without
            });
            Median::of(&ratios.collect::<Vec<_>>(), level)
        };
        let sum = |of: fn(&Pair) -> Option<u64>| -> Option<u64> { pairs.iter().map(of).sum() };
        let own_cpu: Vec<f64> = pairs.iter().map(Pair::own_cpu_percent).collect();
        let operations: Vec<f64> = pairs
            .iter()
            .map(|pair| pair.before.operation_ns())
            .collect();
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
            throughput: by(Ran::throughput)?,
            load_cpu: by(Ran::cpu_per_operation)?,
            core_share: median(&shares)?,
            operation_ns: median(&operations)?,
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
    fn sum(&self, of: fn(&Window) -> u64) -> u64 {
        self.windows.iter().map(of).sum()
    }

    /// How much of its core the load had. It never sleeps.
    fn core_share(&self) -> f64 {
        float(self.sum(|window| window.cpu_ns)) / float(self.sum(|window| window.wall_ns))
    }

    /// Operations in the time of a yardstick's step: of the window in the middle, as others on the
    /// machine take a few windows by storm and leave most alone.
    fn throughput(&self) -> f64 {
        self.middle(|window| float(window.ops) * float(window.step_ps) / float(window.wall_ns))
    }

    /// CPU time of an operation, in steps of the yardstick.
    fn cpu_per_operation(&self) -> f64 {
        self.middle(|window| float(window.cpu_ns) / float(window.ops) / float(window.step_ps))
    }

    /// Nanoseconds of an operation.
    fn operation_ns(&self) -> f64 {
        self.middle(|window| float(window.wall_ns) / float(window.ops))
    }

    /// A slice has windows; one that had none would be no number.
    fn middle(&self, of: impl Fn(&Window) -> f64) -> f64 {
        let values: Vec<f64> = self.windows.iter().map(of).collect();
        median(&values).unwrap_or(f64::NAN)
    }
}

impl Pair {
    /// While the load worked: it does not while it looks how fast the core is.
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
        let figures =
            Figures::of(&[pair(1000, 900, 800), pair(800, 700, 600)], 0.95, true).unwrap();
        assert!((figures.throughput.value - 1.0).abs() < 1e-9);
        assert!((figures.own_cpu_percent - 2.0).abs() < 1e-9);
    }
}
