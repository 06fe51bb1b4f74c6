//! `conntracer list`: every state there is, by its name, with the bytes that were sent and read. What
//! is waited for here stays as it is once it is there.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use serde_json::Value;
use tests::harness::can_trace;
use tests::listing::{
    Pair, address, assert_bytes, find, has_state, listener, sockets, sockets_once,
};
use tests::namespace::{Namespace, ip};

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

fn assert_state(socket: &Value, state: &str) {
    assert_eq!(socket["state"], state, "{socket:#}");
}

fn pair(namespace: &Namespace) -> Pair {
    namespace.run(|| Pair::new(&listener(Ipv4Addr::LOCALHOST)))
}

#[test]
fn after_one_goodbye_the_bytes_are_still_those_of_the_applications() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let (read, unread) = (pair(&namespace), pair(&namespace));
    for pair in [&read, &unread] {
        (&pair.client).write_all(&[1; 300]).expect("sending");
        pair.client_says_goodbye();
    }
    (&read.server)
        .read_to_end(&mut Vec::new())
        .expect("receiving");
    let sockets = sockets_once(&namespace, |sockets| {
        let done = |pair: &Pair| has_state(sockets, pair.ends().0, "fin_wait2");
        done(&read) && done(&unread)
    });
    for pair in [&read, &unread] {
        assert_state(pair.client(&sockets), "fin_wait2");
        assert_bytes(pair.client(&sockets), 300, 0, 0);
        assert_state(pair.server(&sockets), "close_wait");
    }
    assert_bytes(read.server(&sockets), 0, 300, 0);
    assert_bytes(unread.server(&sockets), 0, 0, 300);
}

#[test]
fn a_goodbye_that_waits_behind_data_is_no_byte() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let first = pair(&namespace);
    let to_server = Pair::fill(&first.client);
    first.client_says_goodbye();

    let last = pair(&namespace);
    last.client_says_goodbye();
    let to_client = Pair::fill(&last.server);
    last.server_says_goodbye();

    let sockets = sockets_once(&namespace, |sockets| {
        has_state(sockets, last.ends().1, "last_ack")
    });
    let (client, server) = (first.client(&sockets), first.server(&sockets));
    assert_state(client, "fin_wait1");
    assert_state(server, "established");
    assert_eq!(client["bytes"]["tx"], to_server, "{client:#}");
    assert!(client["bytes"]["unsent"].as_u64() > Some(0), "{client:#}");
    assert!(server["bytes"]["unread"].as_u64() > Some(0), "{server:#}");
    let server = last.server(&sockets);
    assert_state(server, "last_ack");
    assert_eq!(server["bytes"]["tx"], to_client, "{server:#}");

    let chosen = self::sockets(&namespace, "--tcp-state fin-wait-1,LAST_ACK");
    assert_eq!(chosen.len(), 2, "{chosen:#?}");
    first.client(&chosen);
    last.server(&chosen);
}

#[test]
fn goodbyes_that_cross_are_told_apart() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let pair = pair(&namespace);
    let (to_server, to_client) = (Pair::fill(&pair.client), Pair::fill(&pair.server));
    pair.client_says_goodbye();
    pair.server_says_goodbye();
    pair.client.set_nonblocking(false).expect("a mode");
    let mut received = Vec::new();
    (&pair.client)
        .read_to_end(&mut received)
        .expect("receiving");
    assert_eq!(received.len(), to_client);
    // The server's goodbye has arrived, the client's waits behind its data.
    let sockets = sockets_once(&namespace, |sockets| {
        has_state(sockets, pair.ends().0, "closing")
    });
    let bytes = &pair.client(&sockets)["bytes"];
    assert_eq!(bytes["tx"], to_server, "{bytes}");
    assert_eq!(bytes["rx"], to_client, "{bytes}");
}

#[test]
fn what_has_ended_or_only_begun_has_no_process_and_no_bytes() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let ended = pair(&namespace);
    let (client, server) = ended.ends();
    // In this order it is the client that stays.
    drop(ended.client);
    drop(ended.server);
    let deferring = namespace.run(|| listener(Ipv4Addr::LOCALHOST));
    defer_accept(&deferring);
    let listening = deferring.local_addr().expect("an address");
    let begun = namespace.run(|| TcpStream::connect(listening).expect("connecting"));
    let sockets = sockets_once(&namespace, |sockets| {
        has_state(sockets, client, "time_wait")
    });
    let time_wait = find(&sockets, client, Some(server));
    let request = find(&sockets, listening, begun.local_addr().ok());
    assert_state(request, "syn_recv");
    assert_eq!(request["direction"], "inbound");
    for socket in [time_wait, request] {
        for field in ["process", "uid", "user", "inode", "bytes"] {
            assert!(socket.get(field).is_none(), "{field}: {socket:#}");
        }
    }
}

#[test]
fn what_is_not_connected_is_listed_too() {
    if !can_trace() {
        return;
    }
    let (namespace, elsewhere) = (Namespace::new(), Namespace::new());
    let (ours, theirs) = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2));
    namespace.link(ours, &elsewhere, theirs);
    // Someone who answers to nothing, and is known so well that nobody asks where it is.
    namespace.run(|| ip("neigh add 10.77.0.9 lladdr 02:00:00:00:00:09 dev veth0"));
    let black_hole: SocketAddr = "10.77.0.9:443".parse().expect("an address");
    let own: SocketAddr = "127.0.0.1:4711".parse().expect("an address");
    let (_attempt, _bound, listener) = namespace.run(|| {
        let (attempt, bound) = (new_socket(), new_socket());
        let to = SockaddrIn::new(10, 77, 0, 9, 443);
        connect(attempt.as_raw_fd(), &to).expect_err("it cannot be there yet");
        bind(bound.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 4711)).expect("binding");
        (attempt, bound, listener(Ipv6Addr::LOCALHOST))
    });
    let sockets = sockets(&namespace, "");
    let attempt = sockets
        .iter()
        .find(|socket| address(&socket["remote"]) == Some(black_hole))
        .expect("the attempt");
    assert_state(attempt, "syn_sent");
    assert_bytes(attempt, 0, 0, 0);
    assert_eq!(attempt["direction"], "outbound");
    assert_eq!(attempt["remote_class"], "private-use");
    assert_eq!(attempt["local"]["ip"], ours.to_string());
    assert_eq!(attempt["process"]["pid"], std::process::id());
    assert_state(
        find(&sockets, listener.local_addr().expect("an address"), None),
        "listen",
    );
    if kernel_is_at_least(6, 8) {
        assert_state(find(&sockets, own, None), "close");
    }
}

fn new_socket() -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket")
}

/// Has the handshake end with the first byte only.
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
