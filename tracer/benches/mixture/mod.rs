//! Ring records as a busy host makes them, for benches and the test of allocations: connections of
//! several processes, inbound and outbound, IPv4 and IPv6, some with a second process, a few that
//! fail. Each lives through its stages; several hundred do so at a time.

use tracer::aggregate::Aggregate;
use tracer::decode::{Decoded, decode};
use tracer::identity::Identity;
use tracer::record::{Out, Record};
use tracer::track::Track;
use tracer_common::connection::{Closer, Connection, ConnectionKey, Task, TcpCounters, flags};
use tracer_common::event::{News, Touched, kind};
use tracer_common::flow::{AF_INET, AF_INET6, Flow};
use tracer_common::tcp_state::{CLOSE_WAIT, FIN_WAIT2, SYN_SENT};
use zerocopy::IntoBytes;

/// Connections that are open at a time; not so many that a map of them is about to grow.
const OPEN: u64 = 400;
/// Processes.
const PROCESSES: u64 = 8;

/// Ring records of `connections` connections that start with number `first`, oldest first. Peers
/// repeat after `peers`, ports after `ports`.
pub fn ring_records(first: u64, connections: u64, peers: u64, ports: u64) -> Vec<Vec<u8>> {
    let mut lives: Vec<_> = (first..first + connections)
        .map(|number| life(number, peers, ports).into_iter())
        .collect();
    let mut records = Vec::new();
    for crowd in lives.chunks_mut(usize::try_from(OPEN).unwrap_or(usize::MAX)) {
        loop {
            let before = records.len();
            records.extend(crowd.iter_mut().filter_map(Iterator::next));
            if records.len() == before {
                break;
            }
        }
    }
    records
}

fn life(number: u64, peers: u64, ports: u64) -> Vec<Vec<u8>> {
    let born = state(number, peers, ports);
    let sk = 0xffff_8880_0000_0000 | (number % OPEN) << 12;
    let news = |connection: Connection| {
        let news = News {
            kind: kind::NEWS,
            reserved: 0,
            sk,
            connection,
        };
        news.as_bytes().to_vec()
    };
    if number % 50 == 3 {
        let failed = Connection {
            closed_ns: born.birth_ns + 90_000,
            error: 111,
            state_before_close: u32::from(SYN_SENT),
            flags: flags::FAILED | flags::HAS_COUNTERS,
            ..born
        };
        let released = Connection {
            flags: failed.flags | flags::RELEASED,
            ..failed
        };
        return vec![news(born), news(failed), news(released)];
    }
    let established = Connection {
        established_ns: born.birth_ns + 40_000,
        accepted_ns: if born.is(flags::INBOUND) {
            born.birth_ns + 60_000
        } else {
            0
        },
        ..born
    };
    let touched = Touched {
        kind: kind::TOUCHED,
        reserved: 0,
        sk,
    };
    let closed = closed(&established, number);
    let released = Connection {
        flags: closed.flags | flags::RELEASED,
        ..closed
    };
    let mut life = Vec::new();
    if !born.is(flags::INBOUND) {
        life.push(news(born));
    }
    life.extend([
        news(established),
        touched.as_bytes().to_vec(),
        news(closed),
        news(released),
    ]);
    life
}

/// As it is born.
pub fn state(number: u64, peers: u64, ports: u64) -> Connection {
    let inbound = number.is_multiple_of(2);
    let process = number % PROCESSES;
    let small = |number: u64| u32::try_from(number % (1 << 31)).unwrap_or_default();
    let mut name = *b"worker-0\0\0\0\0\0\0\0\0";
    name[7] += u8::try_from(process).unwrap_or_default();
    let [service, throw_away] = [
        u16::try_from(1 + number % ports.min(60_000)).unwrap_or(1),
        u16::try_from(20_000 + number % 40_000).unwrap_or(1),
    ];
    let mut flow = Flow {
        local_ip: [0; 16],
        remote_ip: [0; 16],
        local_port: if inbound { service } else { throw_away },
        remote_port: if inbound { throw_away } else { service },
        socket_family: AF_INET,
        reserved: 0,
    };
    let peer = small(number % peers).to_be_bytes();
    if number.is_multiple_of(3) {
        flow.socket_family = AF_INET6;
        flow.local_ip[..2].copy_from_slice(&[0x20, 0x01]);
        flow.remote_ip[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        flow.remote_ip[12..].copy_from_slice(&peer);
    } else {
        for (ip, tail) in [
            (&mut flow.local_ip, [10, 0, 0, 5]),
            (&mut flow.remote_ip, peer),
        ] {
            ip[10..12].copy_from_slice(&[0xff, 0xff]);
            ip[12..].copy_from_slice(&tail);
        }
    }
    Connection {
        birth_ns: 1_000_000_000 + number * 1_000,
        owner: Task {
            start_ns: 77,
            tgid: 1_000 + small(process),
            tid: 1_000 + small(process),
            uid: 33,
            reserved: 0,
            name,
            thread: name,
        },
        cgroup: 7_205_759_403_792_794,
        netns: 4_026_531_840,
        flags: if inbound { flags::INBOUND } else { 0 },
        flow,
        ..Connection::EMPTY
    }
}

fn closed(established: &Connection, number: u64) -> Connection {
    let inbound = established.is(flags::INBOUND);
    Connection {
        closed_ns: established.birth_ns + 900_000,
        owner_tx: 100 + number % 900,
        owner_rx: 5_000,
        closer: Closer {
            tgid: established.owner.tgid,
            reserved: 0,
            name: established.owner.name,
        },
        tcp: TcpCounters {
            bytes_acked: 101 + number % 900 + u64::from(!inbound),
            bytes_received: 5_001,
            srtt_us: 180,
            ..TcpCounters::default()
        },
        state_before_close: u32::from(if inbound { CLOSE_WAIT } else { FIN_WAIT2 }),
        flags: established.flags | flags::HAS_COUNTERS | flags::FIN_RECEIVED,
        ..*established
    }
}

/// A tracker as a run has it.
pub fn track() -> Track {
    let mut track = Track::new(
        Identity::new("boot", &[7; 16]),
        "web-server-01".into(),
        true,
    );
    track.set_wall_offset(1_769_860_800_123_456_789);
    track
}

/// Takes ring records as [`tracer::collect`] does.
pub fn replay(ring: &[Vec<u8>], track: &mut Track, out: &mut impl Out) {
    for bytes in ring {
        match decode(bytes) {
            Decoded::News(key, connection) => track.news(key, &connection, &[], out),
            Decoded::Touched(sk) => {
                std::hint::black_box(sk);
            }
            Decoded::Io(io) => track.io(&io, out),
            Decoded::Process(told) => {
                std::hint::black_box(told);
            }
            Decoded::Unknown => panic!("an unknown record"),
        }
    }
}

/// The key of a state.
pub fn key(number: u64, connection: &Connection) -> ConnectionKey {
    ConnectionKey {
        sk: 0xffff_8880_0000_0000 | number << 6,
        birth_ns: connection.birth_ns,
    }
}

/// The tables, as where records go.
pub struct Tables(pub Aggregate);

impl Out for Tables {
    fn push(&mut self, record: Record) {
        self.0.add(&record);
    }
}
