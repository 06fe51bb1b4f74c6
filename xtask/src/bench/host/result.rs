//! What the slices say: ratios with intervals, CPU, memory, and whether the reports are right.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::{
    load::Kind,
    machine::Machine,
    measure::{Cell, Pair},
    report::Ran,
    sides::NULL,
    stats::{Median, float, median},
    table,
    targets::{self, Outcome},
    usage::Memory,
    verdict::Verdict,
};
use crate::bench::section::Section;

/// How sure the intervals of ratios are meant to be.
const LEVEL: f64 = 0.95;

/// That of the null tracer is wider: there is one for each load, and one of several misses its
/// value by chance more often than one alone.
const NULL_LEVEL: f64 = 0.99;

/// With less of its core, what the load did is what others left to it.
const LEAST_SHARE: f64 = 0.95;

/// One load with one side.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) load: Kind,
    pub(crate) side: &'static str,
    pub(crate) refused: Option<String>,
    pub(crate) figures: Option<Figures>,
}

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

/// All of it.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) cells: Vec<Cell>,
    pub(crate) rows: Vec<Row>,
    pub(crate) targets: Vec<Outcome>,
}

impl Results {
    pub(crate) fn new(machine: Machine, cells: Vec<Cell>) -> Self {
        let rows: Vec<Row> = cells.iter().map(Row::of).collect();
        let targets = targets::outcomes(&rows);
        Self {
            machine,
            cells,
            rows,
            targets,
        }
    }

    /// Loads whose figures cannot be believed, with the reason.
    pub(crate) fn distrusted(&self) -> Vec<(Kind, String)> {
        let nulls = self.rows.iter().filter(|row| row.side == NULL);
        let why = |row: &Row| Some((row.load, row.figures.as_ref()?.distrust()?));
        nulls.filter_map(why).collect()
    }

    /// Those of our own modes that reported something wrong.
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let ours = |row: &&Row| super::sides::is_ours(row.side);
        let wrong = self.rows.iter().filter(ours).filter_map(|row| {
            let verdict = &row.figures.as_ref()?.verdict;
            let said = || format!("{} with {}: {}", row.side, row.load, verdict.text(true));
            verdict.is_wrong().then(said)
        });
        wrong.collect()
    }

    pub(crate) fn section(&self) -> Result<Section> {
        let distrusted = self.distrusted();
        Ok(Section {
            name: "host",
            text: table::text(self),
            markdown: table::markdown(self),
            json: json!({
                "trustworthy": distrusted.is_empty(),
                "not_trustworthy": distrusted,
                "machine": self.machine,
                "rows": self.rows,
                "targets": self.targets,
                "raw": serde_json::to_value(&self.cells)?,
            }),
            sound: self.mistakes().is_empty(),
        })
    }
}

impl Row {
    fn of(cell: &Cell) -> Self {
        let level = if cell.side == NULL { NULL_LEVEL } else { LEVEL };
        Self {
            load: cell.load,
            side: cell.side,
            refused: cell.refused.clone(),
            // Elsewhere most records are of connections that are older than the slice.
            figures: Figures::of(&cell.pairs, level, cell.load == Kind::Churn),
        }
    }
}

impl Figures {
    /// Whether the events are mostly such as happened in the slices is for the caller to know.
    fn of(pairs: &[Pair], level: f64, counts_events: bool) -> Option<Self> {
        let by = |of: fn(&Ran) -> f64| {
            let ratios = pairs.iter().map(|pair| {
                let without = f64::midpoint(of(&pair.before), of(&pair.after));
                of(&pair.with) / without
            });
            Median::of(&ratios.collect::<Vec<_>>(), level)
        };
        let sum = |of: fn(&Pair) -> Option<u64>| -> Option<u64> { pairs.iter().map(of).sum() };
        let own_cpu: Vec<f64> = pairs.iter().map(Pair::own_cpu_percent).collect();
        let operations: Vec<f64> = pairs
            .iter()
            .map(|pair| float(pair.before.wall_ns) / float(pair.before.ops))
            .collect();
        let shares: Vec<f64> = pairs.iter().map(|pair| pair.before.core_share()).collect();
        let events = sum(|pair| pair.reported.events);
        let cpu: u64 = pairs.iter().map(|pair| pair.own_cpu_ns).sum();
        let most = pairs.iter().map(|pair| pair.memory);
        let at_rest = pairs.iter().map(|pair| pair.at_rest.resident);
        let checks = pairs.iter().flat_map(|pair| pair.reported.checks.clone());
        let faults = pairs.iter().filter_map(|pair| pair.fault.clone());
        Some(Self {
            throughput: by(Ran::throughput)?,
            load_cpu: by(Ran::cpu_ns_per_operation)?,
            core_share: median(&shares)?,
            operation_ns: median(&operations)?,
            own_cpu_percent: median(&own_cpu)?,
            memory: most.fold(Memory::default(), Memory::max),
            at_rest: at_rest.max().unwrap_or_default(),
            cpu_ns_per_1000_events: events
                .filter(|events| counts_events && *events > 0)
                .map(|events| float(cpu) * 1000.0 / float(events)),
            events,
            lost: sum(|pair| pair.reported.lost),
            verdict: Verdict::of(checks, faults.collect()),
        })
    }
}

impl Figures {
    /// Why nothing can be believed where a side that does nothing has these figures.
    fn distrust(&self) -> Option<String> {
        if !self.throughput.contains(1.0) {
            return Some(format!("`{NULL}` comes out at {}", self.throughput));
        }
        let others = 100.0 * (1.0 - self.core_share);
        (self.core_share < LEAST_SHARE).then(|| {
            format!("the load had its core not for itself: others took {others:.0} % of it")
        })
    }
}

impl Ran {
    /// How much of its core the load had. It never sleeps.
    fn core_share(&self) -> f64 {
        float(self.cpu_ns) / float(self.wall_ns)
    }

    /// Operations in a second.
    fn throughput(&self) -> f64 {
        float(self.ops) / Duration::from_nanos(self.wall_ns).as_secs_f64()
    }

    fn cpu_ns_per_operation(&self) -> f64 {
        float(self.cpu_ns) / float(self.ops)
    }
}

impl Pair {
    fn own_cpu_percent(&self) -> f64 {
        100.0 * float(self.own_cpu_ns) / float(self.with.all_wall_ns)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::host::{report::Did, reported::Reported, verdict::Check};

    fn ran(ops: u64) -> Ran {
        Ran {
            ops,
            wall_ns: 1_000_000_000,
            cpu_ns: 990_000_000,
            all_wall_ns: 1_100_000_000,
            did: Did::default(),
            total: Did::default(),
        }
    }

    fn pair(before: u64, with: u64, after: u64) -> Pair {
        Pair {
            before: ran(before),
            with: ran(with),
            after: ran(after),
            own_cpu_ns: 22_000_000,
            at_rest: Memory::default(),
            memory: Memory::default(),
            reported: Reported::default(),
            fault: None,
        }
    }

    /// A row with these ratios.
    pub(crate) fn row(side: &'static str, load: Kind, ratios: &[f64]) -> Row {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a ratio of a test"
        )]
        let with = |ratio: &f64| pair(1_000_000, (ratio * 1e6).round() as u64, 1_000_000);
        Row::of(&Cell {
            load,
            side,
            refused: None,
            pairs: ratios.iter().map(with).collect(),
        })
    }

    #[test]
    fn a_drift_of_the_machine_is_no_cost() {
        let figures =
            Figures::of(&[pair(1000, 900, 800), pair(800, 700, 600)], LEVEL, true).unwrap();
        assert!((figures.throughput.value - 1.0).abs() < 1e-9);
        assert!((figures.own_cpu_percent - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_whose_nothing_costs_something_is_not_trusted() {
        let results = |ratios: &[f64]| {
            let mut results = Results::new(Machine::default(), Vec::new());
            results.rows.push(row(NULL, Kind::Bulk, ratios));
            results
        };
        assert!(results(&[0.99, 1.01]).distrusted().is_empty());
        assert_eq!(results(&[0.97, 0.99]).distrusted()[0].0, Kind::Bulk);
        let mut shared = results(&[1.0]);
        shared.rows[0].figures.as_mut().unwrap().core_share = 0.7;
        let why = &shared.distrusted()[0].1;
        assert!(why.contains("others took 30 %"), "{why}");
    }

    #[test]
    fn our_wrong_answer_is_a_mistake_and_a_peers_is_not() {
        let with = |side| {
            let mut row = row(side, Kind::Churn, &[1.0]);
            let figures = row.figures.as_mut().unwrap();
            figures.verdict = Verdict::of([Check::new("accepts", 1, 2)], vec![]);
            let mut results = Results::new(Machine::default(), Vec::new());
            results.rows.push(row);
            results.mistakes()
        };
        assert_eq!(
            with("process, accept hooks"),
            ["process, accept hooks with churn: **missing 1 of 2 accepts**"]
        );
        assert!(with("tcplife").is_empty());
    }
}
