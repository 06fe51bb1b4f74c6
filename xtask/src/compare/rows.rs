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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &Format, text: &str) -> Result<Printed> {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        format.read(&lines)
    }

    fn only(format: &Format, text: &str) -> Row {
        let mut rows = read(format, text).unwrap().rows;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_row_of_tcptop_has_bytes() {
        let row = only(
            &TCPTOP,
            "PID    COMM         LADDR                 RADDR                  RX_KB TX_KB\n\
             111    workload     127.0.0.1:44792       127.0.0.1:7007            14     15\n\n",
        );
        assert_eq!((row.what, row.pid), (What::Traffic, 111));
        assert_eq!(row.local, socket("127.0.0.1:44792"));
        assert_eq!(row.remote, socket("127.0.0.1:7007"));
        assert!(row.rx.is(14 * 1024 + 7) && row.tx.is(15 * 1024 + 7));
    }

    #[test]
    fn a_row_of_tcptop_may_have_ipv6_addresses_and_a_name_of_two_words() {
        let row = only(
            &TCPTOP,
            "PID    COMM         LADDR                 RADDR                  RX_KB TX_KB\n\n\
             PID    COMM         LADDR6                                              RADDR6\
             \t\t  RX_KB TX_KB\n\
             9      work load    ::ffff:127.0.0.1:7124       ::1:40000            1     2\n",
        );
        assert_eq!(row.pid, 9);
        assert_eq!(row.local, socket("127.0.0.1:7124"));
        assert_eq!(row.remote, socket("[::1]:40000"));
    }

    #[test]
    fn a_row_of_tcplife_is_an_end() {
        let row = only(
            &TCPLIFE,
            "PID     COMM             LADDR      LPORT RADDR      RPORT TX_KB  RX_KB  MS\n\
             118     workload         127.0.0.1  7007  127.0.0.1  44802 14.65  0.50  17.64\n",
        );
        assert_eq!((row.what, row.pid), (What::End, 118));
        assert_eq!(row.local, socket("127.0.0.1:7007"));
        assert_eq!(row.remote, socket("127.0.0.1:44802"));
        assert!(row.tx.is(15_000) && row.rx.is(512));
    }

    #[test]
    fn the_letter_of_a_row_of_tcptracer_is_what_happened() {
        let printed = read(
            &TCPTRACER,
            "T PID    COMM         IP SADDR            DADDR            SPORT DPORT\n\
             C 127    workload     4  127.0.0.1        127.0.0.1        42704 7007\n\
             A 126    workload     4  127.0.0.1        127.0.0.1        7007 42704\n\
             X 127    workload     4  127.0.0.1        127.0.0.1        42704 7007\n\
             Lost 12 events on CPU #1!\n",
        )
        .unwrap();
        let whats: Vec<What> = printed.rows.iter().map(|row| row.what).collect();
        assert_eq!(whats, [What::Connect, What::Accept, What::End]);
        assert_eq!(printed.rows[1].local, socket("127.0.0.1:7007"));
        assert_eq!(printed.lost, 12);
    }

    #[test]
    fn a_row_of_tcpconnect_is_an_attempt() {
        let row = only(
            &TCPCONNECT,
            "PID    COMM         IP SADDR            DADDR            SPORT DPORT\n\
             135    workload     4  127.0.0.1        127.0.0.1        42794 7007\n",
        );
        assert_eq!((row.what, row.pid), (What::Attempt, 135));
        assert_eq!(row.remote, socket("127.0.0.1:7007"));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let header = "PID    COMM         IP SADDR            DADDR            SPORT DPORT\n";
        assert!(read(&TCPCONNECT, header).unwrap().rows.is_empty());
        assert!(read(&TCPCONNECT, "").is_err());
        let error = read(&TCPCONNECT, &format!("{header}failed to attach\n"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("failed to attach"), "{error}");
        assert!(read(&TCPLIFE, header).is_err());
    }
}
