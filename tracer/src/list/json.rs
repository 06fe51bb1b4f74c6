//! A socket as one JSON line; `docs/list.schema.json` describes it. Names are those of records
//! where both have the same thing.

use std::net::SocketAddr;
use std::sync::Arc;

use compact_str::CompactString;
use serde::Serialize;

use super::Round;
use super::socket::{AcceptQueue, Holder, Socket, State};
use super::users::Users;
use crate::address::{self, Class};
use crate::record::{Bytes, Direction, Endpoint, Family, Peer, SCHEMA_VERSION, WallTime};

/// One line.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    v: u8,
    event: &'static str,
    time: WallTime,
    round: u64,
    host: &'a str,
    proto: &'static str,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction_inferred: Option<bool>,
    family: Family,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_family: Option<Family>,
    local: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_class: Option<Class>,
    /// What else is known of it, where somebody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<Arc<Peer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a Holder>,
    #[serde(skip_serializing_if = "<[Holder]>::is_empty")]
    also_held_by: &'a [Holder],
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<CompactString>,
    netns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dual_stack: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accept_queue: Option<AcceptQueue>,
}

impl<'a> Line<'a> {
    /// Of `socket`, as it was in `round` on `host`.
    pub fn new(socket: &'a Socket, round: Round, host: &'a str, users: &Users) -> Self {
        let family = socket.family();
        let user = socket.uid.and_then(|uid| users.name(uid));
        let (process, also_held_by) = socket.holders.split_first().unzip();
        Self {
            v: SCHEMA_VERSION,
            event: "socket",
            time: round.time,
            round: round.number,
            host,
            proto: "tcp",
            state: socket.state,
            direction: socket.direction,
            direction_inferred: socket.direction.map(|_| true),
            family,
            socket_family: (socket.socket_family != family).then_some(socket.socket_family),
            local: endpoint(socket.local),
            remote: socket.remote.map(endpoint),
            remote_class: socket.remote.map(|remote| address::of(remote.ip()).class),
            peer: None,
            process,
            also_held_by: also_held_by.unwrap_or_default(),
            uid: socket.uid,
            user: user.map(CompactString::from),
            netns: socket.netns,
            interface: socket.interface,
            inode: socket.inode,
            dual_stack: socket.dual_stack,
            bytes: socket.bytes,
            accept_queue: socket.accept_queue,
        }
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        ip: address.ip(),
        port: Some(address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::socket::samples::{connection, listener};
    use crate::names;

    fn line(socket: &Socket) -> String {
        let round = Round {
            number: 3,
            time: WallTime(0),
        };
        let users = Users::parse(b"root:x:0:");
        serde_json::to_string(&Line::new(socket, round, "box", &users)).unwrap()
    }

    #[test]
    fn a_connection_has_what_is_known_of_it() {
        let holder = |pid| Holder {
            pid,
            name: "nginx".into(),
            start_ns: 0,
        };
        let socket = Socket {
            direction: Some(Direction::Inbound),
            holders: vec![holder(5), holder(6)],
            ..connection("10.0.0.1:80", "8.8.8.8:5000")
        };
        assert_eq!(
            line(&socket),
            concat!(
                r#"{"v":1,"event":"socket","time":"1970-01-01T00:00:00.000000000Z","round":3,"#,
                r#""host":"box","proto":"tcp","state":"established","direction":"inbound","#,
                r#""direction_inferred":true,"family":"ipv4","#,
                r#""local":{"ip":"10.0.0.1","port":80},"remote":{"ip":"8.8.8.8","port":5000},"#,
                r#""remote_class":"global","process":{"pid":5,"name":"nginx"},"#,
                r#""also_held_by":[{"pid":6,"name":"nginx"}],"uid":0,"user":"root","netns":1,"#,
                r#""inode":7,"bytes":{"tx":0,"rx":0}}"#
            )
        );
    }

    #[test]
    fn what_is_unknown_is_absent() {
        let socket = Socket {
            inode: None,
            uid: None,
            ..listener("[::]:80")
        };
        let value: serde_json::Value = serde_json::from_str(&line(&socket)).unwrap();
        for field in [
            "remote",
            "remote_class",
            "direction",
            "process",
            "uid",
            "user",
            "inode",
            "bytes",
        ] {
            assert!(value.get(field).is_none(), "{field}");
        }
        assert_eq!(value["accept_queue"]["limit"], 128);
    }

    #[test]
    fn hostile_names_and_large_numbers_stay_what_they_are() {
        let name = names::escape(b"a\"b\n\x1b[2J\xff");
        let mut socket = connection("10.0.0.1:80", "8.8.8.8:5000");
        socket.holders = vec![Holder {
            pid: 1,
            name: name.clone(),
            start_ns: 0,
        }];
        socket.bytes = Some(Bytes {
            tx: u64::MAX,
            ..Bytes::default()
        });
        let text = line(&socket);
        assert!(!text.contains(char::is_control), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["process"]["name"], name.as_str());
        assert_eq!(value["bytes"]["tx"], u64::MAX);
    }
}
