//! Connections with addresses that are no loopback ones, in a namespace of their own, and what the
//! tracer tells of them while it runs.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{PATIENCE, can_trace};
use crate::namespace::{Namespace, ip};
use crate::tracer::{Tracer, parse_lines};

/// The addresses that are there: of IPv4, all of a network of the loopback device are the host's.
const ADDRESSES: [&str; 2] = ["192.0.2.1/24", "2001:db8::9/128"];

/// A namespace with these addresses, and a folder for what the tracer writes.
#[derive(Debug)]
pub struct Place {
    /// Where the connections are.
    pub namespace: Namespace,
    folder: TempDir,
}

impl Place {
    /// `None` where nothing can be traced.
    pub fn new() -> Option<Self> {
        if !can_trace() {
            return None;
        }
        let namespace = Namespace::new();
        namespace.run(|| {
            for address in ADDRESSES {
                ip(&format!("addr add {address} dev lo"));
            }
        });
        Some(Self {
            namespace,
            folder: TempDir::new().expect("a temporary directory"),
        })
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Traces it with `line`'s options and records in a file.
    pub fn trace(&self, line: &str) -> Traced<'_> {
        let path = self.path("records.jsonl");
        let output = format!("--output {} {line}", path.display());
        Traced {
            place: self,
            tracer: Tracer::start(&self.namespace, &output),
            path,
        }
    }

    /// Makes a connection to this address, moves a byte and closes it.
    pub fn connect(&self, ip: &str) {
        let ip: IpAddr = ip.parse().expect("an address");
        self.namespace.run(|| {
            let listener = TcpListener::bind((ip, 0)).expect("listening");
            let address = listener.local_addr().expect("its address");
            exchange(&listener, address);
        });
    }

    /// The same over an IPv6 socket, to an IPv4 address.
    pub fn connect_mapped(&self, ip: &str) {
        let ip: std::net::Ipv4Addr = ip.parse().expect("an IPv4 address");
        self.namespace.run(|| {
            let listener = TcpListener::bind("[::]:0").expect("listening");
            let port = listener.local_addr().expect("its address").port();
            exchange(&listener, (ip.to_ipv6_mapped(), port).into());
        });
    }
}

fn exchange(listener: &TcpListener, address: SocketAddr) {
    let mut client = TcpStream::connect(address).expect("connecting");
    let (mut server, _) = listener.accept().expect("accepting");
    client.write_all(b"x").expect("sending");
    drop(client);
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).expect("receiving");
    assert_eq!(bytes, b"x");
}

/// A tracer at a [`Place`].
#[derive(Debug)]
pub struct Traced<'a> {
    place: &'a Place,
    tracer: Tracer,
    path: PathBuf,
}

impl Traced<'_> {
    /// The records so far.
    pub fn records(&self) -> Vec<Value> {
        records(&self.path)
    }

    /// Connects to `ip` until a record with it as the peer fits, and returns that.
    pub fn until(&self, ip: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        let mut connections = 0;
        loop {
            self.place.connect(ip);
            connections += 1;
            std::thread::sleep(Duration::from_millis(50));
            let records = self.records();
            let found = records
                .iter()
                .find(|record| record["remote"]["ip"] == ip && fits(record));
            if let Some(record) = found {
                return record.clone();
            }
            assert!(
                since.elapsed() < PATIENCE,
                "none of {connections} connections is told so: {:?}",
                records.last()
            );
        }
    }

    /// Stops it; returns its records and what it left.
    pub fn stop(self) -> (Vec<Value>, crate::tracer::Finished) {
        self.place.namespace.wait_for_goodbyes();
        let finished = self.tracer.stop();
        (records(&self.path), finished)
    }
}

/// The whole lines of a file.
fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read(path).expect("the records");
    let end = text.iter().rposition(|byte| *byte == b'\n');
    parse_lines(&text[..end.map_or(0, |end| end + 1)])
}

/// The row of a peer in a summary's table.
pub fn row<'a>(summary: &'a Value, ip: &str) -> &'a Value {
    let rows = summary["peers"].as_array().expect("the peers");
    let row = rows.iter().find(|row| row["ip"] == ip);
    row.unwrap_or_else(|| panic!("no {ip} in {rows:?}"))
}
