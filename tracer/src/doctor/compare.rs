//! What a connection did, against the records of it.

use serde::Serialize;

use super::report::Verdict;
use crate::record::{Bytes, ClosedBy, Direction, EventKind, Record};

/// A connection of this process to itself, closed in order by its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Local port of the client's end.
    pub client_port: u16,
    /// Local port of the server's end.
    pub server_port: u16,
    /// Bytes that the server received.
    pub to_server: u64,
    /// Bytes that the client received.
    pub to_client: u64,
    /// This process.
    pub process: Own,
}

/// This process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Its `comm`.
    pub name: String,
    /// Its id in the initial pid namespace; `None` inside of others, where nothing tells it.
    pub pid: Option<u32>,
}

impl Own {
    fn describe(&self, pid: u32, name: &str) -> String {
        if self.pid.is_some() {
            format!("{name} (pid {pid})")
        } else {
            name.to_owned()
        }
    }
}

/// A number or a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A count.
    Number(u64),
    /// Anything else.
    Text(String),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// One thing that the connection did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What.
    pub what: &'static str,
    /// What it did.
    pub expected: Value,
    /// What was seen; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Value>,
    /// `Warning` = not seen, and known not to be with these hooks.
    pub verdict: Verdict,
}

impl Comparison {
    /// Compares.
    pub fn new(
        what: &'static str,
        expected: impl Into<Value>,
        seen: Option<impl Into<Value>>,
    ) -> Self {
        let (expected, seen) = (expected.into(), seen.map(Into::into));
        Self {
            what,
            verdict: if seen.as_ref() == Some(&expected) {
                Verdict::Ok
            } else {
                Verdict::Failed
            },
            expected,
            seen,
        }
    }

    /// What nothing is to be seen of.
    fn unseen(what: &'static str, expected: u64) -> Self {
        Self {
            what,
            expected: expected.into(),
            seen: None,
            verdict: Verdict::Warning,
        }
    }

    /// For a message.
    pub fn sentence(&self) -> String {
        let seen = self
            .seen
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), ToString::to_string);
        format!("{}: {} expected, {seen} seen", self.what, self.expected)
    }
}

/// Those that show something wrong.
pub fn differing(comparisons: &[Comparison]) -> impl Iterator<Item = &Comparison> {
    comparisons
        .iter()
        .filter(|comparison| comparison.verdict == Verdict::Failed)
}

/// Names of what is compared at one end.
struct Names {
    process: &'static str,
    sent: &'static str,
    received: &'static str,
    sent_by: &'static str,
    received_by: &'static str,
    closed_by: &'static str,
}

const CLIENT: Names = Names {
    process: "process that connected",
    sent: "bytes sent by the client",
    received: "bytes received by the client",
    sent_by: "bytes the client's process sent",
    received_by: "bytes the client's process received",
    closed_by: "client's end closed by",
};

const SERVER: Names = Names {
    process: "process that accepted",
    sent: "bytes sent by the server",
    received: "bytes received by the server",
    sent_by: "bytes the server's process sent",
    received_by: "bytes the server's process received",
    closed_by: "server's end closed by",
};

/// Compares `truth` with all records of it. `by_process` tells whether the hooks see which process
/// moves bytes.
pub fn compare(truth: &Truth, records: &[Record], by_process: bool) -> Vec<Comparison> {
    let ports = [truth.client_port, truth.server_port];
    let of_it = |record: &&Record| record.local.port.is_some_and(|port| ports.contains(&port));
    let count = |event, direction| {
        let records = records.iter().filter(of_it);
        let such = records.filter(|it| it.event == event && it.direction == direction);
        Some(such.count() as u64)
    };
    let mut all = vec![
        Comparison::new(
            "connects",
            1,
            count(EventKind::Established, Direction::Outbound),
        ),
        Comparison::new("accepts", 1, count(EventKind::Accept, Direction::Inbound)),
        Comparison::new(
            "failed attempts",
            0,
            count(EventKind::Failed, Direction::Outbound),
        ),
        Comparison::new(
            "closed clients",
            1,
            count(EventKind::Close, Direction::Outbound),
        ),
        Comparison::new(
            "closed servers",
            1,
            count(EventKind::Close, Direction::Inbound),
        ),
    ];
    let end = |port: u16| {
        let mut records = records.iter();
        records.find(|it| it.event == EventKind::Close && it.local.port == Some(port))
    };
    let (client, server) = (end(truth.client_port), end(truth.server_port));
    let (up, down) = (truth.to_server, truth.to_client);
    all.extend(compare_end(truth, &CLIENT, client, (up, down), by_process));
    all.extend(compare_end(truth, &SERVER, server, (down, up), by_process));
    all.push(Comparison::new(
        CLIENT.closed_by,
        "local",
        client.map(ending),
    ));
    all.push(Comparison::new(
        SERVER.closed_by,
        "remote",
        server.map(ending),
    ));
    all
}

/// One end, which sent and received that many bytes.
fn compare_end(
    truth: &Truth,
    names: &Names,
    close: Option<&Record>,
    (tx, rx): (u64, u64),
    by_process: bool,
) -> Vec<Comparison> {
    let own = &truth.process;
    let expected = own.describe(own.pid.unwrap_or_default(), &own.name);
    let owner = close
        .and_then(|record| record.process.as_ref())
        .map(|process| own.describe(process.pid, &process.name));
    let total = |bytes: fn(&Bytes) -> u64| close?.bytes.as_ref().map(bytes);
    let mut all = vec![Comparison::new(names.process, expected, owner)];
    for (what, what_by, expected, total, by) in [
        (
            names.sent,
            names.sent_by,
            tx,
            total(|bytes| bytes.tx),
            close.map(|record| used(record, own).0),
        ),
        (
            names.received,
            names.received_by,
            rx,
            total(|bytes| bytes.rx),
            close.map(|record| used(record, own).1),
        ),
    ] {
        all.push(Comparison::new(what, expected, total));
        all.push(if by_process {
            Comparison::new(what_by, expected, by)
        } else {
            Comparison::unseen(what_by, expected)
        });
    }
    all
}

/// What `own` sent and received, by the users of a connection.
fn used(record: &Record, own: &Own) -> (u64, u64) {
    record
        .users
        .iter()
        .filter(|user| match own.pid {
            Some(pid) => user.pid == pid,
            None => user.name == own.name,
        })
        .fold((0, 0), |(tx, rx), user| (tx + user.tx, rx + user.rx))
}

/// Who closed, and why if not in order.
fn ending(record: &Record) -> String {
    let by = match record.closed_by {
        Some(ClosedBy::Local) => "local",
        Some(ClosedBy::Remote) => "remote",
        Some(ClosedBy::Kernel) => "kernel",
        None => "unknown",
    };
    record
        .reason
        .map_or_else(|| by.to_owned(), |reason| format!("{by}, {reason}"))
}

#[cfg(test)]
mod tests;
