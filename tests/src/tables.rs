//! Records added up to tables again, as the schema says that they add up.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::number;

/// The columns that every table has.
pub const COLUMNS: [&str; 7] = [
    "accepts",
    "connects",
    "failures",
    "unaccepted",
    "open",
    "tx",
    "rx",
];

/// One row's columns.
pub type Counts = [u64; COLUMNS.len()];

/// Rows by the text of their key.
pub type Table = BTreeMap<String, Counts>;

/// The three tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// By service port.
    pub ports: Table,
    /// By process.
    pub processes: Table,
    /// By peer.
    pub peers: Table,
}

/// Bytes sent and received that `traffic` records tell of, by connection.
pub fn traffic(records: &[Value]) -> BTreeMap<&str, (u64, u64)> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for record in records.iter().filter(|it| it["event"] == "traffic") {
        let id = record["id"].as_str().expect("an id");
        let (tx, rx) = sums.entry(id).or_default();
        *tx += number(&record["bytes"]["tx"]);
        *rx += number(&record["bytes"]["rx"]);
    }
    sums
}

impl Tables {
    /// Adds up `close`, `open_at_exit` and `failed` records.
    pub fn of_records(records: &[Value]) -> Self {
        let mut tables = Self::default();
        for record in records {
            let inbound = record["direction"] == "inbound";
            let owned = !record["process"].is_null();
            let event = record["event"].as_str().unwrap_or_default();
            let mut counts: Counts = match (event, inbound, owned) {
                ("failed", ..) => [0, 0, 1, 0, 0, 0, 0],
                // Who is older than the run connected or accepted before it.
                ("close" | "open_at_exit", ..) if record["pre_existing"] == true => [0; 7],
                ("close" | "open_at_exit", true, true) => [1, 0, 0, 0, 0, 0, 0],
                ("close" | "open_at_exit", true, false) => [0, 0, 0, 1, 0, 0, 0],
                ("close" | "open_at_exit", false, _) => [0, 1, 0, 0, 0, 0, 0],
                _ => continue,
            };
            counts[4] = u64::from(event == "open_at_exit");
            add(
                &mut tables.processes,
                process_key(&record["process"]),
                counts,
            );
            let bytes = &record["bytes"];
            for user in record["users"].as_array().into_iter().flatten() {
                add(
                    &mut tables.processes,
                    process_key(user),
                    moved(&user["tx"], &user["rx"]),
                );
            }
            let unattributed = moved(&bytes["unattributed_tx"], &bytes["unattributed_rx"]);
            add(
                &mut tables.processes,
                process_key(&Value::Null),
                unattributed,
            );
            counts[5] = number(&bytes["tx"]);
            counts[6] = number(&bytes["rx"]);
            let service = if inbound {
                &record["local"]
            } else {
                &record["remote"]
            };
            add(
                &mut tables.ports,
                port_key(record, &service["port"]),
                counts,
            );
            add(
                &mut tables.peers,
                peer_key(record, &record["remote"]["ip"]),
                counts,
            );
        }
        tables.without_empty_rows()
    }

    /// The tables of a summary file.
    pub fn of_summary(summary: &Value) -> Self {
        let mut tables = Self::default();
        for row in rows(summary, "ports") {
            add(&mut tables.ports, port_key(row, &row["port"]), columns(row));
        }
        for row in rows(summary, "processes") {
            add(&mut tables.processes, process_key(row), columns(row));
        }
        for row in rows(summary, "peers") {
            add(&mut tables.peers, peer_key(row, &row["ip"]), columns(row));
        }
        tables.without_empty_rows()
    }

    /// Checks that the rows of `summary`, which these are, are those of `full` (all records added
    /// up), or lack no more than is said where they are marked.
    pub fn assert_part_of(&self, full: &Self, summary: &Value) {
        let pairs = [
            ("ports", &self.ports, &full.ports),
            ("processes", &self.processes, &full.processes),
            ("peers", &self.peers, &full.peers),
        ];
        for (name, kept, full) in pairs {
            let marked: Vec<_> = rows(summary, name)
                .filter(|row| row["at_least"] == true)
                .map(|row| key(name, row))
                .collect();
            let most = &summary["other"][name]["most_missing"];
            for (key, row) in kept {
                let truth = full[key];
                if !marked.contains(key) {
                    assert_eq!(*row, truth, "{name} {key} is not marked");
                }
                let connections = |row: &Counts| row[..4].iter().sum::<u64>();
                let missing = [
                    (connections(&truth), connections(row), "connections"),
                    (truth[5], row[5], "tx"),
                    (truth[6], row[6], "rx"),
                ];
                for (truth, seen, what) in missing {
                    let lacks = truth.checked_sub(seen);
                    assert!(
                        lacks.is_some_and(|lacks| lacks <= number(&most[what])),
                        "{name} {key}: {seen} {what} of {truth}; {most}"
                    );
                }
            }
        }
    }

    /// The sum of each table: ports, processes, peers.
    pub fn sums(&self) -> [Counts; 3] {
        [&self.ports, &self.processes, &self.peers].map(|table| {
            let mut sum = Counts::default();
            for row in table.values() {
                accumulate(&mut sum, *row);
            }
            sum
        })
    }

    fn without_empty_rows(mut self) -> Self {
        for table in [&mut self.ports, &mut self.processes, &mut self.peers] {
            table.retain(|_, row| *row != Counts::default());
        }
        self
    }
}

/// The columns of a row, or of the grand total.
pub fn columns(row: &Value) -> Counts {
    COLUMNS.map(|name| {
        row[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {row}"))
    })
}

/// Checks that each table of a summary, with what is in no row, adds up to its grand total, and
/// returns that.
pub fn assert_sums(summary: &Value) -> Counts {
    let total = columns(&summary["total"]);
    for (mut sum, name) in
        Tables::of_summary(summary)
            .sums()
            .into_iter()
            .zip(["ports", "processes", "peers"])
    {
        let other = &summary["other"][name];
        if !other.is_null() {
            accumulate(&mut sum, columns(other));
        }
        assert_eq!(
            sum, total,
            "the sum of {name} and the total; columns are {COLUMNS:?}"
        );
    }
    let unknown = rows(summary, "processes").find(|row| row["pid"].is_null());
    let unattributed = unknown.map_or((0, 0), |row| (number(&row["tx"]), number(&row["rx"])));
    let named = (
        number(&summary["unattributed_tx"]),
        number(&summary["unattributed_rx"]),
    );
    assert_eq!(
        unattributed, named,
        "the row without a process and the unattributed bytes"
    );
    total
}

/// Checks that a text has the tables and their total.
pub fn assert_tables(text: &str) {
    let lower = text.to_lowercase();
    for word in ["port", "pid", "peer", "total"] {
        assert!(lower.contains(word), "no {word} in: {text}");
    }
}

fn rows<'a>(summary: &'a Value, table: &str) -> impl Iterator<Item = &'a Value> {
    summary[table]
        .as_array()
        .unwrap_or_else(|| panic!("no table {table}: {summary}"))
        .iter()
}

fn key(table: &str, row: &Value) -> String {
    match table {
        "ports" => port_key(row, &row["port"]),
        "processes" => process_key(row),
        _ => peer_key(row, &row["ip"]),
    }
}

fn port_key(row: &Value, port: &Value) -> String {
    format!("{} {port} netns {}", row["direction"], row["netns"])
}

fn peer_key(row: &Value, ip: &Value) -> String {
    format!("{ip} netns {}", row["netns"])
}

fn process_key(process: &Value) -> String {
    format!("{} started {}", process["pid"], process["start_ns"])
}

fn moved(tx: &Value, rx: &Value) -> Counts {
    [0, 0, 0, 0, 0, number(tx), number(rx)]
}

fn add(table: &mut Table, key: String, counts: Counts) {
    accumulate(table.entry(key).or_default(), counts);
}

fn accumulate(sum: &mut Counts, counts: Counts) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn close() -> Value {
        json!({
            "event": "close", "direction": "inbound", "netns": 5,
            "local": {"ip": "::1", "port": 80}, "remote": {"ip": "::1", "port": 9999},
            "process": {"pid": 1, "start_ns": 2}, "bytes": {"tx": 10, "rx": 20, "unattributed_rx": 4},
            "users": [{"pid": 1, "start_ns": 2, "tx": 3, "rx": 0}, {"pid": 7, "start_ns": 8, "tx": 7, "rx": 16}],
        })
    }

    #[test]
    fn connections_count_at_the_owner_and_bytes_at_who_moved_them() {
        let tables = Tables::of_records(&[close()]);
        assert_eq!(
            tables.ports["\"inbound\" 80 netns 5"],
            [1, 0, 0, 0, 0, 10, 20]
        );
        assert_eq!(tables.peers["\"::1\" netns 5"], [1, 0, 0, 0, 0, 10, 20]);
        assert_eq!(tables.processes["1 started 2"], [1, 0, 0, 0, 0, 3, 0]);
        assert_eq!(tables.processes["7 started 8"], [0, 0, 0, 0, 0, 7, 16]);
        assert_eq!(tables.processes["null started null"], [0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(tables.sums(), [[1, 0, 0, 0, 0, 10, 20]; 3]);
    }

    #[test]
    #[should_panic(expected = "the sum of peers")]
    fn a_table_that_does_not_add_up_is_found() {
        let row = json!({"accepts": 1, "connects": 0, "failures": 0, "unaccepted": 0, "open": 0,
            "tx": 1, "rx": 1, "pid": 1, "port": 1});
        let summary = json!({"ports": [row], "processes": [row], "peers": [], "total": row});
        assert_sums(&summary);
    }

    #[test]
    fn what_is_in_no_row_is_part_of_the_total() {
        let row = |accepts: u64| {
            json!({"accepts": accepts, "connects": 0, "failures": 0, "unaccepted": 0, "open": 0,
                "tx": 1, "rx": 1, "pid": 1, "port": 1})
        };
        let tables = |other: &Value| {
            let total = json!({"accepts": 3, "connects": 0, "failures": 0, "unaccepted": 0,
                "open": 0, "tx": 2, "rx": 2});
            let other = json!({"ports": other, "processes": other, "peers": other});
            json!({"ports": [row(1)], "processes": [row(1)], "peers": [row(1)], "total": total,
                "other": other})
        };
        assert_eq!(assert_sums(&tables(&row(2)))[0], 3);
        let wrong = tables(&row(1));
        assert!(std::panic::catch_unwind(|| assert_sums(&wrong)).is_err());
    }

    #[test]
    fn a_row_may_lack_something_only_if_it_is_marked_and_no_more_than_is_said() {
        let summary = |marked: bool, most: u64| {
            let row = json!({"direction": "inbound", "netns": 5, "port": 80, "at_least": marked,
                "accepts": 0, "connects": 0, "failures": 0, "unaccepted": 0, "open": 0, "tx": 8,
                "rx": 20});
            let most = json!({"connections": 1, "tx": most, "rx": 0});
            json!({"ports": [row], "processes": [], "peers": [],
                "other": {"ports": {"most_missing": most}}})
        };
        let full = Tables::of_records(&[close()]);
        let holds = |summary: &Value| {
            let kept = Tables::of_summary(summary);
            std::panic::catch_unwind(|| kept.assert_part_of(&full, summary)).is_ok()
        };
        assert!(holds(&summary(true, 2)));
        assert!(!holds(&summary(true, 1)) && !holds(&summary(false, 2)));
    }
}
