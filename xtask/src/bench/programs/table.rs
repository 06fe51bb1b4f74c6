//! The figures for people.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::{
    Outcome,
    figures::{Figure, find, net_per_connection, per_connection},
};
use crate::bench::stats::ratio;

/// Calls and the programs on them: ours, and the ends of the names of the others.
const CALLS: [(&str, &str); 2] = [("send_length", "send"), ("recv_length", "recv")];

/// Of what a bare update takes.
const CALL_LIMIT: f64 = 1.3;
/// Of what the prototype takes.
const CONNECTION_LIMIT: f64 = 0.5;

/// What is not tuned lets each record wake its reader.
const PROTOTYPES: [(&str, &str, Option<f64>); 2] = [
    ("prototype", "an untuned prototype", Some(CONNECTION_LIMIT)),
    ("quiet-prototype", "a prototype that wakes nobody", None),
];

/// A line of the table: what, how much, in proportion to what, and the limit of that.
struct Row {
    what: String,
    ns: f64,
    net: f64,
    proportions: Vec<Proportion>,
}

struct Proportion {
    to: &'static str,
    gross: f64,
    net: f64,
    limit: Option<f64>,
}

pub(super) fn text(
    calls: &Outcome,
    connections: &Outcome,
    filtered: &[Outcome; 2],
) -> Result<String> {
    let mut text = String::new();
    for outcome in [calls, connections, &filtered[0], &filtered[1]] {
        text += &programs(outcome)?;
    }
    for row in rows(calls, connections, filtered)? {
        writeln!(
            text,
            "{}: {:.0} ns, {:.0} net of an empty program",
            row.what, row.ns, row.net
        )?;
        for Proportion {
            to,
            gross,
            net,
            limit,
        } in row.proportions
        {
            write!(text, "  {gross:.2} x {to}, {net:.2} net")?;
            match limit {
                Some(limit) if net <= limit => writeln!(text, " (at most {limit}: met)")?,
                Some(limit) => writeln!(text, " (at most {limit}: MISSED)")?,
                None => writeln!(text)?,
            }
        }
    }
    Ok(text)
}

pub(super) fn markdown(
    calls: &Outcome,
    connections: &Outcome,
    filtered: &[Outcome; 2],
) -> Result<String> {
    let mut text =
        "| what | ns | net of an empty program | net, in proportion |\n|---|---|---|---|\n"
            .to_owned();
    for row in rows(calls, connections, filtered)? {
        let proportions = row.proportions.iter();
        let proportions: Vec<String> = proportions
            .map(|it| format!("{:.2} of {}", it.net, it.to))
            .collect();
        writeln!(
            text,
            "| {} | {:.0} | {:.0} | {} |",
            row.what,
            row.ns,
            row.net,
            proportions.join(", ")
        )?;
    }
    Ok(text)
}

fn rows(calls: &Outcome, connections: &Outcome, filtered: &[Outcome; 2]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (ours, end) in CALLS {
        let others = [
            ("update", "a bare update", Some(CALL_LIMIT)),
            ("storage", "a bare update of socket storage", None),
        ];
        rows.extend(call(calls, ours, end, &others)?);
    }
    rows.push(connection(connections)?);
    for (ours, end) in CALLS {
        let row = call(
            &filtered[0],
            ours,
            end,
            &[("lookup", "a look-up", Some(1.0))],
        )?;
        rows.extend(row.map(|row| Row {
            what: row.what.clone() + ", filtered out",
            ..row
        }));
    }
    let [_, filtered] = filtered;
    let (ns, net) = sums(filtered, &filtered.ours)?;
    rows.push(Row {
        what: "a connection, both ends, filtered out".into(),
        ns,
        net,
        proportions: Vec::new(),
    });
    Ok(rows)
}

/// One of our programs on a call, and others: their set, what they are, and the limit. Nothing if it
/// is not attached: not all options need it.
fn call(
    outcome: &Outcome,
    ours: &str,
    end: &str,
    others: &[(&str, &'static str, Option<f64>)],
) -> Result<Option<Row>> {
    let Some(own) = find(&outcome.figures, &outcome.ours, ours) else {
        return Ok(None);
    };
    let empty = other(outcome, "empty", end)?;
    let proportion = |(set, to, limit): &(&str, &'static str, Option<f64>)| {
        let other = other(outcome, set, end)?;
        Ok(Proportion {
            to,
            gross: own.to(other).context("nothing was measured")?,
            net: own
                .net_to(other, empty)
                .context("an empty program takes as long as others")?,
            limit: *limit,
        })
    };
    Ok(Some(Row {
        what: format!("`{ours}`"),
        ns: own.ns,
        net: own.ns - empty.ns,
        proportions: others.iter().map(proportion).collect::<Result<_>>()?,
    }))
}

fn connection(outcome: &Outcome) -> Result<Row> {
    let (ns, net) = sums(outcome, &outcome.ours)?;
    let proportion = |(set, to, limit): (&str, &'static str, Option<f64>)| {
        let (gross, other) = sums(outcome, set)?;
        Ok(Proportion {
            to,
            gross: ns / gross,
            net: net / other,
            limit,
        })
    };
    Ok(Row {
        what: "a connection, both ends".into(),
        ns,
        net,
        proportions: PROTOTYPES
            .into_iter()
            .map(proportion)
            .collect::<Result<_>>()?,
    })
}

/// What an owner's programs take a connection, gross and net.
fn sums(outcome: &Outcome, owner: &str) -> Result<(f64, f64)> {
    let empty = empty(outcome)?;
    let Outcome {
        figures,
        connections,
        ..
    } = outcome;
    Ok((
        per_connection(figures, owner, *connections),
        net_per_connection(figures, owner, *connections, empty),
    ))
}

/// All programs of a scene.
fn programs(outcome: &Outcome) -> Result<String> {
    let empty = empty(outcome)?;
    let mut text = format!(
        "{}\n{:17} {:16} {:>10} {:>7} {:>7} {:>7} {:>7}\n",
        outcome.name, "of", "program", "calls", "ns", "net", "calls/c", "ns/c"
    );
    let mut figures: Vec<&Figure> = outcome.figures.iter().collect();
    figures.sort_by_key(|figure| (outcome.owner(figure), &figure.name));
    for figure in figures {
        let owner = outcome.owner(figure);
        let Figure { name, runs, ns, .. } = figure;
        write!(
            text,
            "{owner:17} {name:16} {runs:10} {ns:7.0} {:7.0}",
            ns - empty
        )?;
        if outcome.connections > 0 {
            let calls = ratio(*runs, outcome.connections);
            write!(text, " {calls:7.2} {:7.0}", calls * ns)?;
        }
        text.push('\n');
    }
    Ok(text + "\n")
}

fn other<'a>(outcome: &'a Outcome, set: &str, end: &str) -> Result<&'a Figure> {
    let name = format!("{set}_{end}");
    let found = find(&outcome.figures, set, &name);
    found.with_context(|| format!("the program {name} did not run"))
}

fn empty(outcome: &Outcome) -> Result<f64> {
    let ends = [
        other(outcome, "empty", "send")?.ns,
        other(outcome, "empty", "recv")?.ns,
    ];
    Ok(f64::midpoint(ends[0], ends[1]))
}
