//! One recorded line as a [`Record`]. Pure.
//!
//! The line is what anybody may have written: every number is checked as far as the schema says,
//! every text is made safe to print and is short. What the schema may grow by is borne: fields
//! nobody knows are left out, and a `reason` nobody knows is an `error`.

mod process;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use compact_str::CompactString;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use smallvec::SmallVec;

use self::process::{ProcessLine, path};
use super::hosts::Hosts;
use crate::names::tidy;
use crate::reconcile::Ending;
use crate::record::{
    Bytes, Cgroup, ClosedBy, ConnectionId, Direction, Endpoint, EventKind, Family, Peer,
    ProcessName, Record, SCHEMA_VERSION, User, WallTime,
};
use crate::wire::Wire;

/// Bytes of a name at most: 15 of the kernel's make 135 if each needs an escape.
const MAX_NAME: usize = 256;

/// The reasons of the schema.
const REASONS: [&str; 8] = [
    "refused",
    "timeout",
    "unreachable",
    "reset",
    "aborted",
    "no_local_port",
    "denied",
    "error",
];

/// Why a line is no record; each text completes "`file` line 7: …".
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Another version's.
    #[error(
        "a record of schema version {0}, and this conntracer reads version {SCHEMA_VERSION}; use a \
         newer one"
    )]
    Version(u64),
    /// The tables, not a record.
    #[error("a summary, which is no record; replay the records instead")]
    Summary,
    /// A row of an interval: what it adds up, the records tell.
    #[error("a row of an interval, which is no record; replay the records instead")]
    Interval,
    /// Not JSON, or not an object with what a record has.
    #[error("not a record ({0})")]
    NotARecord(serde_json::Error),
    /// A value that no record can have.
    #[error("not a record ({0})")]
    Impossible(&'static str),
    /// More hosts than are kept apart.
    #[error("of one host too many: there are {} already", super::hosts::MAX_HOSTS)]
    TooManyHosts,
}

/// The record in `line`; `hosts` makes one text of all that are equal.
pub fn parse(line: &[u8], hosts: &mut Hosts) -> Result<Record, LineError> {
    // serde would take an array of the fields, too.
    if line.first() != Some(&b'{') {
        return Err(LineError::Impossible("no JSON object"));
    }
    // One look at the whole line is faster than one at each text in it.
    let parsed = match std::str::from_utf8(line) {
        Ok(text) => serde_json::from_str::<Line<'_>>(text),
        Err(_) => serde_json::from_slice(line),
    };
    match parsed {
        Ok(parsed) if parsed.v == u64::from(SCHEMA_VERSION) => parsed.record(hosts),
        Ok(parsed) => Err(LineError::Version(parsed.v)),
        Err(error) => Err(explain(line, error)),
    }
}

/// What else it is.
fn explain(line: &[u8], error: serde_json::Error) -> LineError {
    match serde_json::from_slice::<Head<'_>>(line) {
        Ok(head) if head.event.0 == "summary" => LineError::Summary,
        Ok(head) if head.event.0 == "interval" => LineError::Interval,
        Ok(head) if head.v > u64::from(SCHEMA_VERSION) => LineError::Version(head.v),
        _ => LineError::NotARecord(error),
    }
}

/// What records of all versions, and summaries, have.
#[derive(serde::Deserialize)]
struct Head<'a> {
    v: u64,
    #[serde(borrow)]
    event: Text<'a>,
}

/// Text that stays in the line, if there is no escape in it.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;

        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrowing)
    }
}

#[derive(serde::Deserialize)]
struct Line<'a> {
    v: u64,
    #[serde(borrow)]
    time: Text<'a>,
    mono_ns: u64,
    seq: u64,
    #[serde(borrow)]
    host: Text<'a>,
    event: EventKind,
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    proto: Text<'a>,
    direction: Direction,
    family: Family,
    #[serde(default)]
    socket_family: Option<Family>,
    local: EndpointLine,
    remote: EndpointLine,
    #[serde(borrow, default)]
    peer: Option<PeerLine<'a>>,
    #[serde(borrow, default)]
    process: Option<ProcessLine<'a>>,
    #[serde(borrow, default)]
    closer: Option<ProcessNameLine<'a>>,
    #[serde(borrow, default)]
    users: SmallVec<[UserLine<'a>; 2]>,
    netns: u32,
    #[serde(borrow, default)]
    cgroup: Option<CgroupLine<'a>>,
    #[serde(default)]
    bytes: Option<BytesLine>,
    #[serde(default)]
    wire: Option<Wire>,
    #[serde(default)]
    duration_ns: Option<u64>,
    #[serde(default)]
    latency_ns: Option<u64>,
    #[serde(default)]
    queue_ns: Option<u64>,
    #[serde(default)]
    rtt_us: Option<u32>,
    #[serde(default)]
    retransmits: Option<u32>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
    #[serde(default)]
    closed_by: Option<ClosedBy>,
    #[serde(default)]
    pre_existing: bool,
    #[serde(default)]
    sampled: bool,
}

#[derive(serde::Deserialize)]
struct EndpointLine {
    ip: IpAddr,
    #[serde(default)]
    port: Option<NonZeroU16>,
}

#[derive(serde::Deserialize)]
struct PeerLine<'a> {
    #[serde(borrow, default)]
    reverse_dns: Option<Text<'a>>,
    #[serde(borrow, default)]
    country: Option<Text<'a>>,
    #[serde(borrow, default)]
    city: Option<Text<'a>>,
    #[serde(default)]
    asn: Option<u32>,
    #[serde(borrow, default)]
    organization: Option<Text<'a>>,
}

#[derive(serde::Deserialize)]
struct ProcessNameLine<'a> {
    pid: NonZeroU32,
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(serde::Deserialize)]
struct UserLine<'a> {
    pid: NonZeroU32,
    #[serde(borrow)]
    name: Text<'a>,
    uid: u32,
    start_ns: u64,
    tx: u64,
    rx: u64,
}

#[derive(serde::Deserialize)]
struct CgroupLine<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow, default)]
    path: Option<Text<'a>>,
}

#[derive(serde::Deserialize)]
struct BytesLine {
    tx: u64,
    rx: u64,
    #[serde(default)]
    unread: Option<u64>,
    #[serde(default)]
    unsent: Option<u64>,
    #[serde(default)]
    unattributed_tx: Option<u64>,
    #[serde(default)]
    unattributed_rx: Option<u64>,
    #[serde(default)]
    before_tx: Option<u64>,
    #[serde(default)]
    before_rx: Option<u64>,
}

impl Line<'_> {
    fn record(self, hosts: &mut Hosts) -> Result<Record, LineError> {
        let impossible = LineError::Impossible;
        if self.proto.0 != "tcp" {
            return Err(impossible("a protocol that is not tcp"));
        }
        let (local, remote) = (self.local.endpoint(), self.remote.endpoint());
        let family = |end: &Endpoint| match end.ip {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        };
        if [family(&local), family(&remote)] != [self.family; 2] {
            return Err(impossible("addresses of another family than it says"));
        }
        let time = time(&self.time.0).ok_or(impossible("a time that is none"))?;
        let id = id(&self.id.0).ok_or(impossible("an id that is none"))?;
        let peer = self.peer.map(PeerLine::peer).transpose()?;
        let process = self.process.map(ProcessLine::process).transpose()?;
        let closer = self.closer.map(ProcessNameLine::name).transpose()?;
        let users = self.users.into_iter().map(UserLine::user);
        let users = users.collect::<Result<_, _>>()?;
        let cgroup = self.cgroup.map(CgroupLine::cgroup).transpose()?;
        // Last: a line that is no record adds no host.
        let host = host(&self.host.0, hosts)?;
        Ok(Record {
            v: SCHEMA_VERSION,
            time,
            mono_ns: self.mono_ns,
            seq: self.seq,
            host,
            event: self.event,
            id,
            proto: "tcp",
            direction: self.direction,
            family: self.family,
            socket_family: self.socket_family,
            local,
            remote,
            peer: peer.map(Arc::new),
            process,
            closer,
            users,
            netns: self.netns,
            cgroup,
            bytes: self.bytes.map(BytesLine::bytes),
            wire: self.wire,
            duration_ns: self.duration_ns,
            latency_ns: self.latency_ns,
            queue_ns: self.queue_ns,
            rtt_us: self.rtt_us,
            retransmits: self.retransmits,
            reason: self.reason.map(|reason| known_reason(&reason.0)),
            closed_by: self.closed_by,
            pre_existing: self.pre_existing,
            sampled: self.sampled,
            // Of the kernel's counters, which nobody compares with now.
            ending: Ending::default(),
        })
    }
}

impl EndpointLine {
    fn endpoint(&self) -> Endpoint {
        Endpoint {
            ip: self.ip.to_canonical(),
            port: self.port.map(NonZeroU16::get),
        }
    }
}

impl PeerLine<'_> {
    fn peer(self) -> Result<Peer, LineError> {
        let text = |text: Option<Text<'_>>| {
            let too_long = LineError::Impossible("a text about a peer that is too long");
            text.map(|text| name(&text.0).map_err(|_| too_long))
                .transpose()
        };
        Ok(Peer {
            reverse_dns: text(self.reverse_dns)?,
            country: text(self.country)?,
            city: text(self.city)?,
            asn: self.asn,
            organization: text(self.organization)?,
        })
    }
}

impl ProcessNameLine<'_> {
    fn name(self) -> Result<ProcessName, LineError> {
        Ok(ProcessName {
            pid: self.pid.get(),
            name: name(&self.name.0)?,
        })
    }
}

impl UserLine<'_> {
    fn user(self) -> Result<User, LineError> {
        Ok(User {
            pid: self.pid.get(),
            name: name(&self.name.0)?,
            uid: self.uid,
            start_ns: self.start_ns,
            tx: self.tx,
            rx: self.rx,
        })
    }
}

impl CgroupLine<'_> {
    fn cgroup(self) -> Result<Cgroup, LineError> {
        let id = self.id.0.parse();
        let id = id.map_err(|_| LineError::Impossible("a cgroup id that is no number"))?;
        let path = self.path.map(|text| path(&text.0)).transpose()?;
        Ok(Cgroup {
            id,
            path: path.map(|path| path.as_str().into()),
        })
    }
}

impl BytesLine {
    fn bytes(self) -> Bytes {
        let Self {
            tx,
            rx,
            unread,
            unsent,
            unattributed_tx,
            unattributed_rx,
            before_tx,
            before_rx,
        } = self;
        Bytes {
            tx,
            rx,
            unread,
            unsent,
            unattributed_tx,
            unattributed_rx,
            before_tx,
            before_rx,
        }
    }
}

fn time(text: &str) -> Option<WallTime> {
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok().map(WallTime)
}

fn id(text: &str) -> Option<ConnectionId> {
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = digits.then(|| u64::from_str_radix(text, 16).ok())?;
    id.map(ConnectionId)
}

fn known_reason(reason: &str) -> &'static str {
    let known = REASONS.into_iter().find(|known| *known == reason);
    known.unwrap_or("error")
}

fn name(text: &str) -> Result<CompactString, LineError> {
    let name = (text.len() <= MAX_NAME).then(|| tidy(text));
    name.filter(|name| name.len() <= MAX_NAME)
        .ok_or(LineError::Impossible("a name longer than any process has"))
}

fn host(text: &str, hosts: &mut Hosts) -> Result<Arc<str>, LineError> {
    if let Some(host) = hosts.same_again(text) {
        return Ok(host);
    }
    let name = name(text).map_err(|_| LineError::Impossible("a host name that is too long"))?;
    hosts.shared(&name).ok_or(LineError::TooManyHosts)
}

#[cfg(test)]
mod tests;
