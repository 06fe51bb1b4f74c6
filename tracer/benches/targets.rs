//! Whether userspace is at its floor: figures beside a reference from the same run. Exits with 1
//! where a target is missed.
//!
//! `cargo bench -p tracer --bench targets`

#![expect(clippy::print_stdout, reason = "figures for people")]
#![expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 events")]

#[allow(dead_code, unreachable_pub, reason = "the other benches use the rest")]
mod mixture;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mixture::Tables;
use serde::Serialize;
use tracer::aggregate::Aggregate;
use tracer::record::Record;
use tracer::sink::Format;
use tracer::sink::json::Json;

/// Rounds of each of two that are compared, by turns; the median counts.
const ROUNDS: usize = 41;

fn main() -> ExitCode {
    let json = json_against_serde();
    println!(
        "JSON lines / serde_json writing the same bytes from ready strings: {json:.2} (at most 1.5)"
    );
    let rate = events_a_second();
    println!(
        "decode + track + aggregate: {:.2} million ring records/s (at least 2)",
        rate / 1e6
    );
    ExitCode::from(u8::from(json > 1.5 || rate < 2e6))
}

fn records() -> Vec<Record> {
    let mut records = Vec::new();
    let ring = mixture::ring_records(0, 2_000, 300, 40);
    mixture::replay(&ring, &mut mixture::track(), &mut records);
    records
}

/// The shortest time is the one that nobody disturbed, the median is what is to be expected.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn json_against_serde() -> f64 {
    let records = records();
    let ready: Vec<Ready> = records.iter().map(Ready::of).collect();
    let (mut ours, mut theirs) = (BytesMut::new(), Vec::new());
    let write_ours = |out: &mut BytesMut| {
        out.clear();
        for record in &records {
            Json.record(record, out);
        }
    };
    let write_theirs = |out: &mut Vec<u8>| {
        out.clear();
        for record in &ready {
            serde_json::to_writer(&mut *out, record).expect("memory takes it");
            out.push(b'\n');
        }
    };
    write_ours(&mut ours);
    write_theirs(&mut theirs);
    assert_eq!(ours, theirs, "the same bytes");
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_times.push(timed(|| write_ours(black_box(&mut ours))));
        their_times.push(timed(|| write_theirs(black_box(&mut theirs))));
    }
    let [ours, theirs] = [our_times, their_times].map(median);
    let each = |time: f64| time * 1e9 / records.len() as f64;
    println!(
        "JSON: {:.0} ns a record, reference {:.0} ns",
        each(ours),
        each(theirs)
    );
    ours / theirs
}

fn events_a_second() -> f64 {
    let ring = mixture::ring_records(0, 20_000, 3_000, 40);
    let mut track = mixture::track();
    let mut tables = Tables(Aggregate::new(100_000));
    let times = (0..ROUNDS)
        .map(|_| timed(|| mixture::replay(black_box(&ring), &mut track, &mut tables)))
        .collect();
    ring.len() as f64 / median(times)
}

/// A record whose every text is ready: what a straight `Serialize` of plain data costs.
#[derive(Serialize)]
struct Ready {
    v: u8,
    time: String,
    mono_ns: u64,
    seq: u64,
    host: String,
    event: &'static str,
    id: String,
    proto: &'static str,
    direction: &'static str,
    family: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_family: Option<&'static str>,
    local: ReadyEndpoint,
    remote: ReadyEndpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ReadyProcess>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closer: Option<ReadyName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<ReadyUser>,
    netns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<ReadyCgroup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<tracer::record::Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_us: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retransmits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<tracer::record::ClosedBy>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pre_existing: bool,
}

#[derive(Serialize)]
struct ReadyEndpoint {
    ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

#[derive(Serialize)]
struct ReadyProcess {
    pid: u32,
    tid: u32,
    name: String,
    thread: String,
    uid: u32,
    start_ns: u64,
}

#[derive(Serialize)]
struct ReadyName {
    pid: u32,
    name: String,
}

#[derive(Serialize)]
struct ReadyUser {
    pid: u32,
    name: String,
    uid: u32,
    start_ns: u64,
    tx: u64,
    rx: u64,
}

#[derive(Serialize)]
struct ReadyCgroup {
    id: String,
}

impl Ready {
    fn of(record: &Record) -> Self {
        use tracer::record::{Direction, Endpoint, Family};
        let family = |family: Family| match family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let endpoint = |end: &Endpoint| ReadyEndpoint {
            ip: end.ip.to_string(),
            port: end.port,
        };
        Self {
            v: record.v,
            time: record.time.to_string(),
            mono_ns: record.mono_ns,
            seq: record.seq,
            host: record.host.to_string(),
            event: record.event.name(),
            id: record.id.to_string(),
            proto: record.proto,
            direction: match record.direction {
                Direction::Inbound => "inbound",
                Direction::Outbound => "outbound",
            },
            family: family(record.family),
            socket_family: record.socket_family.map(family),
            local: endpoint(&record.local),
            remote: endpoint(&record.remote),
            process: record.process.as_ref().map(|process| ReadyProcess {
                pid: process.pid,
                tid: process.tid,
                name: process.name.to_string(),
                thread: process.thread.to_string(),
                uid: process.uid,
                start_ns: process.start_ns,
            }),
            closer: record.closer.as_ref().map(|closer| ReadyName {
                pid: closer.pid,
                name: closer.name.to_string(),
            }),
            users: record
                .users
                .iter()
                .map(|user| ReadyUser {
                    pid: user.pid,
                    name: user.name.to_string(),
                    uid: user.uid,
                    start_ns: user.start_ns,
                    tx: user.tx,
                    rx: user.rx,
                })
                .collect(),
            netns: record.netns,
            cgroup: record.cgroup.as_ref().map(|cgroup| ReadyCgroup {
                id: cgroup.id.to_string(),
            }),
            bytes: record.bytes,
            duration_ns: record.duration_ns,
            latency_ns: record.latency_ns,
            queue_ns: record.queue_ns,
            rtt_us: record.rtt_us,
            retransmits: record.retransmits,
            reason: record.reason,
            closed_by: record.closed_by,
            pre_existing: record.pre_existing,
        }
    }
}
