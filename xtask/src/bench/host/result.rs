//! All loads with all sides: what can be believed, what is wrong, and which targets are met.

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::{
    figures::Figures,
    load::Kind,
    machine::Machine,
    measure::Cell,
    sides::NULL,
    table,
    targets::{self, Outcome},
};
use crate::bench::{section::Section, stats::median};

/// How sure the intervals of ratios are meant to be.
const LEVEL: f64 = 0.95;

/// That of the null tracer is wider: there is one for each load, and one of several misses its
/// value by chance more often than one alone.
const NULL_LEVEL: f64 = 0.99;

/// One load with one side.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) load: Kind,
    pub(crate) side: &'static str,
    pub(crate) refused: Option<String>,
    pub(crate) figures: Option<Figures>,
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
        let why = |row: &Row| {
            let figures = row.figures.as_ref()?;
            let others = self.rows.iter().filter(|other| other.load == row.load);
            let shares = others.filter_map(|other| Some(other.figures.as_ref()?.core_share));
            let share = median(&shares.collect::<Vec<_>>())?;
            Some((row.load, figures.distrust(share)?))
        };
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
    /// Against the slices next to the side's own: more of them would be calm more often.
    fn of(cell: &Cell) -> Self {
        let pairs = cell.pairs.iter();
        let without: Vec<_> = pairs.map(|pair| pair.before.operations_ns()).collect();
        let level = if cell.side == NULL { NULL_LEVEL } else { LEVEL };
        Self {
            load: cell.load,
            side: cell.side,
            refused: cell.refused.clone(),
            // Elsewhere most records are of connections that are older than the slice.
            figures: Figures::of(&cell.pairs, &without, level, cell.load == Kind::Churn),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::host::{
        measure::{Own, Pair, With},
        report::{Did, Ran, Window},
        reported::Reported,
        usage::Memory,
        verdict::{Check, Verdict},
    };

    fn ran(ops: u64) -> Ran {
        let window = Window {
            ops,
            wall_ns: 1_000_000_000,
            cpu_ns: 990_000_000,
        };
        Ran {
            windows: vec![window],
            working_ns: 1_000_000_000,
            did: Did::default(),
            total: Did::default(),
        }
    }

    /// Slices of a second with so many operations.
    pub(crate) fn pair(before: u64, with: u64, after: u64) -> Pair {
        Pair {
            before: ran(before),
            with: With {
                ran: ran(with),
                own: Own {
                    in_slice: 20_000_000,
                    until_settled: 21_000_000,
                },
                at_rest: Memory::default(),
                memory: Memory::default(),
                reported: Reported::default(),
                fault: None,
            },
            after: ran(after),
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
        let cell = Cell {
            load,
            side,
            refused: None,
            pairs: ratios.iter().map(with).collect(),
        };
        Row::of(&cell)
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
