use std::time::Duration;

use tracer_common::filter::{MAX_IDS, test};

use super::*;
use crate::exit;
use crate::interval::dimension::Dimension;
use crate::options::FilterOptions;
use crate::options::netns::parse_netns;
use crate::record::{Direction, Family};
use crate::sink::live::time::TimeStyle;

fn parse(args: &[&str]) -> Result<Options, UsageError> {
    match command(args)? {
        Command::Trace(options) => Ok(*options),
        other => panic!("not a trace: {other:?}"),
    }
}

fn command(args: &[&str]) -> Result<Command, UsageError> {
    try_parse_from(std::iter::once("conntracer").chain(args.iter().copied()))
}

fn doctor(args: &[&str]) -> Result<crate::doctor::Options, UsageError> {
    match command(&[&["doctor"], args].concat())? {
        Command::Doctor(options) => Ok(options),
        other => panic!("not the doctor: {other:?}"),
    }
}

fn replay(args: &[&str]) -> Result<crate::replay::Options, UsageError> {
    match command(&[&["replay"], args].concat())? {
        Command::Replay(options) => Ok(*options),
        other => panic!("not a replay: {other:?}"),
    }
}

#[test]
fn a_command_comes_after_two_dashes_also_one_that_is_called_like_a_verb() {
    let options = parse(&[
        "--port",
        "80",
        "--wait-all",
        "--",
        "list",
        "--port",
        "-x",
        "--",
    ])
    .unwrap();
    let command = options.command.unwrap();
    assert_eq!(command.program, "list");
    assert_eq!(command.arguments, ["--port", "-x", "--"]);
    assert!(command.wait_all && !command.as_root);
    assert!(options.filter.follow && options.filter.pids.is_empty());
    let root = parse(&["--as-root", "--", "true"])
        .unwrap()
        .command
        .unwrap();
    assert!(root.as_root && root.arguments.is_empty());
    assert_eq!(parse(&["--"]).unwrap().command, None);
}

#[test]
fn processes_are_followed_on_request() {
    let options = parse(&["--pid", "7,8", "--follow"]).unwrap();
    assert!(options.filter.follow && options.command.is_none());
    assert_eq!(options.filter.to_kernel().tests, test::FOLLOW);
    assert_eq!(options.filter.ids().count(), 0);
    let plain = parse(&["--pid", "7"]).unwrap().filter;
    assert!(!plain.follow && plain.ids().count() == 1);
}

#[test]
fn what_cannot_be_followed_is_named() {
    let poll = ["--backend", "poll"];
    for (args, word) in [
        (&["--follow"][..], "--pid"),
        (&["--follow", "--", "x"], "--follow"),
        (&["--pid", "1", "--", "x"], "--pid"),
        (&["--duration", "1s", "--", "x"], "timeout"),
        (&["--wait-all"], "--wait-all"),
        (&["--as-root"], "--as-root"),
        (&[&poll[..], &["--", "x"]].concat(), "poll"),
        (&[&poll[..], &["--pid", "1", "--follow"]].concat(), "poll"),
        (&["list", "--", "x"], "x"),
    ] {
        let error = command(args).unwrap_err();
        assert_eq!(error.exit_code(), exit::USAGE, "{args:?}");
        assert!(error.to_string().contains(word), "{args:?}: {error}");
    }
}

#[test]
fn a_replay_has_files_and_the_filters_and_tables_of_a_trace() {
    use crate::replay::Options;
    let plain = Options {
        files: vec!["a.jsonl".into(), "-".into()],
        filter: FilterOptions::default(),
        format: None,
        classes: None,
        summary: None,
        peers: crate::options::PeerOptions::default(),
        state: None,
        limits: crate::map::options::Limits::default(),
        time: TimeStyle::Wall,
        interval: None,
        top: 20,
        max_rows: 100_000,
        strict: false,
    };
    assert_eq!(replay(&["a.jsonl", "-"]).unwrap(), plain);
    let given = replay(&[
        "--port",
        "80",
        "--pid",
        "2,1",
        "-4",
        "a.jsonl",
        "--format",
        "json",
        "--summary",
        "s.json",
        "--top",
        "3",
        "--max-rows",
        "9",
        "--state",
        "m",
        "--map-max",
        "5",
        "--class",
        "public",
        "--forget",
        "1m",
        "--interval",
        "1h",
        "--strict",
        "-",
    ]);
    let filter = FilterOptions {
        local_ports: Some("80".parse().unwrap()),
        pids: vec![1, 2],
        family: Some(Family::Ipv4),
        ..FilterOptions::default()
    };
    let expected = Options {
        filter,
        classes: Some("public".parse().unwrap()),
        format: Some(OutputFormat::Json),
        summary: Some("s.json".into()),
        state: Some("m".into()),
        limits: crate::map::options::Limits {
            max_relations: 5,
            forget: Some(Duration::from_mins(1)),
        },
        interval: Some(crate::interval::Options {
            every: Duration::from_hours(1),
            by: Dimension::USUAL.to_vec(),
            top: Some(3),
            records: false,
        }),
        top: 3,
        max_rows: 9,
        strict: true,
        ..plain
    };
    assert_eq!(given.unwrap(), expected);
    for wrong in [
        &[][..],
        &["a", "--port", "0"],
        &["a", "-4", "-6"],
        &["a", "--top", "0"],
        &["a", "--summary", "-"],
        &["a", "--state", "-"],
        &["a", "--class", "lan"],
        &["a", "--state", "m", "--summary", "m"],
        &["a", "--map-max", "0"],
        &["a", "--backend", "kprobe"],
        &["a", "--duration", "1s"],
        &["a", "--interval", "0"],
        &["a", "--format", "json", "--time", "mono"],
    ] {
        assert_eq!(replay(wrong).unwrap_err().exit_code(), exit::USAGE);
    }
}

#[test]
fn polling_is_a_backend_of_its_own_that_is_never_chosen_by_itself() {
    let poll = |args: &[&str]| parse(args).map(|options| (options.poll, options.backend));
    assert_eq!(poll(&[]).unwrap(), (None, None));
    assert_eq!(poll(&["--backend", "auto"]).unwrap(), (None, None));
    let every = |interval| {
        let poll = crate::options::Poll {
            interval,
            places: Vec::new(),
        };
        (Some(poll), None)
    };
    let backend = ["--backend", "poll"];
    assert_eq!(poll(&backend).unwrap(), every(Duration::from_secs(1)));
    let args = ["--backend", "poll", "--poll-interval", "1m"];
    assert_eq!(poll(&args).unwrap(), every(Duration::from_mins(1)));
    for wrong in [
        &["--strict"][..],
        &["--events", "io"],
        &["--accept-hooks", "on"],
        &["--poll-interval", "0"],
    ] {
        let error = poll(&[&backend, wrong].concat()).unwrap_err();
        assert!(error.to_string().contains(wrong[0]), "{error}");
    }
    assert!(poll(&["--poll-interval", "1"]).is_err());
    let (own, _) = poll(&["--backend", "poll", "--netns", "self", "--netns", "self"]).unwrap();
    let expected = vec![crate::list::place::Place::own().unwrap()];
    assert_eq!(own.unwrap().places, expected);
}

#[test]
fn the_doctor_has_options_of_its_own() {
    use crate::doctor::{Format, Options};
    let options = |format, backend| Options { format, backend };
    assert_eq!(doctor(&[]).unwrap(), options(Format::Table, None));
    let given = doctor(&["--format", "json", "--backend", "kprobe"]).unwrap();
    assert_eq!(given, options(Format::Json, Some(Backend::Kprobe)));
    for wrong in [&["--format", "live"][..], &["--port", "80"], &["extra"]] {
        assert_eq!(doctor(wrong).unwrap_err().exit_code(), exit::USAGE);
    }
    // An option of the trace is no option of what it does not do.
    let mixed = command(&["--port", "80", "doctor"]).unwrap_err();
    assert_eq!(mixed.exit_code(), exit::USAGE);
}

#[test]
fn the_definition_is_consistent() {
    <Args as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn no_argument_gives_the_defaults() {
    let options = parse(&[]).unwrap();
    assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()));
}

#[test]
fn every_option_arrives() {
    let options = parse(&[
        "--port",
        "80,443",
        "--port=8000-8002",
        "--remote-port",
        "5432",
        "-p",
        "2,1",
        "--pid",
        "1",
        "--uid",
        "0,33",
        "--family=ipv6",
        "--direction=outbound",
        "--netns=self",
        "--netns=7",
        "--no-loopback",
        "--duration",
        "1h30m",
        "--format",
        "json",
        "--output",
        "o.jsonl",
        "--summary",
        "s.json",
        "--quiet",
        "--strict",
        "--ring-size",
        "64KiB",
        "--max-connections",
        "5",
        "--backend",
        "kprobe",
        "--accept-hooks=off",
        "--accounting",
        "socket",
        "--events",
        "lifecycle",
        "--top",
        "3",
        "--max-rows",
        "9",
        "--wire",
        "--debug",
        "--state",
        "m",
        "--interval",
        "20s",
        "--by",
        "peer,class",
    ])
    .unwrap();
    let own_netns = parse_netns("self").unwrap();
    let filter = FilterOptions {
        local_ports: Some("80,443,8000-8002".parse().unwrap()),
        remote_ports: Some("5432".parse().unwrap()),
        pids: vec![1, 2],
        follow: false,
        uids: vec![0, 33],
        family: Some(Family::Ipv6),
        direction: Some(Direction::Outbound),
        netns: vec![7, own_netns],
        loopback: false,
        ..FilterOptions::default()
    };
    let expected = Options {
        filter,
        command: None,
        duration: Some(Duration::from_mins(90)),
        format: OutputFormat::Json,
        output: Some("o.jsonl".into()),
        summary: Some("s.json".into()),
        quiet: true,
        strict: true,
        ring_bytes: 65536,
        max_connections: 5,
        ready_fd: None,
        backend: Some(Backend::Kprobe),
        poll: None,
        accounting: Accounting::Socket,
        accept_hooks: AcceptHooks::Off,
        events: Events::Lifecycle,
        time: TimeStyle::Wall,
        interval: Some(crate::interval::Options {
            every: Duration::from_secs(20),
            by: vec![Dimension::Peer, Dimension::Class],
            top: Some(3),
            records: true,
        }),
        top: 3,
        max_rows: 9,
        wire: true,
        debug: true,
        peers: crate::options::PeerOptions::default(),
        map: crate::map::options::Live {
            state: Some("m".into()),
            ..Default::default()
        },
    };
    assert_eq!(format!("{options:?}"), format!("{expected:?}"));
}

#[test]
fn family_has_short_forms() {
    for (flag, family) in [("-4", Family::Ipv4), ("-6", Family::Ipv6)] {
        let options = parse(&[flag]).unwrap();
        assert_eq!(options.filter.family, Some(family));
        assert_eq!(options.filter.to_kernel().tests, test::FAMILY);
    }
}

#[test]
fn a_ready_descriptor_is_taken_only_if_all_else_is_right() {
    use std::os::fd::{AsRawFd, IntoRawFd};

    let (_reader, writer) = rustix::pipe::pipe().unwrap();
    let number = writer.into_raw_fd();
    let text = number.to_string();
    parse(&["--ready-fd", &text, "--port", "0"]).unwrap_err();
    let options = parse(&["--ready-fd", &text]).unwrap();
    assert_eq!(options.ready_fd.unwrap().as_raw_fd(), number);
}

/// Bad arguments and what the message must say.
const BAD_INPUT: &[(&[&str], &str)] = &[
    (
        &["--accounting", "socket", "--events", "io"],
        "error: --accounting socket watches no send and receive, and --events io is to report each",
    ),
    (
        &["--port", "80-70"],
        "error: --port 80-70: the range runs backwards; write 70-80\n",
    ),
    (
        &["--port", "0"],
        "error: --port 0: port 0 is never used by a connection; ",
    ),
    (
        &["--port", "65536"],
        "error: --port 65536: 65536 is too large; ports go from 1 to 65535\n",
    ),
    (
        &["--port", "http"],
        "error: --port http: `http` is not a port; write numbers, ",
    ),
    (
        &["--port", "-80"],
        "error: --port -80: `-80` is not a port; ",
    ),
    (&["--port", ""], "error: --port '': a port is missing; "),
    (
        &["--port", "80", "--port", "443,"],
        "error: --port 443,: a port is missing; ",
    ),
    (
        &["--port", "10.0.0.1"],
        "error: --port 10.0.0.1: `10.0.0.1` is not a port; ",
    ),
    (&["--port", "8\x1b[2J0"], "error: --port 8\\u{1b}[2J0: "),
    (
        &["--remote-port", "1-70000"],
        "error: --remote-port 1-70000: 70000 is too large; ",
    ),
    (&["--pid", "0"], "error: --pid 0: `0` is not a process id; "),
    (
        &["--pid", "1,nginx"],
        "error: --pid 1,nginx: `nginx` is not a process id; ",
    ),
    (
        &["--pid", "-1"],
        "error: --pid -1: `-1` is not a process id; ",
    ),
    (
        &["--uid", "www-data"],
        "error: --uid www-data: `www-data` is not a numeric user id; ",
    ),
    (
        &["--netns", "/proc/self/ns/mnt"],
        "error: --netns /proc/self/ns/mnt: not a network namespa",
    ),
    (
        &["--netns", "/none"],
        "error: --netns /none: cannot be opened: No such file or directory",
    ),
    (
        &["--netns", "0"],
        "error: --netns 0: not a network namespace; ",
    ),
    (
        &["--duration", "0"],
        "error: --duration 0: a run must take longer than zero; ",
    ),
    (
        &["--duration", "-3s"],
        "error: --duration -3s: a run must take longer than zero; ",
    ),
    (
        &["--duration", "soon"],
        "error: --duration soon: not a duration; ",
    ),
    (
        &["--ring-size", "5000"],
        "error: --ring-size 5000: not a power-of-two number of pages of ",
    ),
    (
        &["--ring-size", "0"],
        "error: --ring-size 0: not a power-of-two number of pages of ",
    ),
    (
        &["--ring-size", "big"],
        "error: --ring-size big: not a size; ",
    ),
    (
        &["--max-connections", "0"],
        "error: --max-connections 0: not a whole number from 1 to 16777",
    ),
    (
        &["--max-connections", "-5"],
        "error: --max-connections -5: not a whole number from 1 to ",
    ),
    (
        &["--max-connections", "16777217"],
        "error: --max-connections 16777217: not a whole number",
    ),
    (
        &["--top", "0"],
        "error: --top 0: not a whole number from 1 to ",
    ),
    (
        &["--interval", "0.5s"],
        "error: --interval 0.5s: it must be at least a second\n",
    ),
    (
        &["--interval", "0"],
        "error: --interval 0: it must be at least a second\n",
    ),
    (
        &["--interval", "often"],
        "error: --interval often: not a duration; ",
    ),
    (
        &["--interval", "20s", "--by", "peer,host"],
        "error: --by peer,host: `host` is no table; write one or more of peer,port,",
    ),
    (
        &["--interval", "20s", "--by", ""],
        "error: --by '': a name is missing; ",
    ),
    (
        &["--interval", "20s", "--by", "port,port"],
        "error: --by port,port: `port` is there twice\n",
    ),
    (
        &["--by", "peer"],
        "error: the following required arguments were not provided",
    ),
    (
        &["--format", "json", "--time", "delta"],
        "error: --time is for the lines of --format live: JSON records always have both",
    ),
    (
        &["replay", "--time", "delta", "x"],
        "error: --time is for the lines of --format live; give that, too\n",
    ),
    (
        &["--time", "utc"],
        "error: invalid value 'utc' for '--time <TIME>'",
    ),
    (
        &["--ready-fd", "2"],
        "error: --ready-fd 2: not a file descriptor above 2; ",
    ),
    (
        &["--ready-fd", "1000000"],
        "error: --ready-fd 1000000: not an open file descriptor; ",
    ),
    (
        &["--output", ""],
        "error: a value is required for '--output <FILE>' but none was supplied",
    ),
    (&["--output", "-"], "error: --output -: not a file name; "),
    (
        &["--output", "x", "--summary", "x"],
        "error: --summary x: --output writes there too; ",
    ),
    (
        &["--family", "ipv5"],
        "error: invalid value 'ipv5' for '--family <FAMILY>'",
    ),
    (
        &["--direction", "up"],
        "error: invalid value 'up' for '--direction <DIRECTION>'",
    ),
    (
        &["--format", "xml"],
        "error: invalid value 'xml' for '--format <FORMAT>'",
    ),
    (
        &["--events", "all"],
        "error: invalid value 'all' for '--events <EVENTS>'",
    ),
    (
        &["--accept-hooks", "yes"],
        "error: invalid value 'yes' for '--accept-hooks <WHEN>'",
    ),
    (
        &["-4", "-6"],
        "error: the argument '-4' cannot be used with '-6'",
    ),
    (
        &["-6", "--family", "ipv4"],
        "error: the argument '-6' cannot be used with '--family",
    ),
    (
        &["--quiet", "--quiet"],
        "error: the argument '--quiet' cannot be used multiple times",
    ),
    (
        &["--port"],
        "error: a value is required for '--port <PORTS>' but none was supplied",
    ),
    (
        &["--ports", "80"],
        "error: unexpected argument '--ports' found",
    ),
    (&["80"], "error: unexpected argument '80' found"),
];

#[test]
fn bad_input_is_named_with_its_cure_and_exits_with_2() {
    for (args, expected) in BAD_INPUT {
        let error = parse(args).expect_err(expected);
        let text = error.to_string();
        assert!(text.starts_with(expected), "{args:?}: {text}");
        assert_eq!(error.exit_code(), 2, "{args:?}");
    }
}

#[test]
fn own_messages_are_one_line() {
    for (args, _) in BAD_INPUT {
        let text = parse(args).unwrap_err().to_string();
        if text.starts_with("error: --") {
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.ends_with('\n') && text.len() < 250, "{text}");
        }
    }
}

#[test]
fn too_many_ids_are_counted() {
    let pids = (1..=MAX_IDS)
        .map(|pid| pid.to_string())
        .collect::<Vec<_>>()
        .join(",");
    assert!(parse(&["--pid", &pids]).is_ok());
    let text = parse(&["--pid", &pids, "--uid", "0"])
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("error: --pid, --uid and --netns name 4097 different ids"),
        "{text}"
    );
}

#[test]
fn arguments_that_are_not_unicode_are_refused() {
    use std::os::unix::ffi::OsStringExt;

    let bad = OsString::from_vec(vec![0xff]);
    let error = try_parse_from(["conntracer".into(), "--port".into(), bad]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn help_and_version_are_clean_exits() {
    for flag in ["--help", "-h", "--version", "-V"] {
        assert_eq!(parse(&[flag]).unwrap_err().exit_code(), 0, "{flag}");
    }
    assert!(
        parse(&["-V"])
            .unwrap_err()
            .to_string()
            .starts_with("conntracer 0.")
    );
}

#[test]
fn the_help_of_every_option_is_a_sentence_that_tells_its_default() {
    let command = <Args as clap::CommandFactory>::command();
    for arg in command.get_arguments() {
        let name = arg.get_id();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default = !arg.get_default_values().is_empty()
            || help.contains("Default: ")
            || help.starts_with("Short for ");
        assert!(
            help.ends_with('.') && help.starts_with(|c: char| c.is_uppercase()),
            "{name}"
        );
        assert!(default, "{name} does not tell its default");
    }
    assert!(
        command
            .get_after_help()
            .unwrap()
            .to_string()
            .contains("Examples:")
    );
}
