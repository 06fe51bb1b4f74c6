//! What a tool showed, as numbers to compare with the truth.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    measure::{Amount, Measure},
    rows::{Printed, Row, What},
    truth::{End, Truth},
};

/// The numbers of the truth: those of a tool that makes no mistake.
pub(crate) fn truth(measure: Measure, truth: &Truth) -> u64 {
    let accepted = truth.servers.iter().filter(|end| end.accepted).count();
    let count = match measure {
        Measure::Accepts => accepted,
        Measure::Connects => truth.clients.len(),
        Measure::Attempts => truth.clients.len() + truth.failed.len(),
        Measure::Failures => truth.failed.len(),
        Measure::Unaccepted => truth.servers.len() - accepted,
        Measure::Ends => truth.clients.len() + truth.servers.len(),
        Measure::Sent => return truth.bytes().0,
        Measure::Received => return truth.bytes().1,
        Measure::Processes | Measure::Movers | Measure::Addresses => 0,
    };
    count as u64
}

/// Bytes that TCP carried, if those are not what the programs sent.
pub(crate) fn wire(truth: &Truth) -> Option<u64> {
    let mut ends = truth.ends().map(|(_, end)| end).peekable();
    ends.peek()?;
    ends.map(|end| end.wire_tx).sum()
}

/// The same of a tool that prints rows.
pub(crate) fn rows(measure: Measure, printed: &Printed, truth: &Truth) -> Amount {
    let rows = &printed.rows;
    let count = |what| rows.iter().filter(|row| row.what == what).count();
    let sum = |bytes: fn(&Row) -> Amount| {
        let mut sum = Amount::default();
        for row in rows {
            sum += bytes(row);
        }
        sum
    };
    let ends = Ends::of(truth);
    let number = match measure {
        Measure::Accepts => count(What::Accept),
        Measure::Connects => count(What::Connect),
        Measure::Attempts => count(What::Attempt),
        Measure::Ends => count(What::End),
        Measure::Sent => return sum(|row| row.tx),
        Measure::Received => return sum(|row| row.rx),
        Measure::Movers => {
            let shares = rows.iter().map(|row| (row.pid, row.tx, row.rx));
            return Amount::exact(misplaced_bytes(shares, truth));
        }
        Measure::Processes => rows.iter().filter(|row| !ends.knows_process(row)).count(),
        Measure::Addresses => rows.iter().filter(|row| !ends.knows(row)).count(),
        Measure::Failures | Measure::Unaccepted => 0,
    };
    Amount::exact(number as u64)
}

/// The same of conntracer, by its summary.
pub(crate) fn summary(measure: Measure, summary: &Value, truth: &Truth) -> Result<Amount> {
    let total = |name: &str| number(&summary["total"], name);
    let number = match measure {
        Measure::Accepts => total("accepts")?,
        Measure::Connects => total("connects")?,
        Measure::Attempts => total("connects")? + total("failures")?,
        Measure::Failures => total("failures")?,
        Measure::Unaccepted => total("unaccepted")?,
        Measure::Ends => {
            let ends = total("accepts")? + total("connects")? + total("unaccepted")?;
            ends - total("open")?
        }
        Measure::Sent => total("tx")?,
        Measure::Received => total("rx")?,
        Measure::Movers => {
            let mut shares = Vec::new();
            for row in table(summary, "processes")? {
                let bytes = |name| Ok::<_, anyhow::Error>(Amount::exact(number(row, name)?));
                shares.push((pid(row), bytes("tx")?, bytes("rx")?));
            }
            misplaced_bytes(shares.into_iter(), truth)
        }
        Measure::Processes => misplaced_ends(summary, truth)?,
        Measure::Addresses => {
            let ports = table(summary, "ports")?.iter();
            let ports = ports.filter_map(|row| u16::try_from(row["port"].as_u64()?).ok());
            let known: Vec<u16> = service_ports(truth).collect();
            ports.filter(|port| !known.contains(port)).count() as u64
        }
    };
    Ok(Amount::exact(number))
}

/// What conntracer says it lost: connections, records, runs of its programs.
pub(crate) fn lost(summary: &Value) -> u64 {
    let loss = summary["loss"].as_object().into_iter().flatten();
    let pieces = loss.filter(|(name, _)| {
        let bytes = name.ends_with("_tx") || name.ends_with("_rx");
        // Late is not lost.
        !bytes && *name != "late_news"
    });
    pieces.filter_map(|(_, count)| count.as_u64()).sum()
}

/// Bytes at processes that did not move them.
fn misplaced_bytes(shares: impl Iterator<Item = (u32, Amount, Amount)>, truth: &Truth) -> u64 {
    let mut moved: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for share in truth.ends().flat_map(|(_, end)| &end.users) {
        let (tx, rx) = moved.entry(share.pid).or_default();
        *tx += share.tx;
        *rx += share.rx;
    }
    let mut shown: BTreeMap<u32, (Amount, Amount)> = BTreeMap::new();
    for (pid, tx, rx) in shares {
        let sums = shown.entry(pid).or_default();
        sums.0 += tx;
        sums.1 += rx;
    }
    let excess = shown.into_iter().map(|(pid, (tx, rx))| {
        let (sent, received) = moved.get(&pid).copied().unwrap_or_default();
        tx.least.saturating_sub(sent) + rx.least.saturating_sub(received)
    });
    excess.sum()
}

/// Accepts and connects at processes that did not make them.
fn misplaced_ends(summary: &Value, truth: &Truth) -> Result<u64> {
    let mut mistakes = 0;
    for row in table(summary, "processes")? {
        let owned = |ends: &[End]| {
            let own = ends.iter().filter(|end| end.owner_pid == Some(pid(row)));
            own.count() as u64
        };
        mistakes += number(row, "accepts")?.saturating_sub(owned(&truth.servers));
        mistakes += number(row, "connects")?.saturating_sub(owned(&truth.clients));
    }
    Ok(mistakes)
}

/// A process's id; 0 for what belongs to none.
fn pid(row: &Value) -> u32 {
    let pid = row["pid"].as_u64().and_then(|pid| pid.try_into().ok());
    pid.unwrap_or(0)
}

fn table<'a>(summary: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    let rows = summary[name].as_array();
    rows.with_context(|| format!("the summary has no table {name}"))
}

fn number(row: &Value, name: &str) -> Result<u64> {
    let number = row[name].as_u64();
    number.with_context(|| format!("the summary has no {name} in {row}"))
}

fn service_ports(truth: &Truth) -> impl Iterator<Item = u16> {
    let ends = truth.ends();
    let ports = ends.map(|(inbound, end)| if inbound { end.local } else { end.remote });
    let failed = truth.failed.iter().map(|attempt| attempt.remote);
    ports.chain(failed).map(|address| address.port())
}

/// The ends of the truth, by their addresses.
struct Ends<'a> {
    ends: HashMap<(SocketAddr, SocketAddr), Vec<&'a End>>,
    truth: &'a Truth,
}

impl<'a> Ends<'a> {
    fn of(truth: &'a Truth) -> Self {
        let mut ends: HashMap<_, Vec<_>> = HashMap::new();
        for (_, end) in truth.ends() {
            let key = (end.local, end.remote);
            ends.entry(key).or_default().push(end);
        }
        Self { ends, truth }
    }

    fn find(&self, row: &Row) -> &[&'a End] {
        let found = self.ends.get(&(row.local, row.remote));
        found.map(|ends| &**ends).unwrap_or_default()
    }

    /// Whether there was something with these addresses.
    fn knows(&self, row: &Row) -> bool {
        !self.find(row).is_empty() || self.failed(row, |_| true)
    }

    /// Whether the process had to do with it. Tools that name one process for the whole life of an
    /// end may choose among all that had it.
    fn knows_process(&self, row: &Row) -> bool {
        let any = |end: &End| {
            let mut users = end.users.iter();
            end.closer_pid == Some(row.pid) || users.any(|user| user.pid == row.pid)
        };
        let begins = matches!(row.what, What::Accept | What::Connect | What::Attempt);
        let fits = |end: &&End| end.owner_pid == Some(row.pid) || (!begins && any(end));
        self.find(row).iter().any(fits) || self.failed(row, |pid| pid == row.pid)
    }

    fn failed(&self, row: &Row, fits: impl Fn(u32) -> bool) -> bool {
        let mut failed = self.truth.failed.iter();
        failed.any(|attempt| attempt.remote == row.remote && fits(attempt.owner_pid))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compare::truth::Line;

    /// A connection of process 1 to process 2, which process 3 uses, and an attempt of process 1.
    fn happened() -> Truth {
        let end = |role: &str, local: &str, remote: &str, owner: u32, user: u32| {
            json!({
                "role": role, "local": local, "remote": remote, "v6_socket": false,
                "owner_pid": owner, "owner_uid": 0, "closer_pid": owner, "tx": 5000, "rx": 5000,
                "users": [{"pid": user, "tx": 5000, "rx": 5000}], "accepted": true,
                "ending": "orderly",
            })
        };
        let failed = json!({"role": "failed", "local": null, "remote": "127.0.0.1:9",
            "v6_socket": false, "owner_pid": 1, "reason": "refused",
            "began": {"from_ns": 1, "to_ns": 2}, "ended": {"from_ns": 3, "to_ns": 4}});
        let mut truth = Truth::default();
        for line in [
            end("client", "127.0.0.1:40000", "127.0.0.1:80", 1, 1),
            end("server", "127.0.0.1:80", "127.0.0.1:40000", 2, 3),
            failed,
        ] {
            truth.add(serde_json::from_value::<Line>(line).unwrap());
        }
        truth
    }

    fn row(what: What, pid: u32, local: &str, remote: &str) -> Row {
        Row {
            what,
            pid,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            tx: Amount::exact(5000),
            rx: Amount::exact(5000),
        }
    }

    fn counted(measure: Measure, given: Vec<Row>) -> u64 {
        let printed = Printed {
            rows: given,
            lost: 0,
        };
        rows(measure, &printed, &happened()).least
    }

    #[test]
    fn the_truth_is_counted() {
        let count = |measure| truth(measure, &happened());
        assert_eq!(count(Measure::Accepts), 1);
        assert_eq!(count(Measure::Attempts), 2);
        assert_eq!(count(Measure::Ends), 2);
        assert_eq!(count(Measure::Received), 10_000);
        assert_eq!(wire(&happened()), None);
    }

    #[test]
    fn an_accept_is_its_owners_and_an_end_may_be_anyones_who_had_it() {
        let server = |what, pid| row(what, pid, "127.0.0.1:80", "127.0.0.1:40000");
        let mistakes = |what, pid| counted(Measure::Processes, vec![server(what, pid)]);
        assert_eq!(mistakes(What::Accept, 2), 0);
        assert_eq!(mistakes(What::Accept, 3), 1);
        assert_eq!(mistakes(What::End, 3), 0);
        assert_eq!(mistakes(What::End, 4), 1);
        let attempt = row(What::Attempt, 1, "127.0.0.1:41000", "127.0.0.1:9");
        assert_eq!(counted(Measure::Processes, vec![attempt]), 0);
    }

    #[test]
    fn a_port_that_no_socket_had_is_a_mistake() {
        let zero = row(What::Traffic, 3, "127.0.0.1:0", "127.0.0.1:40000");
        let well = row(What::Traffic, 3, "127.0.0.1:80", "127.0.0.1:40000");
        assert_eq!(counted(Measure::Addresses, vec![zero, well]), 1);
    }

    #[test]
    fn bytes_beyond_what_a_process_moved_are_at_the_wrong_one() {
        let server = |pid| row(What::Traffic, pid, "127.0.0.1:80", "127.0.0.1:40000");
        assert_eq!(counted(Measure::Movers, vec![server(3)]), 0);
        assert_eq!(counted(Measure::Movers, vec![server(2)]), 10_000);
    }

    #[test]
    fn a_summary_is_counted_likewise() {
        let process = |pid: u32, accepts: u64, connects: u64, bytes: u64| json!({"pid": pid, "accepts": accepts, "connects": connects, "tx": bytes, "rx": bytes});
        let text = |server: u32, mover: u32| {
            json!({
                "total": {"accepts": 1, "connects": 1, "failures": 1, "unaccepted": 0, "open": 0,
                    "tx": 10_000, "rx": 10_000},
                "ports": [{"port": 80}, {"port": 9}],
                "processes": [process(1, 0, 1, 5000), process(server, 1, 0, 0),
                    process(mover, 0, 0, 5000)],
            })
        };
        let count = |measure, text: &Value| summary(measure, text, &happened()).unwrap().least;
        let well = text(2, 3);
        for measure in [
            Measure::Accepts,
            Measure::Attempts,
            Measure::Failures,
            Measure::Ends,
            Measure::Sent,
            Measure::Processes,
            Measure::Movers,
            Measure::Addresses,
        ] {
            assert_eq!(
                count(measure, &well),
                truth(measure, &happened()),
                "{measure:?}"
            );
        }
        let loss = json!({"loss": {"late_news": 9, "lost_tx": 100, "lost_connections": 2}});
        assert_eq!((lost(&well), lost(&loss)), (0, 2));
        let ill = text(3, 2);
        assert_eq!(count(Measure::Processes, &ill), 1);
        assert_eq!(count(Measure::Movers, &ill), 10_000);
        assert!(summary(Measure::Sent, &json!({}), &happened()).is_err());
    }
}
