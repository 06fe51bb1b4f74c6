//! MMDB databases for tests, written from nothing: a binary tree of address bits, the entries that
//! its leaves point to, and metadata. Nobody's database is copied.

use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// Zeros between the tree and the entries.
const SEPARATOR: usize = 16;

/// Where a branch of the tree leads.
#[derive(Clone, Copy, Debug)]
enum Branch {
    Nowhere,
    Node(usize),
    /// To the entry at this offset.
    Entry(usize),
}

/// A database that grows.
#[derive(Debug)]
pub struct Mmdb {
    kind: &'static str,
    version: u64,
    nodes: Vec<[Branch; 2]>,
    entries: Vec<u8>,
}

impl Mmdb {
    /// One for both IP versions that calls itself `kind`.
    pub fn new(kind: &'static str) -> Self {
        Self {
            kind,
            version: 6,
            nodes: vec![[Branch::Nowhere; 2]],
            entries: Vec::new(),
        }
    }

    /// One for IPv4 only.
    pub fn of_ipv4(kind: &'static str) -> Self {
        Self {
            version: 4,
            ..Self::new(kind)
        }
    }

    /// Says `entry` of a network, such as `192.0.2.0/24`; what was said of a part of it before is
    /// forgotten.
    #[must_use]
    pub fn with(mut self, network: &str, entry: &Value) -> Self {
        let (ip, length) = network.split_once('/').expect("a prefix");
        let mut length: usize = length.parse().expect("its length");
        let bits = match ip.parse().expect("an address") {
            IpAddr::V4(ip) if self.version == 4 => u128::from(u32::from(ip)) << 96,
            IpAddr::V4(ip) => {
                length += 96;
                u128::from(u32::from(ip))
            }
            IpAddr::V6(ip) => u128::from(ip),
        };
        let offset = self.entries.len();
        encode(entry, &mut self.entries);
        let side = |depth: usize| usize::from(bits >> (127 - depth) & 1 == 1);
        let mut node = 0;
        for depth in 0..length - 1 {
            node = match self.nodes[node][side(depth)] {
                Branch::Node(next) => next,
                leaf => {
                    self.nodes.push([leaf; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][side(depth)] = Branch::Node(next);
                    next
                }
            };
        }
        self.nodes[node][side(length - 1)] = Branch::Entry(offset);
        self
    }

    /// As bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let mut out = Vec::new();
        for branch in self.nodes.iter().flatten() {
            let record = match branch {
                Branch::Node(node) => *node,
                Branch::Nowhere => count,
                Branch::Entry(offset) => count + SEPARATOR + offset,
            };
            let record = u32::try_from(record).expect("a small database");
            out.extend(record.to_be_bytes());
        }
        out.extend([0; SEPARATOR]);
        out.extend(&self.entries);
        out.extend(MARKER);
        let metadata = [
            ("binary_format_major_version", unsigned(5, 2)),
            ("binary_format_minor_version", unsigned(5, 0)),
            ("build_epoch", unsigned(9, 1_769_860_800)),
            ("database_type", encoded(&json!(self.kind))),
            ("description", encoded(&json!({"en": "made by a test"}))),
            ("ip_version", unsigned(5, self.version)),
            ("languages", encoded(&json!(["en"]))),
            ("node_count", unsigned(6, count as u64)),
            ("record_size", unsigned(5, 32)),
        ];
        control(7, metadata.len(), &mut out);
        for (key, value) in metadata {
            encode(&json!(key), &mut out);
            out.extend(value);
        }
        out
    }

    /// Into a file, which is replaced as a whole.
    pub fn write(&self, path: &Path) {
        let beside = path.with_extension("new");
        std::fs::write(&beside, self.bytes()).expect("writing a database");
        std::fs::rename(beside, path).expect("renaming a database");
    }
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out);
    out
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => {
            control(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Number(number) => out.extend(unsigned(6, number.as_u64().expect("unsigned"))),
        Value::Bool(flag) => control(14, usize::from(*flag), out),
        Value::Array(values) => {
            control(11, values.len(), out);
            for value in values {
                encode(value, out);
            }
        }
        Value::Object(fields) => {
            control(7, fields.len(), out);
            for (key, value) in fields {
                encode(&json!(key), out);
                encode(value, out);
            }
        }
        Value::Null => panic!("the format has no null"),
    }
}

/// An integer of this type, without leading zeros.
fn unsigned(kind: u8, number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let digits = &bytes[number.leading_zeros() as usize / 8..];
    let mut out = Vec::new();
    control(kind, digits.len(), &mut out);
    out.extend(digits);
    out
}

/// What a value begins with: its type and size.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (short, more) = match size {
        0..29 => (size, 0),
        29..285 => (29, 1),
        285..65_821 => (30, 2),
        _ => (31, 3),
    };
    let rest = size - [0, 29, 285, 65_821][more];
    let short = u8::try_from(short).expect("five bits");
    if kind > 7 {
        out.extend([short, kind - 7]);
    } else {
        out.push(kind << 5 | short);
    }
    out.extend(&rest.to_be_bytes()[size_of::<usize>() - more..]);
}
