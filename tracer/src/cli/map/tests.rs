use std::time::Duration;

use super::*;
use crate::cli::{Command, try_parse_from};
use crate::exit;
use crate::map::options::{Limits, Live, Report};

fn command(line: &str) -> Result<Command, UsageError> {
    try_parse_from(std::iter::once("conntracer").chain(line.split_whitespace()))
}

fn map(line: &str) -> Options {
    match command(&format!("map {line}")).unwrap() {
        Command::Map(options) => options,
        other => panic!("not the map: {other:?}"),
    }
}

fn live(line: &str) -> Live {
    match command(line).unwrap() {
        Command::Trace(options) => options.map,
        other => panic!("not a trace: {other:?}"),
    }
}

#[test]
fn a_map_is_shown_as_asked() {
    let table = Shape {
        format: Format::Table,
        view: View::OneToMany,
    };
    let shown = |shape, filter, top| Options {
        state: "m".into(),
        action: Action::Show {
            shape,
            filter,
            peers: PeerOptions::default(),
            top,
        },
    };
    assert_eq!(map("--state m"), shown(table, Filter::default(), None));
    let line = "--state m --format csv --view one-to-one --port 80,90-91 --direction inbound \
                --since 2026-01-31T12:00:00Z --loopback --top 3 \
                --class public --class shared";
    let filter = Filter {
        ports: Some("80,90-91".parse().unwrap()),
        direction: Some(Direction::Inbound),
        since: Some(crate::map::view::samples::NOON),
        classes: Some("public,shared".parse().unwrap()),
        loopback: true,
    };
    let csv = Shape {
        format: Format::Csv,
        view: View::OneToOne,
    };
    assert_eq!(map(line), shown(csv, filter, Some(3)));
}

#[test]
fn more_of_peers_is_told_where_it_has_a_place() {
    let peers = |line: &str| match map(line).action {
        Action::Show { peers, .. } => peers,
        Action::Import { .. } => panic!("an import"),
    };
    assert!(peers("--state m --geoip a.mmdb --view one-to-one").has_geoip());
    assert!(peers("--state m --names").names.is_some());
    for format in ["json", "csv", "dot", "mermaid", "csv --view by-class"] {
        let line = format!("--state m --geoip a.mmdb --format {format}");
        assert!(peers(&line).has_geoip(), "{format}");
    }
    for line in [
        "--format list --geoip a.mmdb",
        "--format ip-json --names",
        "--format json --view by-class --geoip a.mmdb",
        "--import i --names",
    ] {
        let error = command(&format!("map --state m {line}")).unwrap_err();
        assert_eq!(error.exit_code(), exit::USAGE, "{line}");
    }
}

#[test]
fn an_import_is_asked_for_by_name() {
    let expected = Options {
        state: "m".into(),
        action: Action::Import {
            file: "i".into(),
            max_relations: 5,
        },
    };
    assert_eq!(map("--state m --import i --map-max 5"), expected);
}

#[test]
fn a_trace_keeps_and_shows_its_map_as_asked() {
    assert_eq!(live(""), Live::default());
    let shape = |format, view| Shape { format, view };
    let line = "--state m --save-every 5 --map-max 9 --forget 90d --report r.json --every 1m \
                --report-view one-to-one --report-loopback";
    let expected = Live {
        state: Some("m".into()),
        save_every: Duration::from_secs(5),
        limits: Limits {
            max_relations: 9,
            forget: Some(Duration::from_hours(90 * 24)),
        },
        report: Some(Report {
            path: "r.json".into(),
            append: false,
            every: Duration::from_mins(1),
            shape: shape(Format::Json, View::OneToOne),
            loopback: true,
        }),
    };
    assert_eq!(live(line), expected);
    let format = |line: &str| live(line).report.unwrap().shape.format;
    assert_eq!(format("--report-append r"), Format::Table);
    assert_eq!(format("--report r.gv"), Format::Dot);
    assert_eq!(format("--report r.gv --report-format list"), Format::List);
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    for (line, word) in [
        ("map", "--state"),
        ("map --state m --format xml", "--format"),
        ("map --state m --view many", "--view"),
        ("map --state m --port 0", "--port 0"),
        ("map --state m --since soon", "--since soon"),
        ("map --state m --class lan", "--class lan"),
        ("map --state m --class public --import i", "--import"),
        ("map --state m --top 0", "--top 0"),
        ("map --state m --import i --format csv", "--import"),
        ("map --state m --import i --map-max 0", "--map-max 0"),
        ("map --state m --map-max 5", "--import"),
        ("map --state - ", "--state -"),
        ("map --state m --import -", "--import -"),
        ("--state -", "--state -"),
        ("--save-every 5", "--state"),
        (
            "--state m --save-every 0",
            "--save-every 0: it must be longer than zero",
        ),
        ("--state m --forget x", "--forget x: not a duration"),
        ("--state m --map-max 0", "--map-max 0"),
        ("--every 5", "--report"),
        ("--report-loopback", "--report"),
        ("--report r --report-append s", "--report-append"),
        (
            "--report r --every 0",
            "--every 0: it must be longer than zero",
        ),
        ("--report-append r --report-format ip-json", "ip-json"),
        (
            "--state x --output x",
            "--state x: another option writes there",
        ),
        (
            "--state x --report x",
            "--report x: another option writes there",
        ),
        (
            "--summary x --report x",
            "--report x: another option writes there",
        ),
    ] {
        let error = command(line).expect_err(line);
        assert_eq!(error.exit_code(), exit::USAGE, "{line}");
        assert!(error.to_string().contains(word), "{line}: {error}");
    }
}

#[test]
fn the_help_of_every_option_is_a_sentence() {
    let command = <Args as clap::Args>::augment_args(clap::Command::new("map"));
    for arg in command.get_arguments() {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let is_sentence = help.ends_with('.') && help.starts_with(|c: char| c.is_uppercase());
        assert!(is_sentence, "{}", arg.get_id());
    }
}
