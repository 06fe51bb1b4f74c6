//! What libbpf-tools print, read line by line.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail};

use super::{measure::Amount, truth::canonical};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Accept,
    Connect,
    Attempt,
    /// An end of a connection that is over.
    End,
    /// Bytes only.
    Traffic,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) what: What,
    pub(crate) pid: u32,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) tx: Amount,
    pub(crate) rx: Amount,
}

/// All lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) rows: Vec<Row>,
    /// Events that it says it lost.
    pub(crate) lost: u64,
}

/// How a tool prints.
pub(crate) struct Format {
    /// The words of its headers: a line with others is not understood.
    headers: &'static [&'static str],
    row: fn(&[&str]) -> Option<Row>,
}

/// `tcptop -C -S`
pub(crate) const TCPTOP: Format = Format {
    headers: &[
        "PID COMM LADDR RADDR RX_KB TX_KB",
        "PID COMM LADDR6 RADDR6 RX_KB TX_KB",
    ],
    row: |words| {
        let [pid, .., local, remote, rx, tx] = words else {
            return None;
        };
        let local = local.rsplit_once(':')?;
        let remote = remote.rsplit_once(':')?;
        let row = row(What::Traffic, pid, local, remote)?;
        let (tx, rx) = (Amount::kilobytes(tx)?, Amount::kilobytes(rx)?);
        Some(Row { tx, rx, ..row })
    },
};

/// `tcplife -w`
pub(crate) const TCPLIFE: Format = Format {
    headers: &["PID COMM LADDR LPORT RADDR RPORT TX_KB RX_KB MS"],
    row: |words| {
        let [pid, .., local, sport, remote, dport, tx, rx, _] = words else {
            return None;
        };
        let row = row(What::End, pid, (local, sport), (remote, dport))?;
        let (tx, rx) = (Amount::kilobytes(tx)?, Amount::kilobytes(rx)?);
        Some(Row { tx, rx, ..row })
    },
};

/// `tcptracer`
pub(crate) const TCPTRACER: Format = Format {
    headers: &["T PID COMM IP SADDR DADDR SPORT DPORT"],
    row: |words| {
        let [kind, pid, .., local, remote, sport, dport] = words else {
            return None;
        };
        let what = match *kind {
            "A" => What::Accept,
            "C" => What::Connect,
            "X" => What::End,
            _ => return None,
        };
        row(what, pid, (local, sport), (remote, dport))
    },
};

/// `tcpconnect -s`
pub(crate) const TCPCONNECT: Format = Format {
    headers: &["PID COMM IP SADDR DADDR SPORT DPORT"],
    row: |words| {
        let [pid, .., local, remote, sport, dport] = words else {
            return None;
        };
        row(What::Attempt, pid, (local, sport), (remote, dport))
    },
};

impl Format {
    /// Reads what a tool printed. What is not understood is an error: it must not pass for nothing.
    pub(crate) fn read(&self, output: &[String]) -> Result<Printed> {
        let mut printed = Printed::default();
        let mut begun = false;
        for line in output {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let Some(row) = (self.row)(&words) {
                printed.rows.push(row);
            } else if self.headers.contains(&&*words.join(" ")) {
                begun = true;
            } else if let Some(lost) = lost(&words) {
                printed.lost += lost;
            } else if !words.is_empty() {
                bail!("this line is not understood: {line}");
            }
        }
        if !begun {
            bail!("it printed no header: {output:?}");
        }
        Ok(printed)
    }
}

fn row(what: What, pid: &str, local: (&str, &str), remote: (&str, &str)) -> Option<Row> {
    Some(Row {
        what,
        pid: pid.parse().ok()?,
        local: address(local)?,
        remote: address(remote)?,
        tx: Amount::default(),
        rx: Amount::default(),
    })
}

fn address((ip, port): (&str, &str)) -> Option<SocketAddr> {
    let ip: IpAddr = ip.parse().ok()?;
    Some(canonical(SocketAddr::new(ip, port.parse().ok()?)))
}

/// `Lost N events on CPU #M!`
fn lost(words: &[&str]) -> Option<u64> {
    match words {
        ["Lost" | "lost", count, "events", ..] => count.parse().ok(),
        _ => None,
    }
}
