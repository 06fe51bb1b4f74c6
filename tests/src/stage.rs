//! Traffic as a page writes it, between a host that is watched and the world around it.
//!
//! | line | what happens |
//! |---|---|
//! | `listen ADDRESS` | a process listens, on the host or elsewhere |
//! | `wait PORT` | a program of the page does, on the host: it is waited for |
//! | `open IP -> ADDRESS` | a connection from there that stays |
//! | `short IP -> ADDRESS` | one that is used and over before the next line |
//! | `poll` | the poller looks |
//! | `restart` | both programs are stopped and started again |
//!
//! Every connection carries [`REQUEST`] bytes to who listens, and [`ANSWER`] bytes back. The end
//! that is not on the host closes first, so that the host keeps nothing of it (`TIME_WAIT`).

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::harness::PATIENCE;
use crate::namespace::{Namespace, ip};

/// What who connects sends.
pub const REQUEST: usize = 100;
/// What it gets.
pub const ANSWER: usize = 300;

/// The host's addresses.
pub const HOST: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Listens.
    Listen(SocketAddr),
    /// Somebody else listens.
    Wait(u16),
    /// Connects and stays.
    Open(IpAddr, SocketAddr),
    /// Connects and is over.
    Short(IpAddr, SocketAddr),
    /// The poller looks.
    Poll,
    /// Both programs start anew.
    Restart,
}

impl Act {
    /// The address that is not the host's, and whether the connection is short.
    pub fn peer(self) -> Option<(IpAddr, bool)> {
        let (from, to, is_short) = match self {
            Self::Open(from, to) => (from, to, false),
            Self::Short(from, to) => (from, to, true),
            _ => return None,
        };
        let peer = if on_host(from) { to.ip() } else { from };
        Some((peer, is_short)).filter(|_| !peer.is_loopback())
    }
}

/// The lines of a text.
pub fn acts(text: &str) -> Vec<Act> {
    text.lines().map(act).collect()
}

fn act(line: &str) -> Act {
    let words: Vec<_> = line.split_whitespace().collect();
    let address = |word: &str| {
        word.parse()
            .unwrap_or_else(|_| panic!("{word} in {line:?}"))
    };
    let ip = |word: &str| {
        word.parse()
            .unwrap_or_else(|_| panic!("{word} in {line:?}"))
    };
    match words[..] {
        ["listen", at] => Act::Listen(address(at)),
        ["open", from, "->", to] => Act::Open(ip(from), address(to)),
        ["short", from, "->", to] => Act::Short(ip(from), address(to)),
        ["wait", port] => Act::Wait(port.parse().unwrap_or_else(|_| panic!("{line:?}"))),
        ["poll"] => Act::Poll,
        ["restart"] => Act::Restart,
        _ => panic!("no known traffic: {line:?}"),
    }
}

fn on_host(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || HOST.contains(&ip)
}

/// The host and the world.
#[derive(Debug)]
pub struct Stage {
    /// Where programs watch.
    pub host: Namespace,
    world: Namespace,
    listeners: Vec<TcpListener>,
    open: Vec<Connection>,
}

impl Stage {
    /// A host with its addresses, and a world with those that `acts` need.
    pub fn new(acts: &[Act]) -> Self {
        let (host, world) = (Namespace::new(), Namespace::new());
        host.link([192, 0, 2, 1].into(), &world, [192, 0, 2, 2].into());
        host.run(|| add(HOST[1], "veth0"));
        let peers: BTreeSet<_> = acts.iter().filter_map(|act| act.peer()).collect();
        let peers: BTreeSet<_> = peers.into_iter().map(|(peer, _)| peer).collect();
        world.run(|| peers.into_iter().for_each(|peer| add(peer, "veth1")));
        Self {
            host,
            world,
            listeners: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Listens at an address.
    pub fn listen(&mut self, at: SocketAddr) {
        let listener = self.side(at.ip()).run(|| TcpListener::bind(at));
        let listener = listener.unwrap_or_else(|error| panic!("listening at {at}: {error}"));
        self.listeners.push(listener);
    }

    /// Waits until somebody listens at a port of the host.
    pub fn wait(&self, port: u16) {
        let since = Instant::now();
        while !self.host.run(|| listens(port)) {
            assert!(since.elapsed() < PATIENCE, "nobody listens at {port}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A connection that stays.
    pub fn open(&mut self, from: IpAddr, to: SocketAddr) {
        let connection = self.connect(from, to);
        self.open.push(connection);
    }

    /// A connection that is over when this returns.
    pub fn short(&self, from: IpAddr, to: SocketAddr) {
        self.connect(from, to).close();
        self.wait_for_goodbyes();
    }

    /// Ends all that stay.
    pub fn close(&mut self) {
        self.open.drain(..).for_each(Connection::close);
        self.wait_for_goodbyes();
    }

    fn wait_for_goodbyes(&self) {
        self.world.wait_for_goodbyes();
        self.host.wait_for_goodbyes();
    }

    fn side(&self, ip: IpAddr) -> &Namespace {
        if on_host(ip) { &self.host } else { &self.world }
    }

    fn connect(&self, from: IpAddr, to: SocketAddr) -> Connection {
        let listens = |listener: &&TcpListener| {
            let at = listener.local_addr().expect("an address");
            let fits = at.ip() == to.ip() || (at.ip().is_unspecified() && on_host(to.ip()));
            at.port() == to.port() && fits
        };
        let listener = self.listeners.iter().find(listens);
        let mut client = self.side(from).run(|| connected(from, to));
        let Some(listener) = listener else {
            // A program of the page, which answers.
            client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            client.write_all(&[1; REQUEST]).expect("a request");
            client.read_exact(&mut [0; ANSWER]).expect("an answer");
            return Connection {
                first: client,
                second: None,
            };
        };
        let (mut server, _) = listener.accept().expect("accepting");
        for end in [&client, &server] {
            end.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        }
        client.write_all(&[1; REQUEST]).expect("a request");
        server.read_exact(&mut [0; REQUEST]).expect("a request");
        server.write_all(&[2; ANSWER]).expect("an answer");
        client.read_exact(&mut [0; ANSWER]).expect("an answer");
        let (first, second) = if on_host(to.ip()) {
            (client, server)
        } else {
            (server, client)
        };
        Connection {
            first,
            second: Some(second),
        }
    }
}

/// Whether somebody in this thread's namespace does.
fn listens(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let end = format!(":{port:04X}");
    ["tcp", "tcp6"].iter().any(|table| {
        let path = format!("/proc/thread-self/net/{table}");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().unwrap_or_default();
            local.ends_with(&end) && fields.nth(1) == Some(LISTEN)
        })
    })
}

fn add(address: IpAddr, device: &str) {
    match address {
        IpAddr::V4(_) => ip(&format!("addr add {address}/24 dev {device}")),
        // Or it could not be used before the kernel has asked whether another host has it.
        IpAddr::V6(_) => ip(&format!("addr add {address}/64 dev {device} nodad")),
    }
}

fn connected(from: IpAddr, to: SocketAddr) -> TcpStream {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    // No program that starts later may hold it open.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None).expect("a socket");
    bind(&socket, &SocketAddr::from((from, 0))).expect("binding");
    connect(&socket, &to).unwrap_or_else(|error| panic!("from {from} to {to}: {error}"));
    socket.into()
}

/// A connection.
#[derive(Debug)]
struct Connection {
    /// The end that closes first.
    first: TcpStream,
    /// That of a program is closed by it.
    second: Option<TcpStream>,
}

impl Connection {
    fn close(mut self) {
        drop(self.first);
        if let Some(second) = &mut self.second {
            let rest = second.read(&mut [0]).expect("the end");
            assert_eq!(rest, 0, "more than was sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let text = "listen [::]:80\nopen 192.0.2.9 -> 192.0.2.1:80\nshort ::1 -> [::1]:80\n\
                    short 192.0.2.1 -> 192.0.2.30:25\npoll\nrestart\n";
        let acts = acts(text);
        let peers: Vec<_> = acts.iter().filter_map(|act| act.peer()).collect();
        let ip = |text: &str| text.parse().expect("an address");
        assert_eq!(peers, [(ip("192.0.2.9"), false), (ip("192.0.2.30"), true)]);
        assert_eq!(acts[4..], [Act::Poll, Act::Restart]);
    }

    #[test]
    #[should_panic(expected = "no known traffic")]
    fn what_is_not_understood_is_refused() {
        acts("opens 192.0.2.9 -> 192.0.2.1:80\n");
    }
}
