//! What maps are written for in tests.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Known, Style};
use crate::map::view::samples::NOON;
use crate::record::Peer;

static UTC: TimeZone = TimeZone::UTC;

pub(super) fn style(known: Option<&Known>) -> Style<'_> {
    Style {
        time: NOON,
        zone: &UTC,
        width: 80,
        top: None,
        known,
    }
}

/// Of a peer all of it, of a service elsewhere some, and nothing of the others.
pub(super) fn known() -> Known {
    let full = Peer {
        reverse_dns: Some("nine.example".into()),
        country: Some("DE".into()),
        city: Some("Köln".into()),
        asn: Some(64_500),
        organization: Some("Example \"Net\", Ltd".into()),
    };
    let part = Peer {
        country: Some("FR".into()),
        ..Peer::default()
    };
    [("9.0.0.1", full), ("10.0.0.9", part)]
        .map(|(ip, peer)| (ip.parse().unwrap(), Arc::new(peer)))
        .into()
}
