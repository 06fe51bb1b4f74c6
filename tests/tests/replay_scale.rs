//! A replay of ten million connections with 200,000 peers: exact totals in bounded memory, and how
//! fast. Takes 7 GB of the temporary directory, so it is asked for by name:
//!
//! ```text
//! cargo build --release -p tracer
//! cargo test --release -p tests --test replay_scale -- --ignored --nocapture
//! ```
//!
//! `CONNTRACER_SCALE` is the number of connections, if it shall be another one.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;
use tests::harness::say;
use tests::mapped::map;
use tests::replay::{Folder, Replayed, replay};

const CONNECTIONS: u64 = 10_000_000;
const PEERS: u64 = 200_000;
/// What a replay may take: a table of 100,000 rows is some 20 MiB, of which there are three, each
/// with its copy while it makes room.
const MOST_MEMORY: i64 = 192 << 10;

/// Closes as a run writes them, of a server and of its connections to a database. Returns the bytes
/// sent.
fn write(path: &Path, connections: u64) -> u64 {
    let file = File::create(path).expect("a temporary file");
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut sent = 0;
    // Every peer comes, in an order without pattern: the multiplier has no factor of the modulus.
    let peer = |number: u64| {
        Ipv4Addr::from(0x0a00_0000 + u32::try_from(number * 7_919 % PEERS).expect("few peers"))
    };
    for seq in 1..=connections {
        let outbound = seq % 4 == 0;
        let (direction, local, remote, pid, name) = if outbound {
            (
                "outbound",
                40_000 + seq % 20_000,
                5432,
                812 + seq % 16,
                "worker",
            )
        } else {
            ("inbound", 443, 1_024 + seq % 60_000, 700 + seq % 8, "nginx")
        };
        let latency = if outbound {
            "\"latency_ns\":81234,"
        } else {
            ""
        };
        let (tx, rx) = (seq % 60_000, seq % 900);
        sent += tx;
        let (second, ns) = (seq / 1_000 % 60, seq % 1_000 * 1_000_000 + 123_456);
        writeln!(
            out,
            "{{\"v\":1,\"time\":\"2026-01-31T12:00:{second:02}.{ns:09}Z\",\"mono_ns\":{mono},\"seq\":{seq},\
             \"host\":\"web1.example.org\",\"event\":\"close\",\"id\":\"{id:016x}\",\"proto\":\"tcp\",\
             \"direction\":\"{direction}\",\"family\":\"ipv4\",\"local\":{{\"ip\":\"10.200.0.1\",\"port\":{local}}},\
             \"remote\":{{\"ip\":\"{peer}\",\"port\":{remote}}},\"process\":{{\"pid\":{pid},\"tid\":{pid},\
             \"name\":\"{name}\",\"thread\":\"{name}\",\"uid\":33,\"start_ns\":7654321000}},\
             \"closer\":{{\"pid\":{pid},\"name\":\"{name}\"}},\"users\":[{{\"pid\":{pid},\"name\":\"{name}\",\
             \"uid\":33,\"start_ns\":7654321000,\"tx\":{tx},\"rx\":{rx}}}],\"netns\":4026531840,\
             \"cgroup\":{{\"id\":\"7205759403792794\"}},\"bytes\":{{\"tx\":{tx},\"rx\":{rx},\"unread\":0,\"unsent\":0,\
             \"unattributed_tx\":0,\"unattributed_rx\":0}},\"duration_ns\":3214567,{latency}\"rtt_us\":95,\
             \"retransmits\":0,\"closed_by\":\"local\"}}",
            mono = 1_000_000 + seq * 1_000,
            id = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            peer = peer(seq),
        )
        .expect("room for the file");
    }
    out.flush().expect("room for the file");
    sent
}

/// A replay, and the processor time that it took.
fn timed(options: &str, path: &Path) -> (Replayed, Duration, Duration) {
    let cpu = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
        let [user, system] = [usage.user_time(), usage.system_time()];
        Duration::from_micros(
            u64::try_from(
                (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec(),
            )
            .expect("a time"),
        )
    };
    let (before, start) = (cpu(), Instant::now());
    let replayed = replay(options, &[path]).clean();
    (replayed, cpu().saturating_sub(before), start.elapsed())
}

#[test]
#[ignore = "writes 7 GB and takes a minute"]
fn ten_million_connections_are_exact_in_bounded_memory() {
    let connections = std::env::var("CONNTRACER_SCALE");
    let connections = connections.map_or(CONNECTIONS, |text| text.parse().expect("a number"));
    let folder = Folder::new();
    let path = folder.path("closes.jsonl");
    let sent = write(&path, connections);
    let bytes = path.metadata().expect("the file").len();
    let state = folder.path("map");
    let into_map = format!("--state {}", state.display());
    for options in ["", "--port 443", &into_map] {
        let (replayed, cpu, wall) = timed(options, &path);
        let memory = getrusage(UsageWho::RUSAGE_CHILDREN)
            .expect("getrusage")
            .max_rss();
        let rate = |time: Duration| u128::from(connections) * 1_000_000 / time.as_micros().max(1);
        say(&format!(
            "replay {options}: {connections} records, {bytes} bytes: {} records/s of processor time \
             ({cpu:.1?}), {} of wall time ({wall:.1?}), at most {memory} KiB",
            rate(cpu),
            rate(wall),
        ));
        assert_eq!(replayed.count("records"), connections);
        let total = &replayed.summary["total"];
        if options != "--port 443" {
            assert_eq!(total["connects"], connections / 4);
            assert_eq!(total["tx"], sent);
        }
        assert_eq!(total["accepts"], connections - connections / 4);
        assert!(memory < MOST_MEMORY, "{memory} KiB");
    }
    let size = state.metadata().expect("the map").len();
    say(&format!("the map has {size} bytes"));
    let shown = map(&state, "--format json --view by-class");
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown["total"]["connections"], connections);
    assert_eq!(shown["total"]["tx"], sent);
    assert_eq!(shown["total"]["peers"], PEERS.min(connections));
}
