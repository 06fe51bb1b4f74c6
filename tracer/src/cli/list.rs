//! The command line of `conntracer list`.

use std::path::PathBuf;
use std::time::Duration;

use super::filter::{SelectArgs, class_set, places};
use super::peers::PeerArgs;
use super::state::{LimitArgs, MAP};
use super::{OUTPUT, SELECT, UsageError, choice, file, one, optional};
use crate::list::filter::Filter;
use crate::list::place::Place;
use crate::list::socket::{State, StateSet};
use crate::list::{Format, Options};
use crate::options::values::{ValueError, parse_count, parse_duration};

const FORMATS: &[(&str, Format)] = &[("table", Format::Table), ("json", Format::Json)];

const AFTER: &str = "\
Examples:
  conntracer list --listening                 which services there are, and who runs them
  conntracer list --class public              who on the internet is connected
  conntracer list --port 443 --interval 2     the same every two seconds, until Ctrl-C
  conntracer list --format json --count 60 --interval 1m
                                              an hour for other programs
  conntracer list --state web.map --quiet --interval 10
                                              who uses what, over days and without root

Exit codes: 0 clean, 1 failure, 2 wrong usage.";

/// Lists the TCP sockets there are now, listening ones too.
///
/// With state, both ends, process, user, and the bytes they carried so far. Needs no rights; without
/// root, the processes of other users are not seen, and that is said. Options that select sockets
/// must all fit.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct Args {
    #[command(flatten)]
    select: SelectArgs,

    #[arg(long, value_name = "NETNS", help_heading = SELECT, allow_hyphen_values = true,
        help = "List the sockets of this network namespace: its inode number, `self`, or a path \
                such as /proc/PID/ns/net or /run/netns/NAME; may be repeated. Needs root for \
                another than our own. Default: our own.")]
    netns: Vec<String>,

    #[arg(long, value_name = "CLASSES", help_heading = SELECT, allow_hyphen_values = true,
        help = "List connections whose peer's address is public (globally reachable), private \
                (not), or of a class by IANA's registries, as in private-use,unique-local; may be \
                repeated. Default: all.")]
    class: Vec<String>,

    #[arg(long, value_name = "STATES", help_heading = SELECT, allow_hyphen_values = true,
        help = "List sockets in these states, as in established,time_wait; may be repeated. \
                Default: all.")]
    tcp_state: Vec<String>,

    #[arg(short, long, help_heading = SELECT, conflicts_with = "tcp_state",
        help = "Short for --tcp-state listen.")]
    listening: bool,

    #[arg(long, value_name = "FORMAT", help_heading = OUTPUT, value_parser = choice(FORMATS),
        default_value = "table",
        help = "Write a table for people (table) or one JSON object a socket and line (json).")]
    format: Format,

    #[arg(long, value_name = "N", help_heading = OUTPUT, allow_hyphen_values = true,
        help = "List this many times. Default: once, or until Ctrl-C with --interval.")]
    count: Option<String>,

    #[arg(long, value_name = "TIME", help_heading = OUTPUT, allow_hyphen_values = true,
        help = "List again after this time: seconds, or with units as in 0.5, 2s or 1m. \
                Default: 1s with --count.")]
    interval: Option<String>,

    #[arg(short, long, help_heading = OUTPUT, requires = "state",
        help = "Print nothing, only keep the map. Default: both.")]
    quiet: bool,

    #[command(flatten)]
    peers: PeerArgs,

    #[arg(long, value_name = "FILE", help_heading = MAP,
        help = "Add the connections to the map in this file, marked as sampled, each once for as \
                long as this runs; see `conntracer map`. What comes and goes between two rounds is \
                missing, and another run counts again what is still there. Default: no map is kept.")]
    state: Option<PathBuf>,

    #[command(flatten)]
    limits: LimitArgs,
}

impl Args {
    pub(super) fn options(self) -> Result<Options, UsageError> {
        let mut places = places(&self.netns)?;
        if places.is_empty() {
            let own = Place::own().map_err(|error| {
                UsageError::message(&format!("our own network namespace: {error}"))
            })?;
            places.push(own);
        }
        let count = |text: &str| parse_count(text, 1, u64::MAX);
        let interval = optional("--interval", self.interval.as_ref(), parse_interval)?;
        let count = optional("--count", self.count.as_ref(), count)?;
        Ok(Options {
            places,
            filter: self.filter()?,
            format: self.format,
            count: count.or_else(|| interval.is_none().then_some(1)),
            interval: interval.unwrap_or(Duration::from_secs(1)),
            quiet: self.quiet,
            limits: self.limits.check()?,
            peers: self.peers.check()?,
            state: file("--state", self.state)?,
        })
    }

    fn filter(&self) -> Result<Filter, UsageError> {
        let mut states = self.listening.then_some(StateSet::of(State::Listen));
        for list in &self.tcp_state {
            let parsed = one("--tcp-state", list, str::parse)?;
            states.get_or_insert_default().insert(parsed);
        }
        Ok(Filter {
            options: self.select.check()?,
            classes: class_set(&self.class)?,
            states,
        })
    }
}

/// A time as other options take it; what is refused is told in the words of this one.
fn parse_interval(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| interval_error(&error))
}

pub(super) fn interval_error(error: &ValueError) -> String {
    match error {
        ValueError::NoTime => "an interval must be longer than zero".to_owned(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, try_parse_from};
    use crate::exit;
    use crate::options::FilterOptions;
    use crate::record::{Direction, Family};

    fn parse(args: &[&str]) -> Result<Options, UsageError> {
        let words = ["conntracer", "list"].iter().chain(args);
        match try_parse_from(words.copied())? {
            Command::List(options) => Ok(*options),
            other => panic!("not a list: {other:?}"),
        }
    }

    #[test]
    fn without_options_everything_of_our_own_namespace_is_listed_once() {
        let expected = Options {
            places: vec![Place::own().unwrap()],
            filter: Filter::default(),
            format: Format::Table,
            count: Some(1),
            interval: Duration::from_secs(1),
            quiet: false,
            peers: crate::options::PeerOptions::default(),
            state: None,
            limits: crate::map::options::Limits::default(),
        };
        assert_eq!(parse(&[]).unwrap(), expected);
        assert_eq!(parse(&["--netns", "self"]).unwrap(), expected);
    }

    #[test]
    fn every_option_gets_where_it_belongs() {
        let options = parse(&[
            "--port",
            "80",
            "--port",
            "443",
            "--remote-port",
            "1-9",
            "--pid",
            "1,2",
            "--uid",
            "33",
            "-6",
            "--direction",
            "inbound",
            "--netns",
            "7",
            "--netns",
            "7",
            "--no-loopback",
            "--class",
            "public",
            "--class",
            "shared",
            "--tcp-state",
            "listen,closing",
            "--format",
            "json",
            "--count",
            "3",
            "--interval",
            "0.5",
            "--state",
            "m",
            "--quiet",
            "--map-max",
            "7",
        ]);
        let filter = Filter {
            options: FilterOptions {
                local_ports: Some("80,443".parse().unwrap()),
                remote_ports: Some("1-9".parse().unwrap()),
                pids: vec![1, 2],
                uids: vec![33],
                family: Some(Family::Ipv6),
                direction: Some(Direction::Inbound),
                loopback: false,
                ..FilterOptions::default()
            },
            classes: Some("public,shared".parse().unwrap()),
            states: Some("listen,closing".parse().unwrap()),
        };
        let expected = Options {
            places: vec![Place::parse("7").unwrap()],
            filter,
            format: Format::Json,
            count: Some(3),
            interval: Duration::from_millis(500),
            quiet: true,
            peers: crate::options::PeerOptions::default(),
            state: Some("m".into()),
            limits: crate::map::options::Limits {
                max_relations: 7,
                forget: None,
            },
        };
        assert_eq!(options.unwrap(), expected);
        let listening = parse(&["--listening"]).unwrap().filter.states;
        assert_eq!(listening, Some(StateSet::of(State::Listen)));
    }

    #[test]
    fn an_interval_alone_goes_on_and_a_count_alone_takes_a_second() {
        let times = |args: &[&str]| {
            let options = parse(args).unwrap();
            (options.count, options.interval)
        };
        assert_eq!(times(&["--interval", "2s"]), (None, Duration::from_secs(2)));
        assert_eq!(times(&["--count", "2"]), (Some(2), Duration::from_secs(1)));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_flag() {
        for (flag, values) in [
            ("--port", &["0", "x", ""][..]),
            ("--remote-port", &["65536"]),
            ("--pid", &["0", "nginx"]),
            ("--uid", &["-1", "root"]),
            ("--family", &["ipv5"]),
            ("--direction", &["up"]),
            ("--netns", &["/no/such", "/proc/self/ns/mnt", "0", ""]),
            ("--class", &["", "rfc1918", "public,"]),
            ("--tcp-state", &["", "open"]),
            ("--format", &["live", ""]),
            ("--count", &["0", "-1", "1.5", "x"]),
            ("--interval", &["0", "-1", "x", ""]),
        ] {
            for value in values {
                let error = parse(&[flag, value]).unwrap_err();
                assert_eq!(error.exit_code(), exit::USAGE, "{flag} {value:?}");
                assert!(error.to_string().contains(flag), "{error}");
            }
        }
        for wrong in [
            &["extra"][..],
            &["-4", "-6"],
            &["--listening", "--tcp-state", "close"],
            &["--output", "x"],
            &["--quiet"],
            &["--state", "-"],
        ] {
            assert_eq!(
                parse(wrong).unwrap_err().exit_code(),
                exit::USAGE,
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn the_help_of_every_option_is_a_sentence_that_tells_its_default() {
        use clap::Args as _;
        let command = Args::augment_args(clap::Command::new("list"));
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let tells = !arg.get_default_values().is_empty()
                || help.contains("Default: ")
                || help.starts_with("Short for ");
            assert!(help.ends_with('.') && tells, "{}: {help}", arg.get_id());
        }
    }
}
