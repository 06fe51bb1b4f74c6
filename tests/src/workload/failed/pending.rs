//! Attempts of any process in this network namespace that nobody has answered yet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::super::counted::PATIENCE;

/// What `/proc/net/tcp` calls `SYN_SENT`.
const SYN_SENT: &str = "02";

/// The source ports of the attempts that are pending.
pub(in crate::workload) struct Pending(pub(in crate::workload) Vec<u16>);

impl Pending {
    /// To the port of `remote`.
    pub(in crate::workload) fn to(remote: SocketAddr) -> anyhow::Result<Self> {
        let table = if remote.is_ipv6() { "tcp6" } else { "tcp" };
        let text = std::fs::read_to_string(format!("/proc/thread-self/net/{table}"))?;
        let lines = text.lines().skip(1);
        let ports = lines.filter_map(|line| source_port(line, remote.port()));
        Ok(Self(ports.collect()))
    }
}

/// Returns the source ports once there are `count` attempts.
pub(in crate::workload) fn wait_for_pending(
    remote: SocketAddr,
    count: usize,
) -> anyhow::Result<Pending> {
    let since = Instant::now();
    loop {
        let pending = Pending::to(remote).context("cannot read the table of sockets")?;
        if pending.0.len() == count {
            return Ok(pending);
        }
        ensure!(
            since.elapsed() < PATIENCE,
            "{} attempts are pending, not {count}",
            pending.0.len()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn source_port(line: &str, remote_port: u16) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    (state == SYN_SENT && port(remote)? == remote_port).then(|| port(local))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_pending_to_that_port_counts() {
        let line = |state| {
            format!("   0: 0100007F:1BBC 0100007F:1B77 {state} 00000000:00000000 01:00000032")
        };
        assert_eq!(source_port(&line("02"), 7031), Some(7100));
        assert_eq!(source_port(&line("01"), 7031), None);
        assert_eq!(source_port(&line("02"), 7032), None);
        assert_eq!(source_port("", 7031), None);
    }
}
