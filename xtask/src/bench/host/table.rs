//! The figures as text and as Markdown.

use std::fmt::Write as _;

use super::{
    figures::Figures,
    load::Kind,
    result::{Results, Row},
    sides::{self, NULL},
    usage::Memory,
};
use crate::compare::measure::grouped;

/// The table of the README: a side a row, a load a column.
pub(crate) fn markdown(results: &Results) -> String {
    let mut loads: Vec<Kind> = results.rows.iter().map(|row| row.load).collect();
    loads.sort_unstable();
    loads.dedup();
    let titles: Vec<String> = loads.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "| | {} | own CPU at {first} | memory, kernel maps | lost | reported |\n|---|{}---|---|---|---|\n",
        titles.join(" | "),
        "---|".repeat(loads.len()),
        first = titles.first().map_or("", String::as_str),
    );
    let mut names: Vec<&str> = Vec::new();
    for row in &results.rows {
        if !names.contains(&row.side) {
            names.push(row.side);
        }
    }
    for name in names {
        let rows: Vec<&Row> = results.rows.iter().filter(|row| row.side == name).collect();
        let cells = side(name, &rows, &loads);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push('\n');
    for line in notes(results) {
        let _ = writeln!(text, "- {line}");
    }
    text
}

fn side(name: &str, rows: &[&Row], loads: &[Kind]) -> Vec<String> {
    let find = |load: &Kind| rows.iter().find(|row| row.load == *load);
    let mut cells = vec![name.to_owned()];
    let figures: Vec<&Figures> = rows.iter().filter_map(|row| row.figures.as_ref()).collect();
    let Some(first) = figures.first() else {
        let why = rows.iter().find_map(|row| row.refused.as_deref());
        cells.push(
            format!("does not run here: {}", why.unwrap_or("not measured")).replace('|', "\\|"),
        );
        cells.extend(std::iter::repeat_n(String::new(), loads.len() + 3));
        return cells;
    };
    let ratio = |load| match find(load).and_then(|row| row.figures.as_ref()) {
        Some(figures) => figures.throughput.to_string(),
        None => "–".to_owned(),
    };
    cells.extend(loads.iter().map(ratio));
    cells.push(format!(
        "{:.1} %{}",
        first.own_cpu_percent,
        per_event(first)
    ));
    let most = figures.iter().map(|figures| figures.memory);
    cells.push(memory(most.fold(Memory::default(), Memory::max)));
    let lost: Option<u64> = figures.iter().map(|figures| figures.lost).sum();
    cells.push(lost.map_or("–".to_owned(), grouped));
    cells.push(reported(name, rows));
    cells
}

/// The same verdict once, different ones by load.
fn reported(name: &str, rows: &[&Row]) -> String {
    let whole = sides::is_ours(name);
    let mut words: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows {
        let Some(figures) = &row.figures else {
            continue;
        };
        let text = figures.verdict.text(whole);
        match words.iter_mut().find(|(word, _)| *word == text) {
            Some((_, loads)) => loads.push(row.load.to_string()),
            None => words.push((text, vec![row.load.to_string()])),
        }
    }
    match &words[..] {
        [(word, _)] => word.clone(),
        words => {
            let words = words.iter();
            let words: Vec<String> = words
                .map(|(word, loads)| format!("{}: {word}", loads.join(", ")))
                .collect();
            words.join("; ")
        }
    }
}

/// For the terminal: everything, load by load.
pub(crate) fn text(results: &Results) -> String {
    let mut text = String::new();
    let mut last = None;
    for row in &results.rows {
        if last != Some(row.load) {
            last = Some(row.load);
            let _ = writeln!(text, "\n{}", heading(row));
        }
        let _ = writeln!(text, "{}", line(row));
    }
    text.push('\n');
    for outcome in &results.targets {
        let word = if outcome.met { "met" } else { "MISSED" };
        let _ = writeln!(
            text,
            "target {word}: {}, {} {}: {:.3}",
            outcome.side, outcome.what, outcome.target, outcome.measured
        );
    }
    for line in notes(results) {
        let _ = writeln!(text, "{line}");
    }
    for mistake in results.mistakes() {
        let _ = writeln!(text, "conntracer is wrong: {mistake}");
    }
    text
}

fn heading(row: &Row) -> String {
    let operation = row
        .figures
        .as_ref()
        .map_or(0.0, |figures| figures.operation_ns);
    format!(
        "{} ({:.2} us a {} without)\n{:26} {:22} {:22} {:22} {:>8} {:>8} {:>8} {:>8} {:>9} {:>6}  {}",
        row.load,
        operation / 1000.0,
        row.load.operation(),
        "",
        "throughput",
        "with disturbances",
        "CPU an operation",
        "own CPU",
        "at rest",
        "peak",
        "maps",
        "events",
        "lost",
        "reported"
    )
}

fn line(row: &Row) -> String {
    let Some(figures) = &row.figures else {
        let why = row.refused.as_deref().unwrap_or("not measured");
        return format!("{:26} does not run here: {why}", row.side);
    };
    let count = |count: Option<u64>| count.map_or("–".to_owned(), |count| count.to_string());
    format!(
        "{:26} {:22} {:22} {:22} {:>6.1} % {:>8} {:>8} {:>8} {:>9} {:>6}  {}{}",
        row.side,
        figures.throughput,
        figures.disturbed,
        figures.load_cpu,
        figures.own_cpu_percent,
        mebibytes(figures.at_rest),
        mebibytes(figures.memory.peak),
        mebibytes(figures.memory.maps),
        count(figures.events),
        count(figures.lost),
        figures.verdict.text(sides::is_ours(row.side)),
        per_event(figures),
    )
}

fn per_event(figures: &Figures) -> String {
    let cpu = figures.cpu_ns_per_1000_events;
    cpu.map_or(String::new(), |ns| {
        format!(", {:.2} ms for 1,000 events", ns / 1e6)
    })
}

/// What has to be known to read the figures.
fn notes(results: &Results) -> Vec<String> {
    let mut notes = vec![sureness(results), results.machine.text()];
    let distrusted = results.distrusted();
    if distrusted.is_empty() {
        notes.push(format!(
            "`{NULL}` comes out at 1 with each load, which has its core for itself"
        ));
    }
    for (load, why) in distrusted {
        notes.push(format!("**not trustworthy** with {load}: {why}"));
    }
    let targets = results.targets.iter();
    let missed: Vec<String> = targets
        .filter(|outcome| !outcome.met)
        .map(|outcome| {
            format!(
                "{}, {} {} ({:.3})",
                outcome.side, outcome.what, outcome.target, outcome.measured
            )
        })
        .collect();
    if missed.is_empty() {
        notes.push(format!("all {} targets are met", results.targets.len()));
    } else {
        notes.push(format!(
            "targets missed, {} of {}: {}",
            missed.len(),
            results.targets.len(),
            missed.join("; ")
        ));
    }
    notes
}

/// How the ratios were made, and how sure they are.
fn sureness(results: &Results) -> String {
    let figures = results.rows.iter().filter_map(|row| row.figures.as_ref());
    let most = figures.map(|figures| figures.throughput.slices);
    let [without, with] = most.max().unwrap_or_default();
    format!(
        "a ratio is the throughput with a side by that without, each in its calmest moments (the 2nd \
         percentile of windows of 10 ms, in {with} slices with the side and {without} without), \
         with the interval that has it with 95 % (bootstrap of the slices)"
    )
}

fn memory(memory: Memory) -> String {
    format!("{}, {}", mebibytes(memory.peak), mebibytes(memory.maps))
}

/// To a tenth.
fn mebibytes(bytes: u64) -> String {
    let tenths = (bytes * 10 + (1 << 19)) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::host::{
        machine::Machine,
        result::tests::row,
        verdict::{Check, Verdict},
    };

    fn results(rows: Vec<Row>) -> Results {
        let mut results = Results::new(Machine::default(), Vec::new());
        results.targets = crate::bench::host::targets::outcomes(&rows);
        results.rows = rows;
        results
    }

    #[test]
    fn the_table_has_a_row_a_side_and_a_column_a_load() {
        let mut wrong = row("process, accept hooks", Kind::Churn, &[0.99, 0.99, 0.99]);
        wrong.figures.as_mut().unwrap().verdict =
            Verdict::of([Check::new("accepts", 1, 2)], vec![]);
        let mut refused = row("tcptop", Kind::Churn, &[]);
        refused.refused = Some("no kprobe|here".to_owned());
        let rows = vec![
            row(NULL, Kind::Churn, &[0.99, 1.0, 1.01]),
            wrong,
            refused,
            row(NULL, Kind::Bulk, &[1.0]),
        ];
        let text = markdown(&results(rows));
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("| | churn | bulk | own CPU at churn |"),
            "{text}"
        );
        assert!(
            lines[2].starts_with(
                "| nothing (sleep) | 1.010 (0.990–1.010) | 1.000 (1.000–1.000) | 2.0 % |"
            ),
            "{text}"
        );
        assert!(
            lines[3].contains("| – | 2.0 % |")
                && lines[3].ends_with("**missing 1 of 2 accepts** |"),
            "{text}"
        );
        assert!(
            lines[4].starts_with("| tcptop | does not run here: no kprobe\\|here |"),
            "{text}"
        );
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(
            lines[..5].iter().all(|line| bars(line) == bars(lines[0])),
            "{text}"
        );
        assert!(text.contains("all 2 targets are met"), "{text}");
    }

    #[test]
    fn a_run_that_is_not_trustworthy_says_so() {
        let text = text(&results(vec![row(NULL, Kind::Bulk, &[0.9])]));
        assert!(text.contains("**not trustworthy** with bulk"), "{text}");
    }

    #[test]
    fn memory_is_rounded() {
        assert_eq!(mebibytes(1 << 20), "1.0 MiB");
        assert_eq!(mebibytes((4 << 20) + (1 << 19)), "4.5 MiB");
    }
}
