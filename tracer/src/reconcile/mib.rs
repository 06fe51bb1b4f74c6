//! The kernel's counters as `/proc/net/snmp` and `/proc/net/netstat` show them: pairs of lines, names
//! first, then numbers. (The crate `procfs` reads only the first of the two files.)

/// What is compared, or explains a difference. Counts since the namespace was made, except the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// SYNs queued by connecting sockets.
    pub active_opens: u64,
    /// Sockets made for finished handshakes.
    pub passive_opens: u64,
    /// Attempts ended by an error, half-open ones included.
    pub attempt_fails: u64,
    /// Connections ended without a FIN exchange.
    pub estab_resets: u64,
    /// Half-open inbound connections ended by a RST.
    pub embryonic_resets: u64,
    /// SYNs and last ACKs dropped because an accept queue was full.
    pub listen_overflows: u64,
    /// SYNs and last ACKs dropped by listeners for any reason.
    pub listen_drops: u64,
    /// Connections established now.
    pub established: u64,
}

impl Counters {
    /// From the text of the two files; `None` if a counter is missing.
    pub fn parse(snmp: &str, netstat: &str) -> Option<Self> {
        let tcp = |name| find(snmp, "Tcp:", name);
        let ext = |name| find(netstat, "TcpExt:", name);
        Some(Self {
            active_opens: tcp("ActiveOpens")?,
            passive_opens: tcp("PassiveOpens")?,
            attempt_fails: tcp("AttemptFails")?,
            estab_resets: tcp("EstabResets")?,
            embryonic_resets: ext("EmbryonicRsts")?,
            listen_overflows: ext("ListenOverflows")?,
            listen_drops: ext("ListenDrops")?,
            established: tcp("CurrEstab")?,
        })
    }
}

impl std::ops::Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        let since = |of: fn(&Self) -> u64| of(&self).saturating_sub(of(&earlier));
        Self {
            active_opens: since(|it| it.active_opens),
            passive_opens: since(|it| it.passive_opens),
            attempt_fails: since(|it| it.attempt_fails),
            estab_resets: since(|it| it.estab_resets),
            embryonic_resets: since(|it| it.embryonic_resets),
            listen_overflows: since(|it| it.listen_overflows),
            listen_drops: since(|it| it.listen_drops),
            established: since(|it| it.established),
        }
    }
}

fn find(text: &str, section: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(section));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let place = names.split_whitespace().position(|it| it == name)?;
    numbers.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs
Tcp: 1 200 -1 642 394 4 86 3 2957005
Udp: InDatagrams
Udp: 5
";
    const NETSTAT: &str = "\
TcpExt: SyncookiesSent EmbryonicRsts ListenOverflows ListenDrops
TcpExt: 9 8 7 18446744073709551615
IpExt: InNoRoutes
IpExt: 1
";

    #[test]
    fn counters_are_found_by_name() {
        let counters = Counters::parse(SNMP, NETSTAT).unwrap();
        let expected = Counters {
            active_opens: 642,
            passive_opens: 394,
            attempt_fails: 4,
            estab_resets: 86,
            embryonic_resets: 8,
            listen_overflows: 7,
            listen_drops: u64::MAX,
            established: 3,
        };
        assert_eq!(counters, expected);
        assert_eq!(counters - counters, Counters::default());
    }

    #[test]
    fn a_file_without_a_counter_gives_nothing() {
        for (snmp, netstat) in [
            ("", NETSTAT),
            (SNMP, ""),
            (&SNMP.replace("EstabResets", "X"), NETSTAT),
            (&SNMP.replace("642 394", "642 y"), NETSTAT),
            (SNMP.split_once("Tcp: 1").unwrap().0, NETSTAT),
        ] {
            assert_eq!(Counters::parse(snmp, netstat), None, "{snmp}{netstat}");
        }
    }

    #[test]
    fn the_running_kernel_has_them_all() {
        let read = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
        assert!(Counters::parse(&read("snmp"), &read("netstat")).is_some());
    }
}
