//! Ten million connections of 200,000 peers into a map in a file, and what that takes:
//! `cargo bench -p tracer --bench map`. `-- N` makes it N connections.

#![expect(clippy::print_stdout, reason = "figures for people")]
#![expect(clippy::cast_precision_loss, reason = "ten million is exact")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracer::map::Source;
use tracer::map::delta::Accumulator;
use tracer::map::options::Limits;
use tracer::map::store::{self, Store};
use tracer::reconcile::Ending;
use tracer::record::{
    Bytes, ConnectionId, Direction, Endpoint, EventKind, Family, Process, Record, SCHEMA_VERSION,
    Users, WallTime,
};

const PEERS: u64 = 200_000;
/// Open at a time.
const LIVE: u64 = 10_000;
/// Between two saves: half a minute of 10,000 a second.
const INTERVAL: u64 = 300_000;
/// New relations that make a save due, as in a live run.
const MANY: usize = 1 << 16;

fn main() {
    // cargo passes options of its own.
    let number = std::env::args().find_map(|argument| argument.parse().ok());
    let connections: u64 = number.unwrap_or(10_000_000);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("map");
    let mut store = Store::open(&path, Limits::default()).expect("a new map");
    let mut accumulator = Accumulator::new(Source::Traced, 4 * MANY);
    let mut record = record();
    let (mut saves, mut saving, mut longest) = (0_u64, Duration::ZERO, Duration::ZERO);
    let start = Instant::now();
    for number in 0..connections + LIVE {
        if number < connections {
            tell(&mut record, number, EventKind::Accept, &mut accumulator);
            tell(&mut record, number, EventKind::Traffic, &mut accumulator);
        }
        if number >= LIVE {
            let ended = number - LIVE;
            tell(&mut record, ended, EventKind::Close, &mut accumulator);
        }
        let is_last = number + 1 == connections + LIVE;
        if number % INTERVAL == INTERVAL - 1 || accumulator.delta.len() >= MANY || is_last {
            let begun = Instant::now();
            let delta = accumulator.delta.take();
            store.merge(&delta, record.time).expect("a save");
            saves += 1;
            saving += begun.elapsed();
            longest = longest.max(begun.elapsed());
        }
    }
    let total = start.elapsed();
    let most = most_memory();
    drop(store);
    let size = path.metadata().map_or(0, |file| file.len());
    let begun = Instant::now();
    drop(Store::open(&path, Limits::default()).expect("the map again"));
    let opening = begun.elapsed();
    let begun = Instant::now();
    let map = store::read(&path).expect("the map");
    let reading = begun.elapsed();
    let sum: u64 = map.relations.iter().map(|(_, uses)| uses.connections).sum();
    let bytes: u64 = map.relations.iter().map(|(_, uses)| uses.tx).sum();
    assert_eq!((sum, bytes), (connections, 300 * connections));
    assert_eq!(map.relations.len() as u64, PEERS.min(connections));
    println!("connections            {connections:>12}");
    println!("relations              {:>12}", map.relations.len());
    println!(
        "ns a connection        {:>12.0}",
        total.saturating_sub(saving).as_nanos() as f64 / connections as f64
    );
    println!("saves                  {saves:>12}");
    println!(
        "ms a save              {:>12.1}",
        saving.as_secs_f64() * 1e3 / saves as f64
    );
    println!(
        "ms, the longest        {:>12.1}",
        longest.as_secs_f64() * 1e3
    );
    println!("most memory, MiB       {:>12.1}", most as f64 / 1024.0);
    println!(
        "file, MiB              {:>12.1}",
        size as f64 / f64::from(1 << 20)
    );
    println!(
        "open and check, ms     {:>12.1}",
        opening.as_secs_f64() * 1e3
    );
    println!(
        "read, ms               {:>12.1}",
        reading.as_secs_f64() * 1e3
    );
    println!(
        "memory with reading    {:>12.1}",
        most_memory() as f64 / 1024.0
    );
}

/// The peak of this process, KiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}

fn tell(record: &mut Record, number: u64, event: EventKind, accumulator: &mut Accumulator) {
    // A step that is prime to the number of peers visits all of them in no simple order.
    let peer = u32::try_from(number * 77_773 % PEERS).unwrap_or(0);
    record.event = event;
    record.id = ConnectionId(number);
    record.time.0 += 1_000;
    record.remote.ip = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + peer));
    let tx = match event {
        EventKind::Traffic => 100,
        EventKind::Close => 300,
        _ => 0,
    };
    record.bytes = Some(Bytes {
        tx,
        rx: tx,
        ..Bytes::default()
    });
    accumulator.add(record);
}

fn record() -> Record {
    let end = |port| Endpoint {
        ip: IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)),
        port: Some(port),
    };
    Record {
        v: SCHEMA_VERSION,
        time: WallTime(1_769_860_800_000_000_000),
        mono_ns: 0,
        seq: 0,
        host: Arc::from("bench"),
        event: EventKind::Accept,
        id: ConnectionId(0),
        proto: "tcp",
        direction: Direction::Inbound,
        family: Family::Ipv4,
        socket_family: None,
        local: end(443),
        remote: end(40_000),
        peer: None,
        process: Some(Process {
            pid: 1,
            tid: 1,
            name: "nginx".into(),
            thread: "nginx".into(),
            uid: 33,
            start_ns: 1,
            details: None,
        }),
        closer: None,
        users: Users::new(),
        netns: 1,
        cgroup: None,
        bytes: None,
        wire: None,
        duration_ns: None,
        latency_ns: None,
        queue_ns: None,
        rtt_us: None,
        retransmits: None,
        reason: None,
        closed_by: None,
        pre_existing: false,
        sampled: false,
        ending: Ending::default(),
    }
}
