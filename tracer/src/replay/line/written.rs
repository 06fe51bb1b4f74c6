//! Lines exactly as conntracer writes them, which nearly all are: fields in the order of
//! [`crate::record::Record`], no space, no escape. Twice as fast as looking each field up; whatever
//! is not just so is left to serde. Pure.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use smallvec::SmallVec;

use super::{
    BytesLine, CgroupLine, EndpointLine, Line, ProcessLine, ProcessNameLine, Text, UserLine,
};
use crate::record::{ClosedBy, Direction, EventKind, Family};

/// The line, or `None` if it is not just so, which says nothing of what it is.
pub(super) fn line(text: &str) -> Option<Line<'_>> {
    let mut at = Cursor(text);
    at.literal(r#"{"v":1,"time":"#)?;
    let time = at.text()?;
    let mono_ns = at.field(r#","mono_ns":"#)?;
    let seq = at.field(r#","seq":"#)?;
    at.literal(r#","host":"#)?;
    let host = at.text()?;
    at.literal(r#","event":"#)?;
    let event = event(&at.text()?.0)?;
    at.literal(r#","id":"#)?;
    let id = at.text()?;
    at.literal(r#","proto":"#)?;
    let proto = at.text()?;
    at.literal(r#","direction":"#)?;
    let direction = match &*at.text()?.0 {
        "inbound" => Direction::Inbound,
        "outbound" => Direction::Outbound,
        _ => return None,
    };
    at.literal(r#","family":"#)?;
    let family = at.family()?;
    let socket_family = at.optional(r#","socket_family":"#, Cursor::family)?;
    at.literal(r#","local":"#)?;
    let local = at.endpoint()?;
    at.literal(r#","remote":"#)?;
    let remote = at.endpoint()?;
    let process = at.optional(r#","process":"#, Cursor::process)?;
    let closer = at.optional(r#","closer":"#, Cursor::process_name)?;
    let users = at.optional(r#","users":"#, Cursor::users)?;
    let netns = at.field(r#","netns":"#)?;
    let cgroup = at.optional(r#","cgroup":"#, Cursor::cgroup)?;
    let bytes = at.optional(r#","bytes":"#, Cursor::bytes)?;
    let line = Line {
        v: 1,
        time,
        mono_ns,
        seq,
        host,
        event,
        id,
        proto,
        direction,
        family,
        socket_family,
        local,
        remote,
        process,
        closer,
        users: users.unwrap_or_default(),
        netns,
        cgroup,
        bytes,
        duration_ns: at.optional(r#","duration_ns":"#, Cursor::number)?,
        latency_ns: at.optional(r#","latency_ns":"#, Cursor::number)?,
        queue_ns: at.optional(r#","queue_ns":"#, Cursor::number)?,
        rtt_us: at.optional(r#","rtt_us":"#, Cursor::number)?,
        retransmits: at.optional(r#","retransmits":"#, Cursor::number)?,
        reason: at.optional(r#","reason":"#, Cursor::text)?,
        closed_by: at.optional(r#","closed_by":"#, Cursor::closed_by)?,
        pre_existing: at.skip(r#","pre_existing":true"#),
    };
    (at.0 == "}").then_some(line)
}

/// What is still to be read.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Passes over `literal`, if it is next.
    fn skip(&mut self, literal: &str) -> bool {
        let rest = self.0.strip_prefix(literal);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.skip(literal).then_some(())
    }

    /// A field that may be missing; `None` if it is there and not just so.
    #[expect(
        clippy::option_option,
        reason = "missing is one thing, unreadable another"
    )]
    fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.skip(name) {
            read(self).map(Some)
        } else {
            Some(None)
        }
    }

    fn field<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        self.literal(name)?;
        self.number()
    }

    /// A whole number, as JSON writes it.
    fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(digits)?;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        self.0 = rest;
        T::try_from(digits.parse().ok()?).ok()
    }

    fn text(&mut self) -> Option<Text<'a>> {
        self.literal("\"")?;
        let special = |byte: u8| byte == b'"' || byte == b'\\' || byte < b' ';
        let end = self.0.bytes().position(special)?;
        let (text, rest) = self.0.split_at_checked(end)?;
        self.0 = rest.strip_prefix('"')?;
        Some(Text(Cow::Borrowed(text)))
    }

    fn family(&mut self) -> Option<Family> {
        match &*self.text()?.0 {
            "ipv4" => Some(Family::Ipv4),
            "ipv6" => Some(Family::Ipv6),
            _ => None,
        }
    }

    fn closed_by(&mut self) -> Option<ClosedBy> {
        match &*self.text()?.0 {
            "local" => Some(ClosedBy::Local),
            "remote" => Some(ClosedBy::Remote),
            "kernel" => Some(ClosedBy::Kernel),
            _ => None,
        }
    }

    fn pid(&mut self, name: &str) -> Option<NonZeroU32> {
        NonZeroU32::new(self.field(name)?)
    }

    fn endpoint(&mut self) -> Option<EndpointLine> {
        self.literal(r#"{"ip":"#)?;
        let ip: IpAddr = self.text()?.0.parse().ok()?;
        let port = self.optional(r#","port":"#, |at| NonZeroU16::new(at.number()?))?;
        self.literal("}")?;
        Some(EndpointLine { ip, port })
    }

    fn process(&mut self) -> Option<ProcessLine<'a>> {
        let pid = self.pid(r#"{"pid":"#)?;
        let tid = self.pid(r#","tid":"#)?;
        self.literal(r#","name":"#)?;
        let name = self.text()?;
        self.literal(r#","thread":"#)?;
        let thread = self.text()?;
        let uid = self.field(r#","uid":"#)?;
        let start_ns = self.field(r#","start_ns":"#)?;
        self.literal("}")?;
        Some(ProcessLine {
            pid,
            tid,
            name,
            thread,
            uid,
            start_ns,
        })
    }

    fn process_name(&mut self) -> Option<ProcessNameLine<'a>> {
        let pid = self.pid(r#"{"pid":"#)?;
        self.literal(r#","name":"#)?;
        let name = self.text()?;
        self.literal("}")?;
        Some(ProcessNameLine { pid, name })
    }

    fn users(&mut self) -> Option<SmallVec<[UserLine<'a>; 2]>> {
        let mut users = SmallVec::new();
        self.literal("[")?;
        loop {
            users.push(self.user()?);
            if self.skip("]") {
                return Some(users);
            }
            self.literal(",")?;
        }
    }

    fn user(&mut self) -> Option<UserLine<'a>> {
        let pid = self.pid(r#"{"pid":"#)?;
        self.literal(r#","name":"#)?;
        let name = self.text()?;
        let uid = self.field(r#","uid":"#)?;
        let start_ns = self.field(r#","start_ns":"#)?;
        let tx = self.field(r#","tx":"#)?;
        let rx = self.field(r#","rx":"#)?;
        self.literal("}")?;
        Some(UserLine {
            pid,
            name,
            uid,
            start_ns,
            tx,
            rx,
        })
    }

    fn cgroup(&mut self) -> Option<CgroupLine<'a>> {
        self.literal(r#"{"id":"#)?;
        let id = self.text()?;
        self.literal("}")?;
        Some(CgroupLine { id })
    }

    fn bytes(&mut self) -> Option<BytesLine> {
        let bytes = BytesLine {
            tx: self.field(r#"{"tx":"#)?,
            rx: self.field(r#","rx":"#)?,
            unread: self.optional(r#","unread":"#, Self::number)?,
            unsent: self.optional(r#","unsent":"#, Self::number)?,
            unattributed_tx: self.optional(r#","unattributed_tx":"#, Self::number)?,
            unattributed_rx: self.optional(r#","unattributed_rx":"#, Self::number)?,
            before_tx: self.optional(r#","before_tx":"#, Self::number)?,
            before_rx: self.optional(r#","before_rx":"#, Self::number)?,
        };
        self.literal("}")?;
        Some(bytes)
    }
}

fn event(name: &str) -> Option<EventKind> {
    Some(match name {
        "open" => EventKind::Open,
        "established" => EventKind::Established,
        "accept" => EventKind::Accept,
        "failed" => EventKind::Failed,
        "traffic" => EventKind::Traffic,
        "io" => EventKind::Io,
        "ended" => EventKind::Ended,
        "close" => EventKind::Close,
        "open_at_exit" => EventKind::OpenAtExit,
        _ => return None,
    })
}
