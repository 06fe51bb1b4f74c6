//! What `--interval` tells, added up again and held against the summary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::compare::number;
use crate::harness::PATIENCE;
use crate::schema::closed;
use crate::tracer::parse_lines;

/// The columns that every row of intervals and summaries has,
pub const COLUMNS: [&str; 7] = [
    "accepts",
    "connects",
    "failures",
    "unaccepted",
    "pre_existing",
    "tx",
    "rx",
];

/// and those in `wire`, of rows that tell what was on the wire.
pub const WIRE: [&str; 4] = [
    "segments_out",
    "segments_in",
    "wire_bytes_out",
    "wire_bytes_in",
];

/// One row's columns of both kinds.
pub type Counts = [u64; COLUMNS.len() + WIRE.len()];

/// Rows by the text of what they are about.
pub type Table = BTreeMap<String, Counts>;

/// Everything that a table can be by.
pub const ALL: [&str; 9] = [
    "peer",
    "port",
    "process",
    "user",
    "country",
    "asn",
    "class",
    "container",
    "netns",
];

const SCHEMA: &str = include_str!("../../docs/interval.schema.json");

/// The columns of a line, a row, or a total.
pub fn columns(row: &Value) -> Counts {
    let everywhere = COLUMNS.map(|name| {
        let number = row[name].as_u64();
        number.unwrap_or_else(|| panic!("no {name} in {row}"))
    });
    let mut counts = Counts::default();
    let all = everywhere.into_iter().chain(wire(row));
    for (count, number) in counts.iter_mut().zip(all) {
        *count = number;
    }
    counts
}

/// What a line, a row, a total or a record tells of the wire.
pub fn wire(row: &Value) -> [u64; WIRE.len()] {
    WIRE.map(|name| number(&row["wire"][name]))
}

/// Checks that what the records of ends tell of the wire is in the interval that they are in.
pub fn assert_wire_at_ends(records: &[Value]) {
    let mut told = [0; WIRE.len()];
    for record in records {
        if record["by"] == "total" {
            assert_eq!(wire(record), told, "{record}");
            told = [0; WIRE.len()];
        } else if record["event"] != "interval" {
            add(&mut told, wire(record));
        }
    }
}

/// The `interval` records among `records`.
pub fn intervals(records: &[Value]) -> Vec<Value> {
    let fits = |record: &&Value| record["event"] == "interval";
    records.iter().filter(fits).cloned().collect()
}

/// Waits until the totals of the file's intervals add up to so many bytes sent.
pub fn wait_for_bytes(path: &Path, least: u64) {
    let since = Instant::now();
    loop {
        let text = std::fs::read(path).unwrap_or_default();
        let end = text.iter().rposition(|byte| *byte == b'\n');
        let lines = parse_lines(&text[..end.map_or(0, |end| end + 1)]);
        let totals = lines.iter().filter(|line| line["by"] == "total");
        let sent: u64 = totals.map(|line| columns(line)[5]).sum();
        if sent >= least {
            return;
        }
        assert!(
            since.elapsed() < PATIENCE,
            "{sent} bytes in intervals, not {least}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All lines of a file.
pub fn lines(path: &PathBuf) -> Vec<Value> {
    parse_lines(&std::fs::read(path).expect("reading the records"))
}

/// Checks each line against the schema, that intervals follow on each other, and that each table
/// adds up to the total of its interval. Returns the sum of all totals, and how many there are.
///
/// Those of a replay need not follow on each other.
pub fn assert_adds_up(lines: &[Value], by: &[&str], follow: bool) -> (Counts, usize) {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&closed(schema)).expect("a valid schema");
    let mut sum = Counts::default();
    let mut before: Option<&Value> = None;
    let mut count = 0;
    // Each interval ends with its total.
    for interval in lines.split_inclusive(|line| line["by"] == "total") {
        let total = interval.last().expect("a line");
        assert_eq!(total["by"], "total", "the last line of an interval");
        let mut tables: BTreeMap<&str, Counts> =
            by.iter().map(|by| (*by, Counts::default())).collect();
        for line in interval {
            if let Err(error) = validator.validate(line) {
                panic!("{error}: {line}");
            }
            for name in ["start", "end", "duration_ns"] {
                assert_eq!(line[name], total[name], "{name} of {line}");
            }
            assert_eq!(line["time"], line["end"]);
            assert_rates(line);
            let by = line["by"].as_str().expect("a table");
            if by != "total" {
                let table = tables.get_mut(by).expect("a table that was asked for");
                add(table, columns(line));
            }
        }
        for (by, table) in &tables {
            assert_eq!(*table, columns(total), "by {by}; {total}");
        }
        if let Some(before) = before.filter(|_| follow) {
            assert_eq!(before["end"], total["start"]);
        }
        add(&mut sum, columns(total));
        before = Some(total);
        count += 1;
    }
    (sum, count)
}

fn assert_rates(line: &Value) {
    let Some(rate) = line["tx_per_second"].as_f64() else {
        assert_eq!(line["duration_ns"], 0);
        return;
    };
    let seconds = line["duration_ns"].as_f64().expect("a duration") / 1e9;
    let tx = line["tx"].as_f64().expect("bytes");
    assert!(
        (rate * seconds - tx).abs() <= 0.001 * seconds + 0.001,
        "{line}"
    );
}

/// The sums of rows about the same.
pub fn sums(lines: &[Value], by: &str) -> Table {
    let mut table = Table::new();
    for line in lines.iter().filter(|line| line["by"] == by) {
        let row = table.entry(key(by, line)).or_default();
        add(row, columns(line));
    }
    table
}

/// The same table of a summary, which has no rows of nothing.
pub fn of_summary(summary: &Value, by: &str) -> Table {
    let name = match by {
        "peer" => "peers",
        "port" => "ports",
        _ => "processes",
    };
    let rows = summary[name].as_array().expect("a table");
    let mut table: Table = rows
        .iter()
        .map(|row| (key(by, row), columns(row)))
        .collect();
    table.retain(|_, row| *row != Counts::default());
    table
}

/// Checks that the lines add up to the summary: each row, and the total.
pub fn assert_summary(lines: &[Value], summary: &Value, by: &[&str]) {
    let mut total = Counts::default();
    for line in lines.iter().filter(|line| line["by"] == "total") {
        add(&mut total, columns(line));
    }
    assert_eq!(total, columns(&summary["total"]), "{COLUMNS:?} {WIRE:?}");
    for by in by {
        assert_eq!(sums(lines, by), of_summary(summary, by), "by {by}");
    }
}

fn key(by: &str, row: &Value) -> String {
    let names: &[&str] = match by {
        "peer" => &["ip", "netns"],
        "port" => &["direction", "port", "netns"],
        "process" => &["pid", "start_ns"],
        "user" => &["uid"],
        "class" => &["class"],
        "container" => &["container", "cgroup"],
        "netns" => &["netns"],
        _ => &[],
    };
    let parts: Vec<_> = names.iter().map(|name| row[name].to_string()).collect();
    parts.join(" ")
}

fn add<const N: usize>(sum: &mut [u64; N], counts: [u64; N]) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}
