//! `conntracer list`: every state there is, with its bytes, whose it is, and where it was looked.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use command_fds::{CommandFdExt as _, FdMapping};
use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket,
};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use tests::harness::{PATIENCE, Running, can_trace, copy_for_everybody, program, readable};
use tests::namespace::{Namespace, ip};
use tests::tracer::parse_lines;

const SCHEMA: &str = include_str!("../../docs/list.schema.json");

fn list(options: &str) -> Command {
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command
        .arg("list")
        .args(options.split_whitespace())
        .stdin(Stdio::null());
    command
}

/// Runs it inside `namespace`, where it needs no rights to be.
fn output(namespace: &Namespace, mut command: Command) -> Output {
    let output = namespace.run(|| command.output().expect("running conntracer"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    output
}

/// The sockets that it lists with these options.
fn sockets(namespace: &Namespace, options: &str) -> Vec<Value> {
    let output = output(namespace, list(&format!("--format json {options}")));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{options}: {stderr}");
    parse_lines(&output.stdout)
}

fn address(end: &Value) -> Option<SocketAddr> {
    let ip = end["ip"].as_str()?.parse().expect("an address");
    let port = end["port"].as_u64()?.try_into().expect("a port");
    Some(SocketAddr::new(ip, port))
}

/// The socket between these ends.
fn find(sockets: &[Value], local: SocketAddr, remote: Option<SocketAddr>) -> &Value {
    let fits = |socket: &&Value| {
        address(&socket["local"]) == Some(local) && address(&socket["remote"]) == remote
    };
    let mut found = sockets.iter().filter(fits);
    let socket = found.next();
    assert!(found.next().is_none(), "{local} {remote:?} is there twice");
    socket.unwrap_or_else(|| panic!("no {local} {remote:?} in {sockets:#?}"))
}

fn assert_bytes(socket: &Value, tx: usize, rx: usize, unread: usize) {
    let bytes = &socket["bytes"];
    let expected = [tx, rx, unread].map(Value::from);
    let found = ["tx", "rx", "unread"].map(|name| bytes[name].clone());
    assert_eq!(found, expected, "{socket:#}");
}

/// A connection whose ends are both ours.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    to_server: usize,
    to_client: usize,
}

impl Pair {
    fn new(listener: &TcpListener) -> Self {
        let address = listener.local_addr().expect("an address");
        Self::to(address, listener)
    }

    fn to(address: SocketAddr, listener: &TcpListener) -> Self {
        let client = TcpStream::connect(address).expect("connecting");
        let (server, _) = listener.accept().expect("accepting");
        Self {
            client,
            server,
            to_server: 0,
            to_client: 0,
        }
    }

    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let end = |stream: &TcpStream| stream.local_addr().expect("an address");
        (canonical(end(&self.client)), canonical(end(&self.server)))
    }

    fn client<'a>(&self, sockets: &'a [Value]) -> &'a Value {
        let (client, server) = self.ends();
        find(sockets, client, Some(server))
    }

    fn server<'a>(&self, sockets: &'a [Value]) -> &'a Value {
        let (client, server) = self.ends();
        find(sockets, server, Some(client))
    }

    /// Sends until the receiver takes no more.
    fn fill(from: &TcpStream) -> usize {
        from.set_nonblocking(true).expect("a mode");
        let mut sent = 0;
        loop {
            match (&*from).write(&[7; 65536]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
                Err(error) => panic!("sending: {error}"),
            }
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn listener(address: impl Into<std::net::IpAddr>) -> TcpListener {
    TcpListener::bind((address.into(), 0)).expect("listening")
}

/// Lists until `done`, as what the kernel does in its own time may not be done yet.
fn sockets_once(namespace: &Namespace, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let since = Instant::now();
    loop {
        let sockets = sockets(namespace, "");
        if done(&sockets) {
            return sockets;
        }
        assert!(since.elapsed() < PATIENCE, "it does not come: {sockets:#?}");
    }
}

fn has_state(sockets: &[Value], local: SocketAddr, state: &str) -> bool {
    let fits = |socket: &&Value| address(&socket["local"]) == Some(local);
    sockets
        .iter()
        .filter(fits)
        .any(|socket| socket["state"] == state)
}

#[test]
fn open_connections_have_the_bytes_that_were_sent_and_read() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let (four, six, both) = namespace.run(|| {
        let (four, six) = (listener(Ipv4Addr::LOCALHOST), listener(Ipv6Addr::LOCALHOST));
        let both = listener(Ipv6Addr::UNSPECIFIED);
        let port = both.local_addr().expect("an address").port();
        let mapped = Pair::to((Ipv4Addr::LOCALHOST, port).into(), &both);
        let pairs = (Pair::new(&four), Pair::new(&six), mapped);
        ((four, pairs.0), (six, pairs.1), (both, pairs.2))
    });
    for (_, pair) in [&four, &six, &both] {
        (&pair.client).write_all(&[1; 1000]).expect("sending");
        (&pair.server).read_exact(&mut [0; 600]).expect("receiving");
        (&pair.server).write_all(&[2; 50]).expect("sending");
        (&pair.client).read_exact(&mut [0; 50]).expect("receiving");
    }
    let sockets = sockets_once(&namespace, |sockets| {
        let waits = |socket: &Value| socket["bytes"]["unsent"].as_u64() > Some(0);
        !sockets.iter().any(waits)
    });
    let families = [("ipv4", None), ("ipv6", None), ("ipv4", Some("ipv6"))];
    for ((listener, pair), (family, socket_family)) in
        [&four, &six, &both].into_iter().zip(families)
    {
        let (client, server) = (pair.client(&sockets), pair.server(&sockets));
        assert_bytes(client, 1000, 50, 0);
        assert_bytes(server, 50, 600, 400);
        assert_eq!(client["direction"], "outbound", "{client:#}");
        assert_eq!(server["direction"], "inbound", "{server:#}");
        assert_eq!(
            server["socket_family"].as_str(),
            socket_family,
            "{server:#}"
        );
        for socket in [client, server] {
            assert_eq!(socket["state"], "established");
            assert_eq!(socket["family"], family);
            assert_eq!(socket["remote_class"], "loopback");
            assert_eq!(socket["process"]["pid"], std::process::id());
            assert_eq!(socket["uid"], 0);
            assert_eq!(socket["user"], "root");
            assert_eq!(socket["netns"].to_string(), namespace.inode());
        }
        let listening = find(&sockets, listener.local_addr().expect("an address"), None);
        assert_eq!(listening["state"], "listen");
        assert!(
            listening["bytes"].is_null() && listening["accept_queue"]["limit"].as_u64() > Some(0)
        );
        assert_eq!(
            listening["dual_stack"] == true,
            socket_family.is_some(),
            "{listening:#}"
        );
    }
    assert_eq!(sockets.len(), 9);
}

/// The state of a pair whose ends close, and what each has sent; all of it stable.
#[test]
fn every_state_is_listed_by_its_name_with_the_bytes_so_far() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let elsewhere = Namespace::new();
    let (ours, theirs) = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2));
    namespace.link(ours, &elsewhere, theirs);
    // Someone who answers to nothing, for whom no question is needed.
    let nobody = SockaddrIn::new(10, 77, 0, 9, 443);
    namespace.run(|| ip("neigh add 10.77.0.9 lladdr 02:00:00:00:00:09 dev veth0"));

    let (listener, deferring, syn_sent, bound) = namespace.run(|| {
        let listener = listener(Ipv4Addr::LOCALHOST);
        let deferring = self::listener(Ipv4Addr::LOCALHOST);
        // The handshake ends with the first byte only.
        defer_accept(&deferring);
        let new = || {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket")
        };
        let (syn_sent, bound) = (new(), new());
        connect(syn_sent.as_raw_fd(), &nobody).expect_err("it cannot be there yet");
        bind(bound.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 4711)).expect("binding");
        (listener, deferring, syn_sent, bound)
    });
    let pair = || namespace.run(|| Pair::new(&listener));

    // Said goodbye, and the other has not.
    let half = pair();
    (&half.client).write_all(&[1; 300]).expect("sending");
    half.client.shutdown(Shutdown::Write).expect("shutdown");
    let mut rest = Vec::new();
    (&half.server).read_to_end(&mut rest).expect("receiving");
    // The same, with bytes and goodbye unread.
    let unread = pair();
    (&unread.client).write_all(&[1; 300]).expect("sending");
    unread.client.shutdown(Shutdown::Write).expect("shutdown");
    // A goodbye behind more than the other takes.
    let mut stuck = pair();
    stuck.to_server = Pair::fill(&stuck.client);
    stuck.client.shutdown(Shutdown::Write).expect("shutdown");
    // The same, after the other's.
    let mut last = pair();
    last.client.shutdown(Shutdown::Write).expect("shutdown");
    last.to_client = Pair::fill(&last.server);
    last.server.shutdown(Shutdown::Write).expect("shutdown");
    // The same on both sides, of which one then reads the other's.
    let mut both = pair();
    both.to_server = Pair::fill(&both.client);
    both.to_client = Pair::fill(&both.server);
    both.client.shutdown(Shutdown::Write).expect("shutdown");
    both.server.shutdown(Shutdown::Write).expect("shutdown");
    both.client.set_nonblocking(false).expect("a mode");
    rest.clear();
    (&both.client).read_to_end(&mut rest).expect("receiving");
    assert_eq!(rest.len(), both.to_client);
    // All said.
    let ended = pair();
    let gone = ended.ends();
    drop(ended.client);
    drop(ended.server);
    let deferred = namespace.run(|| {
        TcpStream::connect(deferring.local_addr().expect("an address")).expect("connecting")
    });

    let bound_are_listed = kernel_is_at_least(6, 8);
    let sockets = sockets_once(&namespace, |sockets| {
        has_state(sockets, gone.0, "time_wait")
            && has_state(sockets, both.ends().0, "closing")
            && has_state(sockets, half.ends().0, "fin_wait2")
            && has_state(sockets, unread.ends().0, "fin_wait2")
    });
    let mut seen = BTreeSet::new();
    let mut expect = |socket: &Value, state: &str| {
        assert_eq!(socket["state"], state, "{socket:#}");
        seen.insert(state.to_owned());
    };
    let client = half.client(&sockets);
    expect(client, "fin_wait2");
    assert_bytes(client, 300, 0, 0);
    let server = half.server(&sockets);
    expect(server, "close_wait");
    assert_bytes(server, 0, 300, 0);
    assert_bytes(unread.client(&sockets), 300, 0, 0);
    assert_bytes(unread.server(&sockets), 0, 0, 300);

    let client = stuck.client(&sockets);
    expect(client, "fin_wait1");
    assert_eq!(client["bytes"]["tx"], stuck.to_server, "{client:#}");
    let server = stuck.server(&sockets);
    expect(server, "established");
    let (unsent, arrived) = (&client["bytes"]["unsent"], &server["bytes"]["unread"]);
    assert!(
        unsent.as_u64() > Some(0) && arrived.as_u64() > Some(0),
        "{client:#} {server:#}"
    );

    let server = last.server(&sockets);
    expect(server, "last_ack");
    assert_eq!(server["bytes"]["tx"], last.to_client, "{server:#}");
    let client = both.client(&sockets);
    expect(client, "closing");
    assert_eq!(client["bytes"]["tx"], both.to_server, "{client:#}");
    assert_eq!(client["bytes"]["rx"], both.to_client, "{client:#}");

    let time_wait = find(&sockets, gone.0, Some(gone.1));
    expect(time_wait, "time_wait");
    for field in ["process", "uid", "user", "inode", "bytes"] {
        assert!(time_wait.get(field).is_none(), "{field}: {time_wait:#}");
    }
    let deferring = deferring.local_addr().expect("an address");
    let request = find(
        &sockets,
        deferring,
        Some(deferred.local_addr().expect("an address")),
    );
    expect(request, "syn_recv");
    assert_eq!(request["direction"], "inbound");
    let black_hole: SocketAddr = "10.77.0.9:443".parse().expect("an address");
    let to_nobody = sockets
        .iter()
        .find(|socket| address(&socket["remote"]) == Some(black_hole));
    let to_nobody = to_nobody.expect("the attempt");
    expect(to_nobody, "syn_sent");
    assert_bytes(to_nobody, 0, 0, 0);
    assert_eq!(to_nobody["direction"], "outbound");
    assert_eq!(to_nobody["remote_class"], "private-use");
    assert_eq!(to_nobody["local"]["ip"], ours.to_string());
    expect(
        find(&sockets, listener.local_addr().expect("an address"), None),
        "listen",
    );
    if bound_are_listed {
        expect(
            find(
                &sockets,
                "127.0.0.1:4711".parse().expect("an address"),
                None,
            ),
            "close",
        );
    } else {
        seen.insert("close".to_owned());
    }
    assert_eq!(seen.len(), 11, "{seen:?}");
    for socket in &sockets {
        assert!(
            socket["process"]["pid"] == std::process::id() || socket.get("inode").is_none(),
            "{socket:#}"
        );
    }
    let only = self::sockets(&namespace, "--tcp-state fin-wait-1,LAST_ACK");
    let states: BTreeSet<_> = only
        .iter()
        .map(|socket| socket["state"].to_string())
        .collect();
    assert_eq!(
        states,
        BTreeSet::from(["\"fin_wait1\"".to_owned(), "\"last_ack\"".to_owned()])
    );
    drop((syn_sent, bound));
}

fn defer_accept(listener: &TcpListener) {
    let seconds: libc::c_int = 60;
    let size = size_of_val(&seconds).try_into().expect("a small size");
    // SAFETY: the option takes an `int`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size,
        )
    };
    assert_eq!(result, 0, "TCP_DEFER_ACCEPT");
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
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
    let mut inside = namespace.run(|| Running::start(Command::new("cat").stdin(Stdio::piped())));
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
    let mut theirs = Command::new("cat");
    let parent_fd = OwnedFd::from(shared.try_clone().expect("a descriptor"));
    theirs.uid(65_534).gid(65_534).stdin(Stdio::piped());
    theirs
        .fd_mappings(vec![FdMapping {
            parent_fd,
            child_fd: 9,
        }])
        .expect("one descriptor");
    let theirs = Running::start(&mut theirs);

    let (_directory, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let mut command = Command::new(copy);
    command
        .args(["list", "--format", "json"])
        .uid(65_534)
        .gid(65_534);
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
        serde_json::json!({ "pid": theirs.pid(), "name": "cat" })
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
    let mut cat = Command::new("cat");
    let child_fd = FdMapping {
        parent_fd: shared.into(),
        child_fd: 9,
    };
    cat.stdin(Stdio::piped())
        .fd_mappings(vec![child_fd])
        .expect("one descriptor");
    let _cat = Running::start(&mut cat);
    let mut fields = BTreeSet::new();
    for socket in sockets(&namespace, "--count 2 --interval 0.01") {
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
    let _inside = namespace.run(|| {
        let mut command = Command::new("cat");
        Running::start(command.stdin(Stdio::piped()).uid(65_534).gid(65_534))
    });
    let (_directory, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let mut command = Command::new(copy);
    command
        .args(["list", "--netns", &namespace.inode()])
        .uid(65_534)
        .gid(65_534);
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
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let size = Winsize {
        ws_row: 50,
        ws_col: 20,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).expect("a terminal's size");
    let name = ptsname(&master, Vec::new()).expect("the terminal's name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, Mode::empty()).expect("the terminal");
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
