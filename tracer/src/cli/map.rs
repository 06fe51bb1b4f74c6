//! The command line of `conntracer map`.

use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::filter::{DIRECTIONS, class_set, port_set};
use super::peers::PeerArgs;
use super::{UsageError, choice, file, one, optional};
use crate::clock;
use crate::map::options::{Action, Format, MAX_MAX_RELATIONS, Options, Shape, View};
use crate::map::since::parse_since;
use crate::map::view::Filter;
use crate::options::PeerOptions;
use crate::options::values::parse_count;
use crate::record::Direction;

pub(super) const FORMATS: &[(&str, Format)] = &[
    ("table", Format::Table),
    ("json", Format::Json),
    ("csv", Format::Csv),
    ("dot", Format::Dot),
    ("mermaid", Format::Mermaid),
    ("list", Format::List),
    ("ip-json", Format::IpJson),
];
pub(super) const VIEWS: &[(&str, View)] = &[
    ("one-to-many", View::OneToMany),
    ("one-to-one", View::OneToOne),
    ("by-class", View::ByClass),
];

const EXAMPLES: &str = "\
Examples:
  conntracer map --state web.map                      each service and who uses it
  conntracer map --state web.map --port 5432 --since 7d --format list
                                                      who used the database this week
  conntracer map --state web.map --direction outbound --class public
                                                      what is used on the internet
  conntracer map --state web.map --view one-to-one --format csv > map.csv
  conntracer map --state web.map --format json --geoip City.mmdb --geoip ASN.mmdb
                                                      with country, city and AS of each peer
  conntracer map --state web.map --format dot | dot -Tsvg > map.svg
  conntracer map --state web.map --import old-peers.json

Exit codes: 0 clean, 1 failure, 2 wrong usage.";

/// Shows who uses which service, as runs with --state have seen it over days.
///
/// Reads only, also while a run writes. An inbound service is one of this host, with the peers that
/// used it; an outbound one is elsewhere, with the processes here that used it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[arg(long, value_name = "FILE", help = "Read the map from this file.")]
    state: PathBuf,

    #[arg(long, value_name = "FORMAT", value_parser = choice(FORMATS), default_value = "table",
        help = "Print it for people (table), as one JSON object, as CSV, as a graph for Graphviz \
                (dot) or Mermaid, or only the sorted addresses of peers: one a line (list) or as \
                a JSON array (ip-json).")]
    format: Format,

    #[arg(long, value_name = "VIEW", value_parser = choice(VIEWS), default_value = "one-to-many",
        help = "Group by service, with its peers counted (one-to-many), print each relation on \
                its own (one-to-one), or add up by what the peers' addresses are (by-class). \
                Graphs and lists are the same in all.")]
    view: View,

    #[arg(
        long = "port",
        value_name = "PORTS",
        allow_hyphen_values = true,
        help = "Show services with these ports: numbers and ranges, as in 80,8000-8100; may be \
                repeated. Default: all."
    )]
    ports: Vec<String>,

    #[arg(long, value_name = "DIRECTION", value_parser = choice(DIRECTIONS),
        help = "Show services of this host (inbound) or elsewhere (outbound). Default: both.")]
    direction: Option<Direction>,

    #[arg(
        long,
        value_name = "CLASSES",
        allow_hyphen_values = true,
        help = "Show those whose address on the other side is public (globally reachable), private \
                (not), or of a class by IANA's registries, as in private-use,unique-local; may be \
                repeated. Default: all."
    )]
    class: Vec<String>,

    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        help = "Show what was seen since this time, such as 2026-01-31 or 2026-01-31T12:00:00Z, \
                or since as long ago, such as 90m or 7d; counts are those of its whole life. \
                Default: all."
    )]
    since: Option<String>,

    #[arg(
        long,
        help = "Show loopback and unspecified addresses, too. Default: they are left out."
    )]
    loopback: bool,

    #[arg(
        long,
        value_name = "ROWS",
        allow_hyphen_values = true,
        help = "Print the busiest rows of each table only, at most this many. Default: all."
    )]
    top: Option<String>,

    #[command(flatten)]
    peers: PeerArgs,

    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["format", "view", "ports", "direction", "class", "since", "loopback", "top",
            "geoip", "names"],
        help = "Add the addresses of this file to the map, marked as imported: a JSON array of \
                texts, or one a line. The map is made if it is missing, and unchanged if anything \
                in the file is wrong. Default: nothing is added.")]
    import: Option<PathBuf>,

    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true,
        default_value = "1000000",
        requires = "import",
        help = "Import nothing if the map would have more relations than this."
    )]
    map_max: String,
}

impl Args {
    pub(super) fn options(self) -> Result<Options, UsageError> {
        let state = file("--state", Some(self.state))?.unwrap_or_default();
        let max_relations = one("--map-max", &self.map_max, |n| {
            parse_count(n, 1, MAX_MAX_RELATIONS)
        })?;
        let import = file("--import", self.import)?;
        let now = clock::now();
        let top = optional("--top", self.top.as_ref(), |n| {
            parse_count(n, 1, MAX_MAX_RELATIONS)
        })?;
        let filter = Filter {
            ports: port_set("--port", &self.ports)?,
            direction: self.direction,
            since: optional("--since", self.since.as_ref(), |text| {
                parse_since(text, now, &TimeZone::system())
            })?,
            classes: class_set(&self.class)?,
            loopback: self.loopback,
        };
        let shape = Shape {
            format: self.format,
            view: self.view,
        };
        let peers = self.peers.check()?;
        if peers != PeerOptions::default() && !shape.tells_of_peers() {
            return Err(UsageError::message(
                "--geoip and --names have no place in --format list and ip-json, nor in JSON with \
                 --view by-class",
            ));
        }
        let action = match import {
            Some(file) => Action::Import {
                file,
                max_relations,
            },
            None => Action::Show {
                shape,
                filter,
                peers,
                top: top.map(|top| usize::try_from(top).unwrap_or(usize::MAX)),
            },
        };
        Ok(Options { state, action })
    }
}

#[cfg(test)]
mod tests;
