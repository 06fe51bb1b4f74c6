//! What a workload says about itself: one JSON object a line on its standard output.

use std::net::{IpAddr, SocketAddr};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One line of a workload's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Line {
    /// The end that connected.
    Client(End),
    /// The end that accepted.
    Server(End),
    /// A connect call that failed.
    Failed(Attempt),
    /// A process that will own connections, named before it has any.
    Process(Member),
    /// The kernel cannot do what the scenario is about.
    NotHere {
        /// Why.
        reason: String,
    },
    /// Everything up to here is done and stays as it is until standard input ends.
    Ready {},
}

/// One end of one connection, as the processes that used it counted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// This end; a v4-mapped address is written as IPv4.
    pub local: SocketAddr,
    /// The other end, likewise.
    pub remote: SocketAddr,
    /// Whether the socket itself is an IPv6 one.
    pub v6_socket: bool,
    /// The process that connected or accepted; absent if none accepted.
    pub owner_pid: Option<u32>,
    /// Effective uid of the owner.
    pub owner_uid: Option<u32>,
    /// Who moved how much; processes that moved nothing are left out.
    pub users: Vec<Share>,
    /// The process that dropped the last descriptor, or that of the listener if none accepted;
    /// absent while it is open.
    pub closer_pid: Option<u32>,
    /// Sum of what send calls returned.
    pub tx: u64,
    /// Sum of what receive calls returned and took out of the stream: looking ahead (`MSG_PEEK`)
    /// counts nothing, throwing away (`MSG_TRUNC`) counts.
    pub rx: u64,
    /// What TCP carried for `tx`, where that may not be the same: the records of kTLS, what MPTCP
    /// sends twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire_tx: Option<u64>,
    /// Whether a process took it from the queue; always true for the end that connected.
    pub accepted: bool,
    /// How it was meant to end.
    pub ending: String,
}

/// What one process moved over one end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share {
    /// The process.
    pub pid: u32,
    /// Sum of what its send calls returned.
    pub tx: u64,
    /// Sum of what its receive calls returned.
    pub rx: u64,
}

/// A connect call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The address the socket had, where the workload knows it.
    pub local: Option<SocketAddr>,
    /// Where to.
    pub remote: SocketAddr,
    /// Whether the socket itself is an IPv6 one.
    pub v6_socket: bool,
    /// The process that called.
    pub owner_pid: u32,
    /// The error as records name it.
    pub reason: String,
    /// When it began, not before and not after.
    pub began: Span,
    /// When it ended, likewise.
    pub ended: Span,
}

/// A moment between two readings of `CLOCK_MONOTONIC`, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Read before it.
    pub from_ns: u64,
    /// Read after it.
    pub to_ns: u64,
}

/// `CLOCK_MONOTONIC`, nanoseconds.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// A process of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// What it does: `client` or `server`.
    pub duty: String,
    /// Its process id.
    pub pid: u32,
}

/// Everything a workload said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// Ends that connected.
    pub clients: Vec<End>,
    /// Ends that accepted.
    pub servers: Vec<End>,
    /// Attempts that failed.
    pub failed: Vec<Attempt>,
    /// Processes named in advance.
    pub members: Vec<Member>,
    /// Why the kernel could not do it, if so.
    pub not_here: Option<String>,
}

impl Truth {
    /// Adds one line.
    pub fn add(&mut self, line: Line) {
        match line {
            Line::Client(end) => self.clients.push(end),
            Line::Server(end) => self.servers.push(end),
            Line::Failed(attempt) => self.failed.push(attempt),
            Line::Process(member) => self.members.push(member),
            Line::NotHere { reason } => self.not_here = Some(reason),
            Line::Ready {} => {}
        }
    }

    /// It again as lines, by role.
    pub fn lines(self) -> impl Iterator<Item = Line> {
        let members = self.members.into_iter().map(Line::Process);
        let clients = self.clients.into_iter().map(Line::Client);
        let servers = self.servers.into_iter().map(Line::Server);
        let failed = self.failed.into_iter().map(Line::Failed);
        let reason = self.not_here.into_iter();
        let not_here = reason.map(|reason| Line::NotHere { reason });
        let ends = members.chain(clients).chain(servers);
        ends.chain(failed).chain(not_here)
    }

    /// All ends, each with whether it is an inbound one.
    pub fn ends(&self) -> impl Iterator<Item = (bool, &End)> {
        let clients = self.clients.iter().map(|end| (false, end));
        clients.chain(self.servers.iter().map(|end| (true, end)))
    }

    /// It as `--accounting socket` tells it: whoever moved them, bytes are the owner's.
    #[must_use]
    pub fn credited_to_owners(mut self) -> Self {
        for end in self.clients.iter_mut().chain(&mut self.servers) {
            let (tx, rx) = (end.tx, end.rx);
            end.users = end
                .owner_pid
                .filter(|_| tx + rx > 0)
                .map(|pid| Share { pid, tx, rx })
                .into_iter()
                .collect();
        }
        self
    }

    /// Bytes sent and received over all ends.
    pub fn bytes(&self) -> (u64, u64) {
        self.ends()
            .fold((0, 0), |(tx, rx), (_, end)| (tx + end.tx, rx + end.rx))
    }

    /// The processes named in advance that have this duty.
    pub fn pids(&self, duty: &str) -> Vec<u32> {
        self.members
            .iter()
            .filter(|member| member.duty == duty)
            .map(|member| member.pid)
            .collect()
    }
}

/// `address` with a v4-mapped IPv6 address turned into the IPv4 address it stands for.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_is_written_as_ipv4_and_without_its_scope() {
        let mapped = "[::ffff:127.0.0.1]:80".parse().unwrap();
        assert_eq!(canonical(mapped), "127.0.0.1:80".parse().unwrap());
        let plain = "[::1]:80".parse().unwrap();
        assert_eq!(canonical(plain), plain);
    }

    #[test]
    fn a_line_survives_the_pipe() {
        let began = Span {
            from_ns: 1,
            to_ns: 2,
        };
        let line = Line::Failed(Attempt {
            local: None,
            remote: "127.0.0.1:9".parse().unwrap(),
            v6_socket: false,
            owner_pid: 7,
            reason: "refused".into(),
            began,
            ended: began,
        });
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.starts_with(r#"{"role":"failed","#), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}
