//! What a side reported while it was attached, against what the load did.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use super::{
    report::{Did, PORT, Ready},
    side::{Files, text},
    sides::Output,
    verdict::Check,
};
use crate::compare::{measure::Amount, rows::TCPLIFE, seen};

/// What a side said in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Reported {
    /// Records, rows or packets; unknown where it reports tables only.
    pub(crate) events: Option<u64>,
    /// What it says it lost; unknown where it does not say.
    pub(crate) lost: Option<u64>,
    pub(crate) checks: Vec<Check>,
}

impl Reported {
    pub(crate) fn read(output: Output, files: &Files, load: &Ready, did: &Did) -> Result<Self> {
        match output {
            Output::Nothing => Ok(Self::default()),
            Output::Summary => summary(&json(&files.summary)?, load, did),
            Output::Records => {
                let mut reported = summary(&json(&files.summary)?, load, did)?;
                let (all, last) = records(&files.records, load)?;
                reported.events = Some(all);
                let ends = 2 * did.client.connections + load.open;
                reported.checks.push(Check::new("last records", last, ends));
                Ok(reported)
            }
            Output::Tcplife => {
                // It complains of losses elsewhere than it prints rows.
                let (rows, said) = (text(&files.stdout), text(&files.stderr));
                let losses = said.lines().filter(|line| line.starts_with("lost "));
                let lines: Vec<String> = rows.lines().chain(losses).map(str::to_owned).collect();
                tcplife(&lines, load, did)
            }
            Output::Tcpdump => tcpdump(&text(&files.stderr)),
            Output::Strace => Ok(strace(&text(&files.records), did)),
        }
    }
}

fn json(path: &Path) -> Result<Value> {
    let file = File::open(path).with_context(|| format!("there is no {}", path.display()))?;
    serde_json::from_reader(BufReader::new(file))
        .with_context(|| format!("{} is not JSON", path.display()))
}

/// The rows of the load's namespace, and of its process: nothing else on the machine counts.
fn summary(summary: &Value, load: &Ready, did: &Did) -> Result<Reported> {
    let sum = |table: &str, key: &str, is: u64, column: &str| -> Result<u64> {
        let rows = summary[table].as_array();
        let rows = rows.with_context(|| format!("the summary has no {table}"))?;
        let rows = rows.iter().filter(|row| row[key] == is);
        let numbers = rows.map(|row| row[column].as_u64());
        let sum: Option<u64> = numbers.sum();
        sum.with_context(|| format!("the summary has no {column} in {table}"))
    };
    let here = |column: &str| sum("ports", "netns", load.netns, column);
    let own = |column: &str| sum("processes", "pid", load.pid.into(), column);
    let (connects, accepts) = (did.client.connections, did.server.connections);
    let checks = vec![
        Check::new("connects", here("connects")?, connects),
        Check::new("accepts", here("accepts")?, accepts),
        Check::new("failures", here("failures")?, 0),
        Check::new("not accepted", here("unaccepted")?, 0),
        Check::new("older", here("pre_existing")?, load.open),
        Check::new("bytes sent", here("tx")?, did.tx()),
        Check::new("bytes received", here("rx")?, did.rx()),
        Check::new("connects by process", own("connects")?, connects),
        Check::new("accepts by process", own("accepts")?, accepts),
        Check::new("bytes sent by process", own("tx")?, did.tx()),
        Check::new("bytes received by process", own("rx")?, did.rx()),
    ];
    Ok(Reported {
        events: None,
        lost: Some(seen::lost(summary)),
        checks,
    })
}

/// How many records there are, and how many of them are a connection's last one in the load's
/// namespace.
fn records(path: &Path, load: &Ready) -> Result<(u64, u64)> {
    let file = File::open(path).with_context(|| format!("there is no {}", path.display()))?;
    let netns = format!("\"netns\":{},", load.netns);
    let last = ["\"event\":\"close\"", "\"event\":\"open_at_exit\""];
    let (mut all, mut lasts) = (0, 0);
    for line in BufReader::new(file).lines() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        all += 1;
        let is_last = last.iter().any(|event| line.contains(event));
        lasts += u64::from(is_last && line.contains(&netns));
    }
    Ok((all, lasts))
}

fn tcplife(lines: &[String], load: &Ready, did: &Did) -> Result<Reported> {
    let printed = TCPLIFE.read(lines).context("tcplife")?;
    let own = |row: &&_| {
        let row: &crate::compare::rows::Row = row;
        row.pid == load.pid && [row.local.port(), row.remote.port()].contains(&PORT)
    };
    let rows: Vec<_> = printed.rows.iter().filter(own).collect();
    let (mut tx, mut rx) = (Amount::default(), Amount::default());
    for row in &rows {
        tx += row.tx;
        rx += row.rx;
    }
    let mut reported = Reported {
        events: Some(printed.rows.len() as u64),
        lost: Some(printed.lost),
        checks: Vec::new(),
    };
    let connections = did.client.connections + did.server.connections;
    // It shows connections that end; of others nothing.
    if connections > 0 {
        reported.checks = vec![
            Check::new("ends", rows.len() as u64, connections),
            Check::rounded("bytes sent", tx, did.tx()),
            Check::rounded("bytes received", rx, did.rx()),
        ];
    }
    Ok(reported)
}

/// It counts packets, which the load does not.
fn tcpdump(said: &str) -> Result<Reported> {
    let count = |what: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_suffix(what));
        let number = line.and_then(|line| line.trim().parse::<u64>().ok());
        number.with_context(|| format!("tcpdump does not say how many{what}"))
    };
    let plural = |one: &str, many: &str| count(many).or_else(|_| count(one));
    let captured = plural(" packet captured", " packets captured")?;
    let dropped = plural(" packet dropped by kernel", " packets dropped by kernel")?;
    Ok(Reported {
        events: Some(captured),
        lost: Some(dropped),
        checks: vec![Check::new("packets", captured, captured + dropped)],
    })
}

fn strace(said: &str, did: &Did) -> Reported {
    let accepted = said.lines().filter(|line| {
        let result = line.rsplit_once(" = ").map(|(_, result)| result);
        line.contains("accept") && result.is_some_and(|result| !result.starts_with('-'))
    });
    let accepted = accepted.count() as u64;
    let accepts = did.server.connections;
    let check = (accepts > 0).then(|| Check::new("accepts", accepted, accepts));
    Reported {
        events: Some(said.lines().count() as u64),
        lost: None,
        checks: check.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::host::{report::End, verdict::Verdict};

    const LOAD: Ready = Ready {
        pid: 7,
        netns: 11,
        open: 0,
    };

    fn did() -> Did {
        let end = |tx, rx| End {
            connections: 2,
            tx,
            rx,
        };
        Did {
            client: end(200, 400),
            server: end(400, 200),
        }
    }

    fn text_of(reported: &Reported) -> String {
        Verdict::of(reported.checks.clone(), vec![]).text(true)
    }

    fn tables(accepts: u64) -> Value {
        let row = |connects: u64, accepts: u64, tx: u64, rx: u64| {
            json!({"netns": 11, "connects": connects, "accepts": accepts, "failures": 0,
                   "unaccepted": 0, "pre_existing": 0, "tx": tx, "rx": rx})
        };
        let mut stranger = row(9, 9, 9, 9);
        stranger["netns"] = json!(12);
        let mut process = row(2, accepts, 600, 600);
        process["pid"] = json!(7);
        json!({
            "ports": [row(2, 0, 200, 400), row(0, accepts, 400, 200), stranger],
            "processes": [process],
            "loss": {"lost_tx": 0, "late_news": 5},
        })
    }

    #[test]
    fn our_summary_is_held_against_the_load() {
        let right = summary(&tables(2), &LOAD, &did()).unwrap();
        assert_eq!(text_of(&right), "exact");
        let wrong = summary(&tables(1), &LOAD, &did()).unwrap();
        assert_eq!(
            text_of(&wrong),
            "**missing 1 of 2 accepts; missing 1 of 2 accepts by process**"
        );
        assert!(summary(&json!({}), &LOAD, &did()).is_err());
    }

    #[test]
    fn rows_of_tcplife_count_if_they_are_the_loads() {
        let header = "PID COMM LADDR LPORT RADDR RPORT TX_KB RX_KB MS";
        let row = |pid: u32, tx: &str, rx: &str| {
            format!("{pid} load 127.0.0.1 7100 127.0.0.1 40000 {tx} {rx} 0.1")
        };
        let mut lines = vec![header.to_owned(), row(8, "9.00", "9.00")];
        for _ in 0..2 {
            lines.push(row(7, "0.20", "0.10"));
            lines.push(row(7, "0.10", "0.20"));
        }
        let reported = tcplife(&lines, &LOAD, &did()).unwrap();
        assert_eq!(text_of(&reported), "exact");
        assert_eq!(reported.events, Some(5));
        lines.pop();
        let reported = tcplife(&lines, &LOAD, &did()).unwrap();
        assert!(text_of(&reported).contains("missing 1 of 4 ends"));
    }

    #[test]
    fn what_tcpdump_drops_is_missing() {
        let said = "tcpdump: listening on lo\n90 packets captured\n180 packets received by filter\n\
                    10 packets dropped by kernel\n";
        let reported = tcpdump(said).unwrap();
        assert_eq!(text_of(&reported), "**missing 10 of 100 packets**");
        assert_eq!((reported.events, reported.lost), (Some(90), Some(10)));
        assert!(tcpdump("listening on lo").is_err());
    }

    #[test]
    fn strace_counts_what_was_accepted() {
        let said = "7 accept4(3, {sa_family=AF_INET}, [16], SOCK_CLOEXEC) = 5\n\
                    7 accept4(3, 0x7ffd, [128], SOCK_CLOEXEC) = -1 EAGAIN\n\
                    7 accept4(3, {sa_family=AF_INET}, [16], SOCK_CLOEXEC) = 5\n";
        assert_eq!(text_of(&strace(said, &did())), "exact");
    }
}
