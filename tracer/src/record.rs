//! What leaves the program: one [`Record`] is one JSON line or one live line.
//!
//! Field names and units are the native schema, version 1. Unknown values are absent, never zero.
//! Text that came from a process is escaped before it gets here (see [`crate::names`]).

use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::process::told::Told;
use crate::reconcile::Ending;
use crate::wire::Wire;

/// Version of the record schema.
pub const SCHEMA_VERSION: u8 = 1;

/// Wall-clock time in nanoseconds since the Unix epoch, written as RFC 3339 UTC with nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub i64);

impl WallTime {
    /// As text. Written by hand: formatting by a library was a third of a record's time.
    fn text(self) -> [u8; 30] {
        let seconds = self.0.div_euclid(1_000_000_000);
        let (days, in_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date(days);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        for (at, digits, number) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, in_day / 3600),
            (14, 2, in_day / 60 % 60),
            (17, 2, in_day % 60),
            (20, 9, self.0.rem_euclid(1_000_000_000)),
        ] {
            let mut rest = number.unsigned_abs();
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit = b"0123456789"[(rest % 10) as usize];
                rest /= 10;
            }
        }
        text
    }
}

/// Year, month and day of a day since the Unix epoch (the years 1677 to 2262). Years are counted
/// from March here, so that a leap day is the last of its year.
const fn date(days: i64) -> (i64, i64, i64) {
    const CYCLE: i64 = 146_097; // days of 400 years
    let days = days + 719_468; // since the first of March of year 0
    let (cycle, in_cycle) = (days.div_euclid(CYCLE), days.rem_euclid(CYCLE));
    let years = (in_cycle - in_cycle / 1_460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * years + years / 4 - years / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + years + (month <= 2) as i64, month, day)
}

impl std::fmt::Display for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(ascii(&self.text()))
    }
}

impl Serialize for WallTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(ascii(&self.text()))
    }
}

/// Text that was made of ASCII digits and letters.
fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

/// Connection id: 16 hexadecimal digits, made by [`crate::identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    fn text(self) -> [u8; 16] {
        let mut text = [0; 16];
        for (two, byte) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            let digit = |number: u8| b"0123456789abcdef"[usize::from(number)];
            two.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }
}

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(ascii(&self.text()))
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(ascii(&self.text()))
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// An outbound attempt: the SYN was sent.
    Open,
    /// The handshake of an outbound connection is done.
    Established,
    /// A process took an inbound connection from the queue.
    Accept,
    /// An attempt ended without a connection.
    Failed,
    /// Bytes moved since the connection's last record.
    Traffic,
    /// One send or receive call.
    Io,
    /// TCP is over; reads may still follow.
    Ended,
    /// The socket is released: final totals.
    Close,
    /// Still open when the tracer stopped: totals so far.
    OpenAtExit,
}

impl EventKind {
    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Established => "established",
            Self::Accept => "accept",
            Self::Failed => "failed",
            Self::Traffic => "traffic",
            Self::Io => "io",
            Self::Ended => "ended",
            Self::Close => "close",
            Self::OpenAtExit => "open_at_exit",
        }
    }
}

/// Which end opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// This end accepted.
    Inbound,
    /// This end connected.
    Outbound,
}

/// IP version of the addresses; v4-mapped addresses are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// This end closed first, or reset.
    Local,
    /// The peer closed first, or reset.
    Remote,
    /// The kernel gave up (timeout).
    Kernel,
}

/// One end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Address.
    pub ip: IpAddr,
    /// Port; absent while the kernel has not chosen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// The owner: the process that connected or accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// `comm` of the process's leader.
    pub name: CompactString,
    /// `comm` of the thread.
    pub thread: CompactString,
    /// Effective uid.
    pub uid: u32,
    /// Start of the process, nanoseconds since boot; tells apart processes that shared a pid.
    pub start_ns: u64,
    /// What else is known of it; shared by all its records.
    #[serde(flatten)]
    pub details: Option<Arc<ProcessDetails>>,
}

/// What a process is, beyond what the kernel tells with each event. Text is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProcessDetails {
    /// Path of the program it executes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<CompactString>,
    /// Its command line, one text an argument.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<CompactString>,
    /// There is more of that than is kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub command_cut: bool,
    /// Name of its effective user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<CompactString>,
    /// The process that started it, or took it over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ProcessName>,
    /// When it was started, by the wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<WallTime>,
    /// systemd unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<CompactString>,
    /// Container it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// UID of its Kubernetes pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<CompactString>,
    /// Its process id inside its own pid namespace, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
}

/// A container, as its cgroup names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Container {
    /// Its id, 64 hexadecimal digits with the usual runtimes.
    pub id: CompactString,
    /// `docker`, `podman`, `containerd` or `cri-o`; absent when the cgroup does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<&'static str>,
}

/// What is known of a peer's address. Text is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its name, looked up by reverse DNS; whoever owns the address chooses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverse_dns: Option<CompactString>,
    /// Country, ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<CompactString>,
    /// City, its English name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<CompactString>,
    /// Number of the autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// Who runs that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<CompactString>,
}

/// A process by number and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessName {
    /// Process id.
    pub pid: u32,
    /// `comm` of the process's leader.
    pub name: CompactString,
}

/// A process that moved bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Process id.
    pub pid: u32,
    /// `comm` of the process's leader.
    pub name: CompactString,
    /// Effective uid.
    pub uid: u32,
    /// Start of the process, nanoseconds since boot.
    pub start_ns: u64,
    /// Bytes its send calls accepted.
    pub tx: u64,
    /// Bytes copied to it.
    pub rx: u64,
}

/// Those that moved the bytes of one connection: nearly always its owner, perhaps a worker as well.
pub type Users = SmallVec<[User; 2]>;

/// Byte counts. `tx` is what send calls accepted, `rx` what was copied to applications; never
/// headers, retransmits, SYN or FIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Sent. In `traffic` records: since the connection's last record.
    pub tx: u64,
    /// Received, likewise.
    pub rx: u64,
    /// Arrived and never read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
    /// Accepted by send calls and never acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsent: Option<u64>,
    /// Part of `tx` whose process is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unattributed_tx: Option<u64>,
    /// Part of `rx` whose process is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unattributed_rx: Option<u64>,
    /// Of a connection older than the run: sent before its start, not part of `tx`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_tx: Option<u64>,
    /// Received before its start, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_rx: Option<u64>,
}

/// cgroup v2 of the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cgroup {
    /// Its id, as a string: it does not fit a JavaScript number.
    #[serde(serialize_with = "as_string")]
    pub id: u64,
    /// Its path below where cgroups are mounted, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Arc<str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn as_string<S: serde::Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(itoa::Buffer::new().format(*id))
}

/// One event of one connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// [`SCHEMA_VERSION`].
    pub v: u8,
    /// When it happened, by the wall clock.
    pub time: WallTime,
    /// When it happened, nanoseconds of the monotonic clock.
    pub mono_ns: u64,
    /// Counts this run's records from 1; a gap means records were dropped on the way out.
    pub seq: u64,
    /// Host name.
    pub host: Arc<str>,
    /// What happened.
    pub event: EventKind,
    /// Which connection.
    pub id: ConnectionId,
    /// Always `tcp`.
    pub proto: &'static str,
    /// Which end this is.
    pub direction: Direction,
    /// IP version.
    pub family: Family,
    /// `ipv6` when IPv4 addresses are used on an IPv6 socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_family: Option<Family>,
    /// This host's end.
    pub local: Endpoint,
    /// The peer's end.
    pub remote: Endpoint,
    /// What is known of the peer's address, where somebody asked; shared by all its records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<Arc<Peer>>,
    /// The owner; absent for a connection that no process took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Who dropped the last descriptor, or reset the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closer: Option<ProcessName>,
    /// Who moved the bytes: in `close`, `open_at_exit` and (the caller) `io` records, and in `traffic`
    /// records where the owner did not move all of them alone.
    #[serde(skip_serializing_if = "SmallVec::is_empty")]
    pub users: Users,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// The owner's cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
    /// Byte counts; absent in records before any can have moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    /// What it put on the wire: in `close`, `open_at_exit` and `failed` records, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
    /// Birth to end of TCP (or to now, for `open_at_exit`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// SYN sent to handshake done, or to the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<u64>,
    /// Handshake done to accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_ns: Option<u64>,
    /// Smoothed round-trip time at the end, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    /// Segments sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u32>,
    /// Why it failed, or why it did not end in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Who ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<ClosedBy>,
    /// Older than the run: `process` is inferred from who holds the socket.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pre_existing: bool,
    /// Sockets were looked at now and then: `time` is when the change was found, not when it
    /// happened.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sampled: bool,
    /// How the kernel counts it; not part of the schema.
    #[serde(skip)]
    pub ending: Ending,
}

/// Takes records as they are made. None is kept here: a sweep makes a million.
pub trait Out {
    /// Takes one.
    fn push(&mut self, record: Record);

    /// Hears who a process is, before its first record.
    fn process(&mut self, _told: Told) {}

    /// Hears that a connection is gone and its last record will never come.
    fn vanished(&mut self, _id: ConnectionId) {}
}

impl Out for Vec<Record> {
    fn push(&mut self, record: Record) {
        Vec::push(self, record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_a_calendar_library_writes_them() {
        let day = 86_400_000_000_000;
        let every_day = (i64::MIN / day..=i64::MAX / day).map(|number| number * day);
        let odd = [i64::MIN, -1, 0, 1, 951_782_399_999_999_999, i64::MAX];
        for ns in every_day
            .flat_map(|ns| [ns - 1, ns + 45_296_012_345_678])
            .chain(odd)
        {
            let library = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap();
            assert_eq!(WallTime(ns).to_string(), format!("{library:.9}"));
        }
    }

    #[test]
    fn an_id_is_sixteen_hexadecimal_digits() {
        for id in [0, 0xab, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(ConnectionId(id).to_string(), format!("{id:016x}"));
        }
    }
}
