//! Instructions that a tool adds to each call.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::guest::NOTHING;
use crate::compare::plan::Times;

/// What was found out beside a tool.
#[derive(Debug, Serialize)]
pub(super) struct Tool {
    pub(super) name: String,
    /// Why it does not run on this kernel.
    pub(super) refusal: Option<String>,
    /// The times of each of its runs.
    pub(super) rounds: Vec<Times>,
}

impl Tool {
    pub(super) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            refusal: None,
            rounds: Vec::new(),
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

/// Rows of tools, columns of calls.
pub(super) struct Table {
    calls: Vec<&'static str>,
    nothing: Vec<Count>,
    /// What a tool adds, and between its rounds; or why it does not run.
    tools: Vec<(String, Result<Vec<(i64, u64)>, String>)>,
}

impl Table {
    pub(super) fn new(tools: &[Tool]) -> Result<Self> {
        let nothing = tools.iter().find(|tool| tool.name == NOTHING);
        let nothing = nothing.context("nothing was measured without a tool")?;
        let baseline = nothing
            .counts()
            .context("nothing was measured without a tool")?;
        let row = |tool: &Tool| {
            let cells = match (&tool.refusal, tool.counts()) {
                (Some(why), _) => Err(why.clone()),
                (None, None) => Err("it was not measured".to_owned()),
                (None, Some(counts)) => {
                    let pairs = counts.iter().zip(&baseline);
                    Ok(pairs.map(|(count, base)| extra(*count, *base)).collect())
                }
            };
            (tool.name.clone(), cells)
        };
        Ok(Self {
            calls: nothing.rounds[0].named().map(|(name, _)| name).into(),
            nothing: baseline.clone(),
            tools: tools
                .iter()
                .filter(|tool| tool.name != NOTHING)
                .map(row)
                .collect(),
        })
    }

    pub(super) fn text(&self, kernel: &str) -> String {
        let mut text = format!("Instructions a call on Linux {kernel} (spread between rounds)\n");
        let mut line = |name: &str, cells: &mut dyn Iterator<Item = String>| {
            let cells: String = cells.map(|cell| format!("{cell:>16}")).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:24}{cells}");
        };
        line("", &mut self.calls.iter().map(|&call| call.to_owned()));
        let nothing = |count: &Count| format!("{} (±{})", count.median, count.spread);
        line(NOTHING, &mut self.nothing.iter().map(nothing));
        for (name, cells) in &self.tools {
            match cells {
                Ok(cells) => {
                    let cell = |(extra, spread): &(i64, u64)| format!("{extra:+} (±{spread})");
                    line(name, &mut cells.iter().map(cell));
                }
                Err(why) => line(
                    &format!("{name} does not run: {why}"),
                    &mut std::iter::empty(),
                ),
            }
        }
        text
    }

    pub(super) fn markdown(&self, kernel: &str) -> String {
        let mut text = format!("| Linux {kernel} |");
        for call in &self.calls {
            text += &format!(" {call} |");
        }
        text += &format!("\n|{}\n| {NOTHING} |", "---|".repeat(self.calls.len() + 1));
        for count in &self.nothing {
            text += &format!(" {} |", count.median);
        }
        for (name, cells) in &self.tools {
            text += &format!("\n| {name} |");
            match cells {
                Ok(cells) => cells
                    .iter()
                    .for_each(|(extra, _)| text += &format!(" {extra:+} |")),
                Err(_) => text += &" – |".repeat(self.calls.len()),
            }
        }
        text + "\n"
    }
}

fn extra(count: Count, nothing: Count) -> (i64, u64) {
    let extra = count.median.cast_signed() - nothing.median.cast_signed();
    (extra, count.spread.max(nothing.spread))
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
        assert_eq!(cells[0], (54, 6));
        assert_eq!(cells[1], (0, 0));
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
