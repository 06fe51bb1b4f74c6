//! One workload under one tool: what is right, what is wrong, and by how much.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    measure::{Amount, Measure, Unit, grouped},
    plan::Outcome,
    rows::Printed,
    scenes::Scene,
    seen,
    tools::{Output, Tool},
    truth::{Line, Truth},
};

/// A cell of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// The tool has no column for it, or shows nothing where that is right.
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
    let shown = Shown::of(tool, outcome)?;
    let (mut right, mut wrong, mut wire) = (Vec::new(), Vec::new(), false);
    let mut silent = true;
    for measure in &asked {
        let shown = shown.number(*measure, &truth)?;
        silent &= shown.is_nothing();
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
    if silent && wrong.is_empty() {
        return Ok(Cell::NotShown);
    }
    let whole = wrong.is_empty() && asked.len() == scene.asks.len();
    Ok(Cell::Graded {
        right,
        wire,
        wrong,
        whole,
        lost: shown.lost(),
    })
}

/// What a tool showed, as it showed it.
enum Shown<'a> {
    Summary(&'a Value),
    Rows(Printed),
}

impl<'a> Shown<'a> {
    fn of(tool: &Tool, outcome: &'a Outcome) -> Result<Self> {
        Ok(match &tool.output {
            Output::Summary => Self::Summary(&outcome.summary),
            Output::Rows(format) => Self::Rows(format.read(&outcome.output)?),
        })
    }

    fn number(&self, measure: Measure, truth: &Truth) -> Result<Amount> {
        match self {
            Self::Summary(summary) => seen::summary(measure, summary, truth),
            Self::Rows(printed) => Ok(seen::rows(measure, printed, truth)),
        }
    }

    fn lost(&self) -> u64 {
        match self {
            Self::Summary(summary) => seen::lost(summary),
            Self::Rows(printed) => printed.lost,
        }
    }
}

fn difference(measure: Measure, shown: Amount, happened: u64) -> String {
    let count = shown.printed;
    match measure {
        Measure::Sent => format!("sent {}", against(shown, happened)),
        Measure::Received => format!("received {}", against(shown, happened)),
        Measure::Processes => format!("{} rows with a wrong process", grouped(count)),
        Measure::Movers => format!("{} at a wrong process", bytes(count, Unit::Bytes)),
        Measure::Addresses => format!("{} rows with a wrong port", grouped(count)),
        _ => format!(
            "{} {}, not {}",
            grouped(count),
            measure.name(),
            grouped(happened)
        ),
    }
}

fn against(shown: Amount, happened: u64) -> String {
    format!(
        "{}, not {}",
        bytes(shown.printed, shown.unit),
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
    /// Whether it is a mistake of the tool, or a run that is missing.
    pub(crate) fn is_wrong(&self) -> bool {
        match self {
            Self::NotShown | Self::NotHere(_) => false,
            Self::Refused(_) => true,
            Self::Graded { wrong, .. } => !wrong.is_empty(),
        }
    }

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
        let has = |measure| right.contains(&measure);
        let both = has(Measure::Sent) && has(Measure::Received);
        let name = |measure: &Measure| match measure {
            // It goes without saying.
            Measure::Addresses => None,
            Measure::Sent if both && has(Measure::Movers) => None,
            Measure::Sent if both => Some("bytes"),
            Measure::Received if both => None,
            other => Some(other.name()),
        };
        let names: Vec<&str> = right.iter().filter_map(name).collect();
        match (whole, wire) {
            (true, false) => format!("right{lost}"),
            _ => format!("right: {}{carried}{lost}", names.join(", ")),
        }
    }
}

/// What happened, in the words of the table.
pub(crate) fn happened(scene: &Scene, truth: &Truth) -> String {
    let number = |measure| seen::truth(measure, truth);
    let (sent, received) = (number(Measure::Sent), number(Measure::Received));
    let word = |measure: &Measure| match measure {
        Measure::Sent if sent == received => Some(format!(
            "{} sent and received",
            bytes(sent, Unit::Kilobytes)
        )),
        Measure::Sent => Some(format!("{} sent", bytes(sent, Unit::Kilobytes))),
        Measure::Received if sent == received => None,
        Measure::Received => Some(format!("{} received", bytes(received, Unit::Kilobytes))),
        // They follow from the others.
        Measure::Attempts | Measure::Ends => None,
        other => Some(format!("{} {}", grouped(number(*other)), other.name())),
    };
    let asks = scene.asks.iter().filter(|ask| !ask.is_mistakes());
    let words: Vec<String> = asks.filter_map(word).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compare::{measure::Measure::*, scenes::SCENES, tools::TOOLS};

    fn tool(name: &str) -> &'static Tool {
        TOOLS.iter().find(|tool| tool.name == name).unwrap()
    }

    fn scene(asks: &'static [Measure]) -> Scene {
        Scene { asks, ..SCENES[0] }
    }

    fn client(bytes: u64, wire: Option<u64>) -> Value {
        let end = json!({
            "role": "client", "local": "127.0.0.1:40000", "remote": "127.0.0.1:7007",
            "v6_socket": false, "owner_pid": 118, "owner_uid": 0, "closer_pid": 118,
            "tx": bytes, "rx": 0, "users": [], "accepted": true, "ending": "orderly",
        });
        let mut end = end;
        if let Some(wire) = wire {
            end["wire_tx"] = wire.into();
        }
        end
    }

    fn tcplife(kilobytes: &str, truth: Vec<Value>) -> Outcome {
        let header = "PID COMM LADDR LPORT RADDR RPORT TX_KB RX_KB MS".to_owned();
        let row = format!("118 workload 127.0.0.1 40000 127.0.0.1 7007 {kilobytes} 0.00 1.00");
        Outcome {
            truth,
            output: vec![header, row],
            ..Outcome::default()
        }
    }

    fn text(asks: &'static [Measure], outcome: &Outcome) -> String {
        let cell = grade(&scene(asks), tool("tcplife"), outcome).unwrap();
        cell.text()
    }

    #[test]
    fn a_cell_says_what_is_right_and_how_far_the_rest_is_off() {
        let outcome = tcplife("14.65", vec![client(15_000, None)]);
        assert_eq!(text(&[Ends, Sent, Addresses], &outcome), "right");
        assert_eq!(
            text(&[Accepts, Ends, Sent], &outcome),
            "right: ends, bytes sent"
        );
        assert_eq!(text(&[Accepts], &outcome), "–");
        let outcome = tcplife("29.30", vec![client(15_000, None)]);
        assert_eq!(text(&[Ends, Sent], &outcome), "**sent 29 KB, not 15 KB**");
    }

    #[test]
    fn what_a_tool_is_silent_about_is_not_shown() {
        let truth = vec![client(0, None)];
        let silent = Outcome {
            output: tcplife("", Vec::new()).output[..1].to_vec(),
            truth,
            ..Outcome::default()
        };
        assert_eq!(text(&[Sent], &silent), "–");
        assert_eq!(text(&[Ends, Sent], &silent), "**0 ends, not 1**");
    }

    #[test]
    fn the_bytes_of_tcp_are_told_from_those_of_the_program() {
        let outcome = tcplife("14.94", vec![client(15_000, Some(15_300))]);
        assert_eq!(
            text(&[Sent], &outcome),
            "right: bytes sent, as TCP carried them"
        );
        let outcome = tcplife("15.94", vec![client(15_000, Some(15_300))]);
        assert_eq!(text(&[Sent], &outcome), "**sent 16 KB, not 15 KB**");
    }

    #[test]
    fn a_tool_that_does_not_run_and_a_kernel_that_cannot_are_named() {
        let refused = Outcome {
            refusal: Some("it ended at once".to_owned()),
            ..Outcome::default()
        };
        assert_eq!(text(&[Sent], &refused), "does not run: it ended at once");
        let reason = json!({"role": "not_here", "reason": "no TLS"});
        let absent = tcplife("0.00", vec![reason]);
        assert_eq!(text(&[Sent], &absent), "not on this kernel");
    }

    #[test]
    fn every_workload_asks_conntracer_for_nothing_that_it_does_not_claim() {
        for scene in &SCENES {
            let claims = tool("conntracer").claims;
            assert!(
                scene.asks.iter().all(|ask| claims.contains(ask)),
                "{}",
                scene.name
            );
        }
    }
}
