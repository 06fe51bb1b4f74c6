//! One workload under one tool: what is right, what is wrong, and by how much.

use anyhow::{Context as _, Result};

use super::{
    measure::{Amount, Measure, Unit, grouped},
    plan::Outcome,
    scenes::Scene,
    seen,
    tools::{Output, Tool},
    truth::{Line, Truth},
};

/// A cell of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The tool does not say anything about it.
    NotShown,
    /// The kernel cannot do it.
    NotHere(String),
    /// The tool cannot be run.
    Refused(String),
    Graded {
        /// Measures that are right.
        right: Vec<Measure>,
        /// Of those, bytes that are right as TCP carried them.
        wire: bool,
        /// What is wrong, in words.
        wrong: Vec<String>,
        /// Whether all that the workload asks is right.
        whole: bool,
        /// Events that the tool says it lost.
        lost: u64,
    },
}

/// What the workload said.
pub(crate) fn truth(outcome: &Outcome) -> Result<Truth> {
    let mut truth = Truth::default();
    for line in &outcome.truth {
        let line: Line =
            serde_json::from_value(line.clone()).context("the workload is not understood")?;
        truth.add(line);
    }
    Ok(truth)
}

pub(crate) fn grade(scene: &Scene, tool: &Tool, outcome: &Outcome) -> Result<Cell> {
    if let Some(refusal) = &outcome.refusal {
        return Ok(Cell::Refused(refusal.clone()));
    }
    let truth = truth(outcome)?;
    if let Some(reason) = &truth.not_here {
        return Ok(Cell::NotHere(reason.clone()));
    }
    let asks = scene.asks.iter().copied();
    let asked: Vec<Measure> = asks.filter(|ask| tool.claims.contains(ask)).collect();
    if asked.iter().all(|measure| measure.is_mistakes()) {
        return Ok(Cell::NotShown);
    }
    let (mut right, mut wrong, mut wire, mut lost) = (Vec::new(), Vec::new(), false, 0);
    for measure in &asked {
        let shown = match &tool.output {
            Output::Summary => seen::summary(*measure, &outcome.summary, &truth)?,
            Output::Rows(format) => {
                let printed = format.read(&outcome.output)?;
                lost = printed.lost;
                seen::rows(*measure, &printed, &truth)
            }
        };
        let happened = seen::truth(*measure, &truth);
        let carried = seen::wire(&truth).filter(|_| measure.is_bytes() && !measure.is_mistakes());
        if shown.is(happened) {
            right.push(*measure);
        } else if carried.is_some_and(|carried| shown.is(carried)) {
            right.push(*measure);
            wire = true;
        } else {
            wrong.push(difference(*measure, shown, happened));
        }
    }
    let whole = wrong.is_empty() && asked.len() == scene.asks.len();
    Ok(Cell::Graded {
        right,
        wire,
        wrong,
        whole,
        lost,
    })
}

fn difference(measure: Measure, shown: Amount, happened: u64) -> String {
    let count = shown.least;
    match measure {
        Measure::Sent => format!("sent {}", against(shown, happened)),
        Measure::Received => format!("received {}", against(shown, happened)),
        Measure::Processes => format!("{} with a wrong process", grouped(count)),
        Measure::Movers => format!("{} at a wrong process", bytes(count, Unit::Bytes)),
        Measure::Addresses => format!("{} rows with a port that no socket had", grouped(count)),
        _ => format!(
            "{} {}, not {}",
            grouped(count),
            measure.name(),
            grouped(happened)
        ),
    }
}

fn against(shown: Amount, happened: u64) -> String {
    let middle = shown.least.midpoint(shown.most);
    format!(
        "{}, not {}",
        bytes(middle, shown.unit),
        bytes(happened, shown.unit)
    )
}

/// A number of bytes in the unit in which it was printed.
fn bytes(number: u64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{} B", grouped(number)),
        Unit::Kilobytes => format!("{} KB", grouped((number + 512) / 1024)),
    }
}

impl Cell {
    /// In Markdown; what is wrong is bold.
    pub(crate) fn text(&self) -> String {
        let (right, wire, wrong, whole, lost) = match self {
            Self::NotShown => return "–".to_owned(),
            Self::NotHere(_) => return "not on this kernel".to_owned(),
            Self::Refused(why) => return format!("does not run: {why}"),
            Self::Graded {
                right,
                wire,
                wrong,
                whole,
                lost,
            } => (right, *wire, wrong, *whole, *lost),
        };
        let lost = match lost {
            0 => String::new(),
            count => format!(" (says that it lost {})", grouped(count)),
        };
        if !wrong.is_empty() {
            return format!("**{}**{lost}", wrong.join("; "));
        }
        let carried = if wire { ", as TCP carried them" } else { "" };
        let named = right.iter().filter(|measure| !measure.is_mistakes());
        let both = right.contains(&Measure::Sent) && right.contains(&Measure::Received);
        let names: Vec<&str> = named
            .filter_map(|measure| match measure {
                Measure::Sent if both => Some("bytes"),
                Measure::Received if both => None,
                other => Some(other.name()),
            })
            .collect();
        match (whole, wire) {
            (true, false) => format!("right{lost}"),
            _ => format!("right: {}{carried}{lost}", names.join(", ")),
        }
    }
}

/// What happened, in the words of the table.
pub(crate) fn happened(scene: &Scene, truth: &Truth) -> String {
    let mut words = Vec::new();
    let number = |measure| seen::truth(measure, truth);
    for measure in scene.asks.iter().filter(|ask| !ask.is_mistakes()) {
        match measure {
            Measure::Sent => {
                words.push(format!(
                    "{} sent and received",
                    bytes(number(*measure), Unit::Bytes)
                ));
            }
            Measure::Received => {}
            // They follow from the others.
            Measure::Attempts | Measure::Ends => {}
            other => words.push(format!("{} {}", grouped(number(*other)), other.name())),
        }
    }
    words.join(", ")
}
