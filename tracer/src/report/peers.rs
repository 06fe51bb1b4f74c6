//! Where the peers of the table above are, and what they are called: as far as anything is known of
//! any. Without counts, so that those keep their place in a narrow terminal.

use std::collections::HashSet;
use std::net::IpAddr;

use super::table::{Cell, Column, Keep, Table, shorten};
use crate::record::Peer;

/// From this width on cells have room.
const ROOMY: usize = 120;

/// Which column is made of what.
type Part = (&'static str, fn(&Peer) -> Option<String>);

/// Whoever owns an address chooses its name, which the last head says.
const PARTS: [Part; 3] = [
    ("WHERE", place),
    ("NETWORK", network),
    ("REVERSE DNS", name),
];

/// Lines of `width` columns, heads first; none if nothing is known of any of them.
pub(crate) fn lines<'a>(
    peers: impl Iterator<Item = (IpAddr, &'a Peer)>,
    width: usize,
) -> Vec<String> {
    let table = table(peers, width);
    table.map_or_else(Vec::new, |table| table.lines(width, table.fits(width)))
}

/// What is known of a peer in a few words each, its name marked as looked up.
pub(crate) fn words(peer: &Peer) -> impl Iterator<Item = String> {
    let name = name(peer).map(|name| name + "?");
    [place(peer), network(peer), name].into_iter().flatten()
}

fn table<'a>(peers: impl Iterator<Item = (IpAddr, &'a Peer)>, width: usize) -> Option<Table> {
    let limit = if width < ROOMY { 20 } else { 40 };
    let mut seen = HashSet::new();
    // One of several network namespaces or hosts is the same peer.
    let peers = peers.filter(|(ip, _)| seen.insert(*ip));
    let shown: Vec<_> = peers
        .map(|(ip, peer)| (ip, PARTS.map(|(_, text)| text(peer))))
        .collect();
    let is_used = |part: usize| shown.iter().any(|(_, texts)| texts[part].is_some());
    let used: Vec<_> = (0..PARTS.len()).filter(|part| is_used(*part)).collect();
    let last = *used.last()?;
    let row = |(ip, texts): &(IpAddr, [Option<String>; PARTS.len()])| {
        let cell = |part: &usize| {
            let text = texts[*part].as_deref().unwrap_or("-");
            Cell::Text(if *part == last {
                text.to_owned()
            } else {
                shorten(text, limit, Keep::Start)
            })
        };
        let ip = Cell::Text(ip.to_string());
        std::iter::once(ip).chain(used.iter().map(cell)).collect()
    };
    let heads = used.iter().map(|part| Column::left(PARTS[*part].0));
    Some(Table {
        columns: std::iter::once(Column::left("PEER")).chain(heads).collect(),
        rows: shown.iter().map(row).collect(),
        elastic: Some((used.len(), Keep::BothEnds)),
    })
}

fn place(peer: &Peer) -> Option<String> {
    match (&peer.city, &peer.country) {
        (Some(city), Some(country)) => Some(format!("{country} {city}")),
        (city, country) => country.as_ref().or(city.as_ref()).map(ToString::to_string),
    }
}

fn network(peer: &Peer) -> Option<String> {
    let number = peer.asn.map(|number| format!("AS{number}"));
    match (number, &peer.organization) {
        (Some(number), Some(organization)) => Some(format!("{number} {organization}")),
        (number, organization) => number.or_else(|| organization.as_ref().map(ToString::to_string)),
    }
}

fn name(peer: &Peer) -> Option<String> {
    peer.reverse_dns.as_ref().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn peers() -> Vec<(&'static str, Peer)> {
        let full = Peer {
            reverse_dns: Some("host-192-0-2-7.dynamic.subscribers.example.org".into()),
            country: Some("DE".into()),
            city: Some("Frankfurt am Main".into()),
            asn: Some(64_500),
            organization: Some("Example Telecommunications Ltd".into()),
        };
        let part = Peer {
            country: Some("FR".into()),
            ..Peer::default()
        };
        vec![("192.0.2.7", full), ("2001:db8::1", part)]
    }

    fn shown(peers: &[(&str, Peer)], width: usize) -> Vec<String> {
        let peers = peers.iter().map(|(ip, peer)| (ip.parse().unwrap(), peer));
        lines(peers, width)
    }

    #[test]
    fn eighty_columns_hold_each_peer_once_with_what_is_known() {
        assert_eq!(
            shown(&[peers(), peers()].concat(), 80),
            [
                "PEER        WHERE                NETWORK              REVERSE DNS",
                "192.0.2.7   DE Frankfurt am Main AS64500 Example Tel… host-192-0-2-….example.org",
                "2001:db8::1 FR                   -                    -",
            ]
        );
    }

    #[test]
    fn a_roomy_terminal_has_all_of_it_and_none_is_overstepped() {
        let wide = shown(&peers(), 200);
        assert!(wide[1].contains("  AS64500 Example Telecommunications Ltd  "));
        assert!(wide[1].ends_with("  host-192-0-2-7.dynamic.subscribers.example.org"));
        for width in 75..140 {
            for line in shown(&peers(), width) {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn columns_that_say_nothing_are_left_out_and_so_is_the_table() {
        let name = Peer {
            reverse_dns: Some("a.example".into()),
            ..Peer::default()
        };
        assert_eq!(
            shown(&[("192.0.2.7", name)], 80),
            ["PEER       REVERSE DNS", "192.0.2.7  a.example"]
        );
        assert!(shown(&[("192.0.2.7", Peer::default())], 80).is_empty());
        assert!(shown(&[], 80).is_empty());
    }
}
