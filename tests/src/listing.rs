//! Runs `conntracer list`, and makes the connections that it lists.

use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::harness::{PATIENCE, program};
use crate::namespace::Namespace;
use crate::tracer::parse_lines;

/// `conntracer list` with these options.
pub fn list(options: &str) -> Command {
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command
        .arg("list")
        .args(options.split_whitespace())
        .stdin(Stdio::null());
    command
}

/// Runs it inside `namespace`, where it needs no rights to be.
pub fn output(namespace: &Namespace, mut command: Command) -> Output {
    let output = namespace.run(|| command.output().expect("running conntracer"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    output
}

/// The sockets that it lists with these options.
pub fn sockets(namespace: &Namespace, options: &str) -> Vec<Value> {
    let output = output(namespace, list(&format!("--format json {options}")));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{options}: {stderr}");
    parse_lines(&output.stdout)
}

/// The address of an end of a socket; `None` if there is no such end.
pub fn address(end: &Value) -> Option<SocketAddr> {
    let ip = end["ip"].as_str()?.parse().expect("an address");
    let port = end["port"].as_u64()?.try_into().expect("a port");
    Some(SocketAddr::new(ip, port))
}

/// The socket between these ends.
pub fn find(sockets: &[Value], local: SocketAddr, remote: Option<SocketAddr>) -> &Value {
    let fits = |socket: &&Value| {
        address(&socket["local"]) == Some(local) && address(&socket["remote"]) == remote
    };
    let mut found = sockets.iter().filter(fits);
    let socket = found.next();
    assert!(found.next().is_none(), "{local} {remote:?} is there twice");
    socket.unwrap_or_else(|| panic!("no {local} {remote:?} in {sockets:#?}"))
}

/// Checks the byte counts of a socket.
pub fn assert_bytes(socket: &Value, tx: usize, rx: usize, unread: usize) {
    let bytes = &socket["bytes"];
    let expected = [tx, rx, unread].map(Value::from);
    let found = ["tx", "rx", "unread"].map(|name| bytes[name].clone());
    assert_eq!(found, expected, "{socket:#}");
}

/// A connection whose ends are both ours.
#[derive(Debug)]
pub struct Pair {
    /// The end that connected.
    pub client: TcpStream,
    /// The end that accepted.
    pub server: TcpStream,
}

impl Pair {
    /// Connects to a listening socket.
    pub fn new(listener: &TcpListener) -> Self {
        let address = listener.local_addr().expect("an address");
        Self::to(address, listener)
    }

    /// Connects to a listening socket by this address.
    pub fn to(address: SocketAddr, listener: &TcpListener) -> Self {
        let client = TcpStream::connect(address).expect("connecting");
        let (server, _) = listener.accept().expect("accepting");
        Self { client, server }
    }

    /// The addresses of client and server.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        let end = |stream: &TcpStream| stream.local_addr().expect("an address");
        (canonical(end(&self.client)), canonical(end(&self.server)))
    }

    /// The client's end in a list.
    pub fn client<'a>(&self, sockets: &'a [Value]) -> &'a Value {
        let (client, server) = self.ends();
        find(sockets, client, Some(server))
    }

    /// The server's end in a list.
    pub fn server<'a>(&self, sockets: &'a [Value]) -> &'a Value {
        let (client, server) = self.ends();
        find(sockets, server, Some(client))
    }

    /// Says that the client sends nothing more.
    pub fn client_says_goodbye(&self) {
        self.client.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Says that the server sends nothing more.
    pub fn server_says_goodbye(&self) {
        self.server.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Sends until the receiver takes no more; returns how many bytes.
    pub fn fill(from: &TcpStream) -> usize {
        from.set_nonblocking(true).expect("a mode");
        let mut sent = 0;
        loop {
            match (&*from).write(&[7; 8192]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
                Err(error) => panic!("sending: {error}"),
            }
        }
    }
}

/// An IPv4 address on an IPv6 socket as what it is.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Listens on a free port.
pub fn listener(address: impl Into<IpAddr>) -> TcpListener {
    TcpListener::bind((address.into(), 0)).expect("listening")
}

/// Lists until `done`, as what the kernel does in its own time may not be done yet.
pub fn sockets_once(namespace: &Namespace, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let since = Instant::now();
    loop {
        let sockets = sockets(namespace, "");
        if done(&sockets) {
            return sockets;
        }
        assert!(since.elapsed() < PATIENCE, "it does not come: {sockets:#?}");
    }
}

/// Whether a socket at this address is in this state.
pub fn has_state(sockets: &[Value], local: SocketAddr, state: &str) -> bool {
    let fits = |socket: &&Value| address(&socket["local"]) == Some(local);
    sockets
        .iter()
        .filter(fits)
        .any(|socket| socket["state"] == state)
}
