//! The map as comma-separated values with a line of heads. Unknown values are empty.

use std::net::{IpAddr, SocketAddr};

use compact_str::CompactString;
use csv::WriterBuilder;

use super::Style;
use crate::address;
use crate::map::direction_name;
use crate::map::options::View;
use crate::map::view::Shown;
use crate::map::{Source, Uses};
use crate::record::{Direction, Peer};

const HEADS: [&str; 17] = [
    "host",
    "direction",
    "service_ip",
    "service_port",
    "peer",
    "process",
    "source",
    "pid",
    "uid",
    "first_seen",
    "last_seen",
    "connections",
    "older",
    "failures",
    "tx",
    "rx",
    "class",
];

/// Only with `--geoip` or `--names`; in JSON they are called the same.
const PEER_HEADS: [&str; 5] = ["country", "city", "asn", "organization", "reverse_dns"];

/// One line a relation, or a member of a service: then `process` may be several, separated by
/// semicolons.
pub(super) fn write(shown: &Shown, view: View, style: &Style<'_>) -> String {
    let line = |row: &Row<'_>| {
        let told = style.known.map(|_| peer(style.peer(row.other_side)));
        fields(row).into_iter().chain(told.into_iter().flatten())
    };
    let peer_heads = style.known.map(|_| PEER_HEADS.map(str::to_owned));
    let heads = HEADS.map(str::to_owned).into_iter();
    let mut lines = vec![heads.chain(peer_heads.into_iter().flatten())];
    match view {
        // A class is a column.
        View::OneToOne | View::ByClass => {
            lines.extend(shown.relations.iter().map(|(relation, uses)| {
                line(&Row {
                    host: &relation.host,
                    direction: relation.direction,
                    service: relation.service,
                    peer: relation.peer,
                    process: relation.process.as_deref().unwrap_or_default(),
                    source: relation.source,
                    uses,
                    other_side: relation.other_side(),
                })
            }));
        }
        View::OneToMany => {
            for service in shown.services() {
                lines.extend(service.members.iter().map(|member| {
                    line(&Row {
                        host: &service.host,
                        direction: service.direction,
                        service: service.address,
                        peer: member.peer,
                        process: &member.processes.join(";"),
                        source: member.source,
                        uses: &member.uses,
                        other_side: member.peer.or(service.other_side()),
                    })
                }));
            }
        }
    }
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    for line in lines {
        writer
            .write_record(line)
            .expect("memory takes every write, and lines have the same length");
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

struct Row<'a> {
    host: &'a str,
    direction: Direction,
    service: Option<SocketAddr>,
    peer: Option<IpAddr>,
    process: &'a str,
    source: Source,
    uses: &'a Uses,
    other_side: Option<IpAddr>,
}

fn fields(row: &Row<'_>) -> [String; HEADS.len()] {
    let uses = row.uses;
    [
        row.host.to_owned(),
        direction_name(row.direction).to_owned(),
        text(row.service.map(|service| service.ip())),
        text(row.service.map(|service| service.port())),
        text(row.peer),
        row.process.to_owned(),
        row.source.name().to_owned(),
        text(uses.pid),
        text(uses.uid),
        uses.first_seen.to_string(),
        uses.last_seen.to_string(),
        uses.connections.to_string(),
        uses.older.to_string(),
        uses.failures.to_string(),
        uses.tx.to_string(),
        uses.rx.to_string(),
        text(row.other_side.map(|ip| address::of(ip).class.name())),
    ]
}

fn peer(peer: Option<&Peer>) -> [String; PEER_HEADS.len()] {
    let of = |field: fn(&Peer) -> &Option<CompactString>| {
        text(peer.and_then(|peer| field(peer).as_ref()))
    };
    [
        of(|peer| &peer.country),
        of(|peer| &peer.city),
        text(peer.and_then(|peer| peer.asn)),
        of(|peer| &peer.organization),
        of(|peer| &peer.reverse_dns),
    ]
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::view::Filter;
    use crate::map::view::samples::map;
    use crate::report::map::Known;
    use crate::report::map::samples::{known, style};

    fn rows(view: View, known: Option<&Known>) -> Vec<Vec<String>> {
        let shown = Shown::of(map(), &Filter::default());
        let text = write(&shown, view, &style(known));
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes());
        let record = |record: Result<csv::StringRecord, _>| {
            record.unwrap().iter().map(str::to_owned).collect()
        };
        reader.records().map(record).collect()
    }

    #[test]
    fn a_row_is_a_relation_or_a_member_and_names_survive() {
        let one = rows(View::OneToOne, None);
        assert_eq!(one.len(), 1 + 7);
        assert_eq!(
            one[2],
            [
                "box",
                "inbound",
                "10.0.0.5",
                "80",
                "9.0.0.1",
                "nginx",
                "traced",
                "7",
                "33",
                "2026-01-31T12:00:00.000000000Z",
                "2026-01-31T12:01:00.000000000Z",
                "1",
                "0",
                "0",
                "1000",
                "1",
                "global"
            ]
        );
        assert!(one.iter().any(|line| line[5] == "php \"fpm\""));
        let many = rows(View::OneToMany, None);
        assert_eq!(many.len(), 1 + 6);
        assert_eq!(many[3][5], "apache;nginx");
        assert_eq!(
            (&*many[3][16], &*many[5][16]),
            ("private-use", "private-use")
        );
        assert_eq!(many[1][16], "documentation");
        // Imported: hardly anything is known.
        assert_eq!(many[1][2..6], ["", "", "192.0.2.1", ""]);
    }

    #[test]
    fn what_is_told_of_peers_is_in_more_columns() {
        let full = [
            "DE",
            "Köln",
            "64500",
            "Example \"Net\", Ltd",
            "nine.example",
        ];
        let part = ["FR", "", "", "", ""];
        let known = known();
        for view in [View::OneToMany, View::OneToOne] {
            let without = rows(view, None);
            let rows = rows(view, Some(&known));
            for (row, without) in rows.iter().zip(&without) {
                assert_eq!(&row[..HEADS.len()], without);
            }
            let told = |row: &Vec<String>| row[HEADS.len()..].to_vec();
            assert_eq!(told(&rows[0]), PEER_HEADS);
            assert_eq!(told(&rows[2]), full, "{:?}", rows[2]);
            assert_eq!(told(&rows[3]), [""; 5]);
            assert_eq!(told(rows.last().unwrap()), part, "a service elsewhere");
        }
        let empty = Known::new();
        assert_eq!(rows(View::OneToOne, Some(&empty))[1].len(), 17 + 5);
    }
}
