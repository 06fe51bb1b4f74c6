//! Instructions that a tool adds to each call.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::guest::NOTHING;
use crate::compare::plan::{Program, Times};

/// What was found out beside a tool.
#[derive(Debug, Serialize)]
pub(super) struct Tool {
    pub(super) name: String,
    /// Why it does not run on this kernel.
    pub(super) refusal: Option<String>,
    /// The times of each of its runs.
    pub(super) rounds: Vec<Times>,
    /// Its programs in each of its runs.
    pub(super) programs: Vec<Program>,
}

impl Tool {
    pub(super) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            refusal: None,
            rounds: Vec::new(),
            programs: Vec::new(),
        }
    }

    /// Its medians and spreads, by call.
    fn counts(&self) -> Option<Vec<Count>> {
        let calls = self.rounds.first()?.named().len();
        (0..calls).map(|call| self.count(call)).collect()
    }

    fn count(&self, call: usize) -> Option<Count> {
        let batches = |times: &Times| times.named()[call].1.clone();
        let rounds: Option<Vec<u64>> = self
            .rounds
            .iter()
            .map(|times| median(batches(times)))
            .collect();
        let rounds = rounds?;
        Some(Count {
            median: median(self.rounds.iter().flat_map(batches).collect())?,
            spread: rounds.iter().max()? - rounds.iter().min()?,
        })
    }
}

/// Instructions of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    /// Of all batches.
    median: u64,
    /// Between the medians of the rounds.
    spread: u64,
}

/// What a tool adds to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extra {
    count: i64,
    spread: u64,
}

/// What a tool adds to each call, or why it does not run.
type Row = Result<Vec<Extra>, String>;

/// Rows of tools, columns of calls.
pub(super) struct Table {
    calls: Vec<&'static str>,
    nothing: Vec<Count>,
    tools: Vec<(String, Row)>,
}

impl Table {
    pub(super) fn new(tools: &[Tool]) -> Result<Self> {
        let nothing = tools.iter().find(|tool| tool.name == NOTHING);
        let nothing = nothing.context("nothing was measured without a tool")?;
        let baseline = nothing.counts();
        let baseline = baseline.context("nothing was measured without a tool")?;
        let row = |tool: &Tool| match (&tool.refusal, tool.counts()) {
            (Some(why), _) => Err(why.clone()),
            (None, None) => Err("it was not measured".to_owned()),
            (None, Some(counts)) => {
                let pairs = counts.iter().zip(&baseline);
                Ok(pairs.map(|(count, base)| extra(*count, *base)).collect())
            }
        };
        let others = tools.iter().filter(|tool| tool.name != NOTHING);
        Ok(Self {
            calls: nothing.rounds[0].named().map(|(name, _)| name).into(),
            tools: others.map(|tool| (tool.name.clone(), row(tool))).collect(),
            nothing: baseline,
        })
    }

    pub(super) fn text(&self, kernel: &str) -> String {
        let count = |count: &Count| format!("{} (±{})", count.median, count.spread);
        let extra = |extra: &Extra| format!("{:+} (±{})", extra.count, extra.spread);
        let line = |cells: Vec<String>| {
            let cells = cells.iter().enumerate();
            let padded = cells.map(|(column, cell)| match column {
                0 => format!("{cell:24}"),
                _ => format!("{cell:>16}"),
            });
            padded.collect::<Vec<_>>().concat()
        };
        let title = format!("Instructions a call on Linux {kernel} (spread between rounds)");
        let lines = self.cells("", count, extra).into_iter().map(line);
        let refusal = |(name, row): &(String, Row)| {
            let why = row.as_ref().err()?;
            Some(format!("{name} does not run: {why}"))
        };
        let lines = lines.chain(self.tools.iter().filter_map(refusal));
        std::iter::once(title)
            .chain(lines)
            .collect::<Vec<_>>()
            .join("\n")
    }

    pub(super) fn markdown(&self, kernel: &str) -> String {
        let count = |count: &Count| count.median.to_string();
        let extra = |extra: &Extra| format!("{:+}", extra.count);
        let title = format!("Linux {kernel}");
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut lines: Vec<String> = self
            .cells(&title, count, extra)
            .into_iter()
            .map(line)
            .collect();
        lines.insert(1, format!("|{}\n", "---|".repeat(self.calls.len() + 1)));
        lines.concat()
    }

    /// The title and the calls, then what they take, then each tool that runs.
    fn cells(
        &self,
        title: &str,
        count: impl Fn(&Count) -> String,
        extra: impl Fn(&Extra) -> String,
    ) -> Vec<Vec<String>> {
        let row = |name: &str, cells: Vec<String>| {
            std::iter::once(name.to_owned()).chain(cells).collect()
        };
        let calls = self.calls.iter().map(|&call| call.to_owned()).collect();
        let nothing = self.nothing.iter().map(count).collect();
        let tool = |(name, extras): &(String, Row)| {
            let extras = extras.as_ref().ok()?;
            Some(row(name, extras.iter().map(&extra).collect()))
        };
        let mut rows = vec![row(title, calls), row(NOTHING, nothing)];
        rows.extend(self.tools.iter().filter_map(tool));
        rows
    }
}

fn extra(count: Count, nothing: Count) -> Extra {
    Extra {
        count: count.median.cast_signed() - nothing.median.cast_signed(),
        spread: count.spread.max(nothing.spread),
    }
}

fn median(mut numbers: Vec<u64>) -> Option<u64> {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(send: &[u64]) -> Times {
        Times {
            send: send.into(),
            receive: vec![50],
            connect: vec![50],
            accept: vec![50],
            close_first: vec![50],
            close_second: vec![50],
        }
    }

    fn tool(name: &str, rounds: &[&[u64]]) -> Tool {
        Tool {
            rounds: rounds.iter().map(|send| times(send)).collect(),
            ..Tool::named(name)
        }
    }

    #[test]
    fn a_tool_adds_the_difference_of_the_medians() {
        let tools = [
            tool(NOTHING, &[&[100, 101, 9000], &[100, 100, 100]]),
            tool("x", &[&[150, 150, 150], &[156, 154, 9000]]),
        ];
        let table = Table::new(&tools).unwrap();
        assert_eq!(
            table.nothing[0],
            Count {
                median: 100,
                spread: 1
            }
        );
        let cells = table.tools[0].1.as_ref().unwrap();
        assert_eq!((cells[0].count, cells[0].spread), (54, 6));
        assert_eq!((cells[1].count, cells[1].spread), (0, 0));
        assert!(table.markdown("6.12").contains("\n| x | +54 | +0 |"));
    }

    #[test]
    fn a_tool_that_does_not_run_says_why() {
        let mut refused = Tool::named("x");
        refused.refusal = Some("no kprobes".into());
        let table = Table::new(&[tool(NOTHING, &[&[1]]), refused]).unwrap();
        assert!(table.text("6.12").contains("x does not run: no kprobes"));
        assert!(Table::new(&[Tool::named("x")]).is_err());
    }
}
