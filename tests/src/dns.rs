//! A name server that says of each address what a test wants, and remembers who asked for what.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What is said of an address.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A name, of labels of any bytes, that holds for so many seconds.
    Name(Vec<Vec<u8>>, u32),
    /// That there is none.
    NoName,
    /// That it cannot be found out.
    Failure,
    /// Nothing.
    Silence,
}

impl Reply {
    /// A name as people write it.
    pub fn name(name: &str, ttl: u32) -> Self {
        let labels = name.split('.').map(|label| label.as_bytes().to_vec());
        Self::Name(labels.collect(), ttl)
    }
}

#[derive(Debug, Default)]
struct Shared {
    replies: HashMap<IpAddr, Reply>,
    asked: Vec<IpAddr>,
}

/// The server, on loopback. It ends with its test.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one that says `default` of what nothing else was said about.
    pub fn start(default: Reply) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        Self::start_on(socket.expect("a socket"), default)
    }

    /// The same on this socket.
    pub fn start_on(socket: UdpSocket, default: Reply) -> Self {
        let address = socket.local_addr().expect("its address");
        let tick = Some(Duration::from_millis(20));
        socket.set_read_timeout(tick).expect("a time to wait");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (known, stopped) = (Arc::clone(&shared), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                serve(&socket, &known, &default);
            }
        });
        Self {
            address,
            shared,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says this of an address from now on.
    pub fn say(&self, ip: &str, reply: Reply) {
        let ip = ip.parse().expect("an address");
        lock(&self.shared).replies.insert(ip, reply);
    }

    /// How often somebody asked for the name of an address.
    pub fn asked(&self, ip: &str) -> usize {
        let ip: IpAddr = ip.parse().expect("an address");
        let asked = &lock(&self.shared).asked;
        asked.iter().filter(|one| **one == ip).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(socket: &UdpSocket, shared: &Mutex<Shared>, default: &Reply) {
    let mut packet = [0; 4096];
    let (length, client) = match socket.recv_from(&mut packet) {
        Ok(received) => received,
        Err(error) => {
            let timed_out = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(timed_out, "a name server's socket: {error}");
            return;
        }
    };
    let query = &packet[..length];
    let (labels, end) = question(query);
    let ip = address(&labels).unwrap_or_else(|| panic!("no address: {labels:?}"));
    let mut shared = lock(shared);
    shared.asked.push(ip);
    let reply = shared.replies.get(&ip).unwrap_or(default).clone();
    drop(shared);
    if let Some(answer) = answer(query, end, &reply) {
        // A client that is gone does not matter.
        let _ = socket.send_to(&answer, client);
    }
}

/// The labels of the first question, and where it ends.
fn question(query: &[u8]) -> (Vec<String>, usize) {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let label = &query[at + 1..][..usize::from(query[at])];
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + label.len();
    }
    (labels, at + 5)
}

/// Which address has this name in `in-addr.arpa` or `ip6.arpa`.
fn address(labels: &[String]) -> Option<IpAddr> {
    let [digits @ .., tree, arpa] = labels else {
        return None;
    };
    assert_eq!(arpa, "arpa");
    let digits = digits.iter().rev();
    if tree == "in-addr" {
        let octets: Vec<u8> = digits
            .map(|digit| digit.parse().ok())
            .collect::<Option<_>>()?;
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into());
    }
    let digits: String = digits.map(String::as_str).collect();
    let bits = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then(|| Ipv6Addr::from(bits).into())
}

/// The answer to a query whose question ends at `end`.
fn answer(query: &[u8], end: usize, reply: &Reply) -> Option<Vec<u8>> {
    let (code, answers) = match reply {
        Reply::Name(..) => (0, 1),
        Reply::NoName => (3, 0),
        Reply::Failure => (2, 0),
        Reply::Silence => return None,
    };
    let mut out = query[..2].to_vec();
    // A response to what was wished for, recursion available.
    out.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    out.extend(&query[12..end]);
    if let Reply::Name(labels, ttl) = reply {
        let mut name = Vec::new();
        for label in labels {
            name.push(u8::try_from(label.len()).expect("a short label"));
            name.extend(label);
        }
        name.push(0);
        // The name of the question, PTR, IN.
        out.extend([0xc0, 12, 0, 12, 0, 1]);
        out.extend(ttl.to_be_bytes());
        let length = u16::try_from(name.len()).expect("a short name");
        out.extend(length.to_be_bytes());
        out.extend(name);
    }
    Some(out)
}
