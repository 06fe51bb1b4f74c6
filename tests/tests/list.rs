//! `conntracer list`: what is chosen, whose sockets are seen, how it is written, and how it ends.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt as _, FdMapping};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::harness::{PATIENCE, Running, can_trace, copy_for_everybody, readable};
use tests::listing::{Pair, find, list, listener, output, sockets};
use tests::mmdb::Mmdb;
use tests::namespace::Namespace;
use tests::pty;
use tests::replay::Folder;
use tests::tracer::parse_lines;

const SCHEMA: &str = include_str!("../../docs/list.schema.json");

/// `conntracer list` by a user without rights.
fn of_nobody(copy: &Path) -> Command {
    let mut command = Command::new(copy);
    command.arg("list").uid(65_534).gid(65_534);
    command
}

/// A process that is there, and has a descriptor open.
fn bystander(mut command: Command, held: Option<OwnedFd>) -> Running {
    command.args(["--interval", "1h"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mapping = held.map(|parent_fd| FdMapping {
        parent_fd,
        child_fd: 9,
    });
    command
        .fd_mappings(mapping.into_iter().collect())
        .expect("one descriptor");
    Running::start(&mut command)
}

#[test]
fn options_choose_what_is_listed() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let elsewhere = Namespace::new();
    namespace.link(
        Ipv4Addr::new(10, 78, 0, 1),
        &elsewhere,
        Ipv4Addr::new(10, 78, 0, 2),
    );
    let server = elsewhere.run(|| listener(Ipv4Addr::UNSPECIFIED));
    let port = server.local_addr().expect("an address").port();
    let (_local, _pair, _away) = namespace.run(|| {
        let local = listener(Ipv6Addr::LOCALHOST);
        let pair = Pair::new(&local);
        let away = TcpStream::connect((Ipv4Addr::new(10, 78, 0, 2), port)).expect("connecting");
        (local, pair, away)
    });
    let count = |options: &str| sockets(&namespace, options).len();
    assert_eq!(count(""), 4);
    assert_eq!(count("--listening"), 1);
    assert_eq!(count("-4"), 1);
    assert_eq!(count("-6"), 3);
    assert_eq!(count("--no-loopback"), 1);
    assert_eq!(count("--class private-use"), 1);
    assert_eq!(count("--class loopback"), 2);
    assert_eq!(count("--class public"), 0);
    assert_eq!(count("--class private"), 3);
    assert_eq!(count(&format!("--remote-port {port}")), 1);
    assert_eq!(count(&format!("--port {port}")), 0);
    assert_eq!(count("--direction inbound"), 1);
    assert_eq!(
        count("--direction outbound --class private-use,loopback"),
        2
    );
    assert_eq!(count(&format!("--pid {} --uid 0", std::process::id())), 4);
    assert_eq!(count("--pid 1"), 0);
    assert_eq!(count("--uid 12345"), 0);

    // From outside, by path and by number; several at once.
    let outside = Namespace::current();
    let by_path = format!("--netns {}", namespace.path().display());
    assert_eq!(sockets(&outside, &by_path).len(), 4);
    let mut inside = namespace.run(|| bystander(list(""), None));
    let by_number = format!("--netns {}", namespace.inode());
    assert_eq!(sockets(&outside, &by_number).len(), 4);
    let all = format!(
        "{by_number} {by_path} --netns {}",
        elsewhere.path().display()
    );
    let all = sockets(&outside, &all);
    let namespaces: BTreeSet<_> = all
        .iter()
        .map(|socket| socket["netns"].to_string())
        .collect();
    assert_eq!(
        namespaces,
        BTreeSet::from([namespace.inode(), elsewhere.inode()])
    );
    assert_eq!(all.len(), 6);
    inside.kill();
}

#[test]
fn other_users_see_the_sockets_and_are_told_what_they_do_not_see() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let (root_only, shared) =
        namespace.run(|| (listener(Ipv4Addr::LOCALHOST), listener(Ipv4Addr::LOCALHOST)));
    let ends = [&root_only, &shared].map(|listener| listener.local_addr().expect("an address"));
    // A process of theirs that has one of them open.
    let (_directory, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let held = OwnedFd::from(shared.try_clone().expect("a descriptor"));
    let theirs = bystander(of_nobody(&copy), Some(held));

    let mut command = of_nobody(&copy);
    command.args(["--format", "json"]);
    let output = output(&namespace, command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let sockets = parse_lines(&output.stdout);
    assert_eq!(sockets.len(), 2);
    let unseen = find(&sockets, ends[0], None);
    assert!(
        unseen.get("process").is_none() && unseen["inode"].is_u64(),
        "{unseen:#}"
    );
    assert_eq!(unseen["user"], "root");
    let seen = find(&sockets, ends[1], None);
    assert_eq!(
        seen["process"],
        serde_json::json!({ "pid": theirs.pid(), "name": "conntracer" })
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.starts_with("not seen: the processes of 1 of 2 open sockets: "),
        "{stderr}"
    );
    assert!(stderr.contains("sudo"), "{stderr}");

    // Root sees both, and who was first.
    let sockets = self::sockets(&namespace, "");
    let seen = find(&sockets, ends[1], None);
    assert_eq!(seen["process"]["pid"], std::process::id(), "{seen:#}");
    assert_eq!(seen["also_held_by"][0]["pid"], theirs.pid(), "{seen:#}");
}

#[test]
fn lines_fit_the_schema_and_use_all_of_it() {
    if !can_trace() {
        return;
    }
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let mut closed = schema.clone();
    for pointer in [
        "",
        "/properties/peer",
        "/properties/bytes",
        "/properties/accept_queue",
        "/$defs/endpoint",
        "/$defs/process",
    ] {
        // A field that nobody described is an error here, though readers must bear it.
        closed.pointer_mut(pointer).expect("an object")["additionalProperties"] =
            Value::Bool(false);
    }
    let validator = jsonschema::validator_for(&closed).expect("a valid schema");
    let namespace = Namespace::new();
    let (_listener, _pair, shared) = namespace.run(|| {
        let both = listener(Ipv6Addr::UNSPECIFIED);
        let port = both.local_addr().expect("an address").port();
        let pair = Pair::to((Ipv4Addr::LOCALHOST, port).into(), &both);
        setsockopt(&pair.client, BindToDevice, &"lo".into()).expect("SO_BINDTODEVICE");
        (both, pair, listener(Ipv4Addr::LOCALHOST))
    });
    let held = OwnedFd::from(shared.try_clone().expect("a descriptor"));
    let _holder = bystander(list(""), Some(held));
    let databases = Folder::new();
    let database = databases.path("asn.mmdb");
    Mmdb::new("Test-ASN")
        .with("127.0.0.0/8", &json!({"asn": 64_500, "as_name": "Example"}))
        .write(&database);
    let options = format!("--count 2 --interval 0.01 --geoip {}", database.display());
    let mut fields = BTreeSet::new();
    for socket in sockets(&namespace, &options) {
        if let Err(error) = validator.validate(&socket) {
            panic!("{error}: {socket:#}");
        }
        fields.extend(socket.as_object().expect("an object").keys().cloned());
    }
    let described = schema["properties"].as_object().expect("an object");
    for field in described.keys() {
        assert!(fields.contains(field), "no socket has {field}");
    }
}

#[test]
fn rounds_are_counted_and_a_signal_between_them_is_a_clean_end() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let _listener = namespace.run(|| listener(Ipv4Addr::LOCALHOST));
    let rounds = sockets(&namespace, "--count 3 --interval 0.02");
    let numbers: Vec<_> = rounds
        .iter()
        .map(|socket| socket["round"].as_u64())
        .collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
    assert!(rounds.is_sorted_by_key(|socket| socket["time"].to_string()));
    assert_ne!(rounds[0]["time"], rounds[1]["time"]);

    for signal in [Signal::INT, Signal::TERM] {
        let mut command = list("--interval 1h");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = namespace.run(|| Running::start(&mut command));
        let mut stdout = BufReader::new(running.child().stdout.take().expect("a pipe"));
        let mut table = String::new();
        while !table.contains("LISTEN") {
            assert!(stdout.read_line(&mut table).expect("a line") > 0, "{table}");
        }
        assert!(table.starts_with("round 1, "), "{table}");
        running.signal(signal);
        let status = running.wait().expect("it hangs");
        assert_eq!(status.code(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let _listeners: Vec<_> =
        namespace.run(|| (0..200).map(|_| listener(Ipv4Addr::LOCALHOST)).collect());
    for options in ["", "--format json", "--interval 0.01 --format json"] {
        let mut command = list(options);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = namespace.run(|| Running::start(&mut command));
        let mut stderr = running.child().stderr.take().expect("a pipe");
        let mut stdout = BufReader::new(running.child().stdout.take().expect("a pipe"));
        stdout.read_line(&mut String::new()).expect("a line");
        drop(stdout);
        let status = running.wait().expect("it hangs");
        let mut text = String::new();
        stderr.read_to_string(&mut text).expect("reading");
        assert_eq!((status.code(), text.as_str()), (Some(0), ""), "{options}");
    }
}

#[test]
fn a_namespace_that_goes_away_is_an_error_with_its_name() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let listener = namespace.run(|| listener(Ipv4Addr::LOCALHOST));
    let (path, inode) = (namespace.path().display().to_string(), namespace.inode());
    let mut command = list(&format!("--format json --interval 0.01 --netns {path}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    let stdout = running.child().stdout.take().expect("a pipe");
    assert!(readable(&stdout, PATIENCE), "no list");
    drop(listener);
    drop(namespace);
    // Reads on, or it would wait for its reader.
    let reader = std::thread::spawn(move || std::io::read_to_string(stdout));
    let mut stderr = running.child().stderr.take().expect("a pipe");
    let status = running.wait().expect("it hangs");
    reader.join().expect("a thread").expect("reading");
    let mut text = String::new();
    stderr.read_to_string(&mut text).expect("reading");
    assert_eq!(status.code(), Some(1), "{text}");
    let told =
        text.contains(&path) && (text.contains(" is gone: ") || text.contains(" is no longer "));
    assert!(told && text.lines().count() == 1, "{text}");

    let output = list(&format!("--netns {inode}"))
        .output()
        .expect("running it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&inode) && text.lines().count() == 1, "{text}");
}

#[test]
fn a_namespace_that_may_not_be_entered_says_what_it_takes() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let (_directory, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let _inside = namespace.run(|| bystander(of_nobody(&copy), None));
    let mut command = of_nobody(&copy);
    command.args(["--netns", &namespace.inode()]);
    let output = command.output().expect("running it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("sudo") && text.contains(&namespace.inode()),
        "{text}"
    );
}

#[test]
fn a_wrong_value_is_named_with_its_flag() {
    for (flag, value) in [
        ("--port", "0"),
        ("--pid", "x"),
        ("--uid", "root"),
        ("--class", "rfc1918"),
        ("--tcp-state", "open"),
        ("--netns", "/no/such/file"),
        ("--netns", "/proc/self/ns/mnt"),
        ("--format", "xml"),
        ("--count", "0"),
        ("--interval", "0"),
        ("--nonsense", "1"),
    ] {
        let output = list(&format!("{flag} {value}"))
            .output()
            .expect("running it");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flag} {value}: {text}");
        assert!(text.contains(flag) && output.stdout.is_empty(), "{text}");
    }
}

#[test]
fn a_terminal_of_twenty_columns_is_wide_enough() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let (listener, pair) = namespace.run(|| {
        let listener = listener(Ipv6Addr::LOCALHOST);
        let pair = Pair::new(&listener);
        (listener, pair)
    });
    let (master, slave) = pty::open(20);
    let mut command = list("");
    command.stdout(Stdio::from(slave)).stderr(Stdio::null());
    let mut running = namespace.run(|| Running::start(&mut command));
    // Closes our copy of the terminal, so that it ends with the program.
    drop(command);
    let mut text = Vec::new();
    // A terminal's end is an error to its reader.
    let _ = File::from(master).read_to_end(&mut text);
    assert_eq!(running.wait().expect("it hangs").code(), Some(0));
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(
        text.lines()
            .all(|line| line.trim_end().chars().count() <= 20),
        "{text}"
    );
    let port = listener.local_addr().expect("an address").port();
    for word in [
        "LISTEN",
        "ESTABLISHED",
        &format!("[::1]:{port}"),
        "<- [::1]:",
        "root",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    drop(pair);
}
