//! Traffic of which a test chooses a part, and the part that it should get.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::stage::{Act, HOST, Stage};

/// Both directions, both IP versions, IPv4 on an IPv6 socket.
pub const TRAFFIC: &str = "\
listen 192.0.2.1:80
listen [::]:81
listen 192.0.2.30:25
listen 192.0.2.31:25
listen [2001:db8::30]:25
short 192.0.2.9 -> 192.0.2.1:80
short 192.0.2.10 -> 192.0.2.1:80
short 192.0.2.10 -> 192.0.2.1:81
short 2001:db8::9 -> [2001:db8::1]:81
short 2001:db8::a -> [2001:db8::1]:81
short 192.0.2.1 -> 192.0.2.30:25
short 192.0.2.1 -> 192.0.2.31:25
short 2001:db8::1 -> [2001:db8::30]:25";

/// How many connections each peer had.
pub type Peers = BTreeMap<(bool, IpAddr), u32>;

/// The peers of `acts` that `fits` (local, remote) takes.
pub fn peers(acts: &[Act], fits: impl Fn(IpAddr, IpAddr) -> bool) -> Peers {
    let mut peers = Peers::new();
    for act in acts {
        let (Act::Open(from, to) | Act::Short(from, to)) = *act else {
            continue;
        };
        let inbound = HOST.contains(&to.ip());
        let (local, remote) = if inbound {
            (to.ip(), from)
        } else {
            (from, to.ip())
        };
        if fits(local, remote) {
            *peers.entry((inbound, remote)).or_default() += 1;
        }
    }
    peers
}

/// Does what these lines say.
pub fn play(stage: &mut Stage, acts: &[Act]) {
    for act in acts {
        match *act {
            Act::Listen(at) => stage.listen(at),
            Act::Open(from, to) => stage.open(from, to),
            Act::Short(from, to) => stage.short(from, to),
            _ => panic!("not here: {act:?}"),
        }
    }
}

/// The traffic with connections that stay, and all else as short as it is.
pub fn staying(acts: &[Act]) -> (Vec<Act>, Vec<Act>) {
    let (listens, shorts): (Vec<_>, Vec<_>) =
        acts.iter().partition(|act| matches!(act, Act::Listen(_)));
    let stays = shorts.iter().map(|act| match act {
        Act::Short(from, to) => Act::Open(*from, *to),
        other => *other,
    });
    (listens, stays.collect())
}
