//! The map as comma-separated values with a line of heads. Unknown values are empty.

use std::net::{IpAddr, SocketAddr};

use csv::WriterBuilder;

use crate::address::Entry;
use crate::map::direction_name;
use crate::map::options::View;
use crate::map::view::Shown;
use crate::map::{Source, Uses};
use crate::record::Direction;

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

/// One line a relation, or a member of a service: then `process` may be several, separated by
/// semicolons.
pub(super) fn write(shown: &Shown, view: View) -> String {
    let mut lines = vec![HEADS.map(str::to_owned)];
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
                    class: relation.class(),
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
                        class: member.class().or(service.class()),
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
    class: Option<Entry>,
}

fn line(row: &Row<'_>) -> [String; HEADS.len()] {
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
        text(row.class.map(|entry| entry.class.name())),
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

    fn read(text: &str) -> Vec<Vec<String>> {
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
        let shown = Shown::of(map(), &Filter::default());
        let one = read(&write(&shown, View::OneToOne));
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
        let many = read(&write(&shown, View::OneToMany));
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
}
