//! The command line. Nothing else knows clap; what leaves here is a [`Command`] with its options.

mod choose;
mod doctor;
mod error;
mod filter;
mod follow;
mod interval;
mod list;
mod map;
mod peers;
mod replay;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod time;
mod verb;
mod wire;

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::bpf::programs::{Accounting, Backend};
use crate::options::ready_fd::take_ready_fd;
use crate::options::values::{
    DEFAULT_TOP, MAX_MAX_CONNECTIONS, ValueError, parse_count, parse_duration, parse_ring_bytes,
};
use crate::options::{AcceptHooks, Events, Options, OutputFormat, Poll};
use choose::WhereArgs;
pub use error::UsageError;
use filter::FilterArgs;
use interval::IntervalArgs;
use peers::PeerArgs;
use tables::TableArgs;
use time::TimeArgs;
pub use verb::Command;
use verb::Verb;
use wire::WireArgs;

const FORMATS: &[(&str, OutputFormat)] =
    &[("live", OutputFormat::Live), ("json", OutputFormat::Json)];
/// `None` = auto. Under a name of its own, because clap takes `Option` for an argument that may be
/// missing.
type BackendChoice = Option<Backend>;

const BACKENDS: &[(&str, BackendChoice)] = &[
    ("auto", None),
    ("fentry", Some(Backend::Fentry)),
    ("kprobe", Some(Backend::Kprobe)),
    ("tracepoint", Some(Backend::Tracepoint)),
];
/// How a run comes to know of connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Hooks(BackendChoice),
    Poll,
}
const HOW: &[(&str, How)] = &[
    ("auto", How::Hooks(None)),
    ("fentry", How::Hooks(Some(Backend::Fentry))),
    ("kprobe", How::Hooks(Some(Backend::Kprobe))),
    ("tracepoint", How::Hooks(Some(Backend::Tracepoint))),
    (crate::poll::BACKEND, How::Poll),
];
const ACCOUNTINGS: &[(&str, Accounting)] = &[
    ("process", Accounting::Process),
    ("socket", Accounting::Socket),
];
const ACCEPT_HOOKS: &[(&str, AcceptHooks)] = &[
    ("auto", AcceptHooks::Auto),
    ("on", AcceptHooks::On),
    ("off", AcceptHooks::Off),
];
const EVENTS: &[(&str, Events)] = &[
    ("lifecycle", Events::Lifecycle),
    ("traffic", Events::Traffic),
    ("io", Events::Io),
];

/// From one look at the sockets to the next, unless `--poll-interval` says otherwise.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  conntracer                                  everything, until Ctrl-C
  conntracer --port 80,443                    who connects to the web server, and who serves them
  conntracer --remote-port 5432 --uid 33      what the web server asks the database
  conntracer --direction outbound --no-loopback --duration 1m
                                              who this host talks to, for a minute
  conntracer --format json --output c.jsonl --summary c.json
                                              records and tables for other programs
  conntracer --geoip GeoLite2-City.mmdb --names
                                              where the peers are, and their names
  conntracer --interval 20s --by peer,process --top 10
                                              who moved what, every 20 seconds
  conntracer --state web.map --quiet          who uses what, kept over days
  sudo conntracer -- curl https://example.com what a command and all that it starts connect to
  conntracer --backend poll                   without root: what sampling can see
  conntracer map --state web.map              shows that
  conntracer replay c.jsonl.gz --port 443     tables of recorded connections
  conntracer doctor                           what can be traced here, tried out
  conntracer list                             the TCP sockets there are now

Exit codes: 0 clean, 1 failure, 2 wrong usage; with a command, the command's.";

/// Shows who connects to this host, to which port, served by which process, with how many bytes.
///
/// Traces TCP connections with eBPF from the moment it starts until Ctrl-C, then prints tables by
/// port, process and peer. Options that select connections must all fit. Needs root, or the
/// capabilities `CAP_BPF` and `CAP_PERFMON`; `--backend poll` needs neither, and only samples.
#[derive(Parser)]
#[command(name = "conntracer", bin_name = "conntracer", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,

    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    follow: follow::FollowArgs,

    #[command(flatten)]
    whence: WhereArgs,

    #[arg(long, value_name = "TIME", help_heading = OUTPUT, allow_hyphen_values = true,
        help = "Stop after this time: seconds, or with units as in 90s, 5m or 1h30m. \
                Default: run until Ctrl-C.")]
    duration: Option<String>,

    #[arg(long, value_name = "FORMAT", help_heading = OUTPUT, value_parser = choice(FORMATS),
        default_value = "live",
        help = "Write records as lines for people (live) or as one JSON object a line (json).")]
    format: OutputFormat,

    #[arg(long, value_name = "FILE", help_heading = OUTPUT,
        help = "Append the records to this file, readable by its owner only. Default: stdout.")]
    output: Option<PathBuf>,

    #[arg(long, value_name = "EVENTS", help_heading = OUTPUT, value_parser = choice(EVENTS),
        help = "Report the start and end of connections only (lifecycle), also the traffic of \
                each once a second (traffic), or also every single send and receive (io). \
                Default: traffic; nothing of these with --interval.")]
    events: Option<Events>,

    #[command(flatten)]
    time: TimeArgs,

    #[command(flatten)]
    interval: IntervalArgs,

    #[command(flatten)]
    tables: TableArgs,

    #[arg(short, long, help_heading = OUTPUT,
        help = "Write no records, only the tables at the end, and those of --interval. \
                Default: both.")]
    quiet: bool,

    #[arg(long, help_heading = MACHINE,
        help = "Fail with exit code 1 if anything was lost or a feature is missing. Default: say \
                so and go on.")]
    strict: bool,

    #[arg(long, value_name = "HOW", help_heading = MACHINE, value_parser = choice(HOW),
        default_value = "auto",
        help = "Attach by these hooks, or fail; auto takes the first that this kernel allows and \
                says which and why. poll attaches none and needs no rights: it looks at the sockets \
                now and then, misses what comes and goes in between, and says so.")]
    backend: How,

    #[arg(long, value_name = "TIME", help_heading = MACHINE, allow_hyphen_values = true,
        help = "With --backend poll: look again after this time. Default: 1s.")]
    poll_interval: Option<String>,

    #[arg(long, value_name = "HOW", help_heading = MACHINE, value_parser = choice(ACCOUNTINGS),
        default_value = "process",
        help = "Count bytes at each send and receive, for the process that made it (process), or \
                take the kernel's own counters at the end and once a second, for the process that \
                connected or accepted (socket): then nothing runs where bytes move.")]
    accounting: Accounting,

    #[arg(long, value_name = "WHEN", help_heading = MACHINE, value_parser = choice(ACCEPT_HOOKS),
        default_value = "auto",
        help = "Name the accepting process at the accept call itself, for 70 to 93 ns on every \
                system call of every task. Without it, the process is known at its first send or \
                receive.")]
    accept_hooks: AcceptHooks,

    #[arg(long, value_name = "BYTES", help_heading = MACHINE, allow_hyphen_values = true,
        default_value = "4MiB",
        help = "Size of the ring buffer between kernel and program, in bytes or as in 512KiB; a \
                power-of-two number of pages. When it is full, records come late and totals stay \
                exact.")]
    ring_size: String,

    #[arg(long, value_name = "N", help_heading = MACHINE, allow_hyphen_values = true,
        default_value = "262144",
        help = "Trace at most this many connections at a time, each of about 350 bytes of kernel \
                memory; what does not fit is counted as lost.")]
    max_connections: String,

    #[arg(long, value_name = "FD", help_heading = MACHINE, allow_hyphen_values = true,
        help = "Write a line to this inherited file descriptor once tracing has begun, and close \
                it. Default: only the `ready:` line on stderr.")]
    ready_fd: Option<String>,

    #[arg(long, help_heading = MACHINE,
        help = "Show the log lines of the kernel side on stderr. Default: off.")]
    debug: bool,

    #[command(flatten)]
    peers: PeerArgs,

    #[command(flatten)]
    wire: WireArgs,

    #[command(flatten)]
    map: state::Args,
}

const SELECT: &str = "Which connections";
const OUTPUT: &str = "Output";
const MACHINE: &str = "Machine";

/// What this process was asked for; prints what is wrong with it and exits with code 2. To be
/// called before anything else opens files: `--ready-fd` takes over a descriptor.
pub fn parse() -> Command {
    try_parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// What `args` ask for; the first item is the program's name.
pub fn try_parse_from<I>(args: I) -> Result<Command, UsageError>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let mut args = Args::try_parse_from(args)?;
    match args.verb.take() {
        Some(verb) => verb.command(),
        None => Ok(Command::Trace(Box::new(args.check()?))),
    }
}

impl Args {
    fn check(self) -> Result<Options, UsageError> {
        let poll = self.poll()?;
        let mut filter = self.whence.add_to(self.filter.check()?)?;
        let command = self.follow.check(&mut filter, self.duration.is_some())?;
        let tables = self.tables.check()?;
        let peers = self.peers.check()?;
        let output = file("--output", self.output)?;
        if let Some(output) = &output
            && Some(output) == tables.summary.as_ref()
        {
            let problem = "--output writes there too; give each its own file";
            return Err(UsageError::invalid(
                "--summary",
                &output.to_string_lossy(),
                &problem,
            ));
        }
        let map = self.map.check()?;
        let report = map.report.as_ref().map(|report| &report.path);
        let mut taken: Vec<_> = [&output, &tables.summary].into_iter().flatten().collect();
        for (option, path) in [("--state", map.state.as_ref()), ("--report", report)] {
            let Some(path) = path else { continue };
            if taken.contains(&path) {
                let problem = "another option writes there too; give each its own file";
                return Err(UsageError::invalid(
                    option,
                    &path.to_string_lossy(),
                    &problem,
                ));
            }
            taken.push(path);
        }
        if self.accounting == Accounting::Socket && self.events == Some(Events::Io) {
            return Err(UsageError::message(
                "--accounting socket watches no send and receive, and --events io is to report each; \
                 leave one of them out",
            ));
        }
        let backend = match self.backend {
            How::Hooks(backend) => backend,
            How::Poll => None,
        };
        let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
        let count = |text: &str, max: u64| parse_count(text, 1, max);
        let most = u64::from(MAX_MAX_CONNECTIONS);
        let connections = one("--max-connections", &self.max_connections, |n| {
            count(n, most)
        })?;
        Ok(Options {
            filter,
            command,
            duration: optional("--duration", self.duration.as_ref(), parse_duration)?,
            format: self.format,
            output,
            summary: tables.summary,
            quiet: self.quiet,
            strict: self.strict,
            ring_bytes: one("--ring-size", &self.ring_size, |size| {
                parse_ring_bytes(size, page)
            })?,
            max_connections: u32::try_from(connections).unwrap_or(MAX_MAX_CONNECTIONS),
            backend,
            poll,
            accounting: self.accounting,
            accept_hooks: self.accept_hooks,
            events: self.events.unwrap_or(Events::Traffic),
            time: self.time.check(Some(self.format))?,
            interval: self
                .interval
                .check(tables.top, self.events.is_some(), peers.has_geoip())?,
            top: tables.top.unwrap_or(DEFAULT_TOP),
            max_rows: tables.max_rows,
            wire: self.wire.wire,
            debug: self.debug,
            peers,
            map,
            // Last: a descriptor is taken over only if all else is right.
            ready_fd: optional("--ready-fd", self.ready_fd.as_ref(), take_ready_fd)?,
        })
    }
}

impl Args {
    /// How sockets are looked at, without hooks.
    fn poll(&self) -> Result<Option<Poll>, UsageError> {
        let parse = |text: &str| parse_duration(text).map_err(|error| list::interval_error(&error));
        let interval = optional("--poll-interval", self.poll_interval.as_ref(), parse)?;
        if self.backend != How::Poll {
            return match interval {
                Some(_) => Err(UsageError::message(
                    "--poll-interval is for --backend poll only",
                )),
                None => Ok(None),
            };
        }
        if let Some(option) = self.follow.is_given() {
            return Err(UsageError::message(&format!(
                "{option} cannot be had with --backend poll: it sees no process start; leave one of \
                 them out"
            )));
        }
        let cannot = [
            (
                self.events == Some(Events::Io),
                "--events io",
                "it sees no single send and receive",
            ),
            (
                self.accept_hooks == AcceptHooks::On,
                "--accept-hooks on",
                "it attaches none",
            ),
            (
                self.strict,
                "--strict",
                "it cannot know that nothing is missing",
            ),
            (
                self.wire.wire,
                "--wire",
                "its last look at a connection is before the last segments",
            ),
            (
                self.whence.is_given(),
                WhereArgs::OPTIONS,
                "it sees no route and no cgroup",
            ),
        ];
        if let Some((_, option, why)) = cannot.into_iter().find(|(given, ..)| *given) {
            return Err(UsageError::message(&format!(
                "{option} cannot be had with --backend poll: {why}; leave one of them out"
            )));
        }
        Ok(Some(Poll {
            interval: interval.unwrap_or(POLL_INTERVAL),
            places: self.filter.places()?,
        }))
    }
}

fn file(option: &str, path: Option<PathBuf>) -> Result<Option<PathBuf>, UsageError> {
    match path {
        Some(path) if path.as_os_str() == "-" => Err(UsageError::invalid(
            option,
            &path.to_string_lossy(),
            &ValueError::NotAFile,
        )),
        path => Ok(path),
    }
}

fn one<T, E: Display>(
    option: &str,
    value: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, UsageError> {
    parse(value).map_err(|problem| UsageError::invalid(option, value, &problem))
}

fn optional<T, E: Display>(
    option: &str,
    value: Option<&String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, UsageError> {
    value.map(|value| one(option, value, parse)).transpose()
}

fn each<T, E: Display>(
    option: &str,
    values: &[String],
    mut parse: impl FnMut(&str) -> Result<T, E>,
) -> Result<Vec<T>, UsageError> {
    values
        .iter()
        .map(|value| one(option, value, &mut parse))
        .collect()
}

/// A parser for named values whose names are listed in the help.
fn choice<T: Copy + Send + Sync + 'static>(
    choices: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(choices.iter().map(|(name, _)| *name)).try_map(move |given| {
        let found = choices.iter().find(|(name, _)| *name == given);
        found
            .map(|(_, value)| *value)
            .ok_or("not one of the possible values")
    })
}
