//! What an event costs as connections, peers and ports become more, and what memory the tables take:
//! `cargo bench -p tracer --bench growth`.

#![expect(clippy::print_stdout, reason = "figures for people")]
#![expect(clippy::cast_precision_loss, reason = "a million is exact")]

#[allow(dead_code, unreachable_pub, reason = "the other benches use the rest")]
mod mixture;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use hashbrown::HashMap;
use mixture::Tables;
use tracer::aggregate::Aggregate;
use tracer_common::connection::{Connection, ConnectionKey, flags};

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Measuring;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// Rows a table, as by default.
const MAX_ROWS: usize = 100_000;
/// Events that are timed at least.
const EVENTS: u64 = 2_000_000;

fn main() {
    println!(
        "ns an event through track and aggregate; all connections are open at the same time, each with"
    );
    println!(
        "a peer of its own; ports repeat after 60,000; at most {MAX_ROWS} rows a table; bare: what"
    );
    println!("the same keys cost in two maps that do nothing else, one by connection, one by peer");
    println!(
        "{:>11} {:>8} {:>8} {:>8} {:>8} {:>13} {:>10} {:>12}",
        "connections", "births", "bare", "ends", "bare", "most memory", "rows", "other rows"
    );
    for connections in [10, 100, 1_000, 10_000, 100_000, 1_000_000] {
        round(connections);
    }
}

fn round(connections: u64) {
    let base = NOW.load(Ordering::Relaxed);
    MOST.store(base, Ordering::Relaxed);
    let mut track = mixture::track();
    let mut tables = Tables(Aggregate::new(MAX_ROWS));
    let mut maps = Bare::default();
    let (mut births, mut ends) = (0.0, 0.0);
    let (mut bare_births, mut bare_ends) = (0.0, 0.0);
    let rounds = (EVENTS / 2).div_ceil(connections);
    for _ in 0..rounds {
        births += timed(connections, |number| {
            let state = established(number, connections);
            track.news(mixture::key(number, &state), &state, &[], &mut tables);
        });
        ends += timed(connections, |number| {
            let state = established(number, connections);
            let released = Connection {
                closed_ns: state.birth_ns + 900,
                owner_tx: 100,
                flags: state.flags | flags::RELEASED,
                ..state
            };
            track.news(mixture::key(number, &state), &released, &[], &mut tables);
        });
    }
    let most = (MOST.load(Ordering::Relaxed) - base) as f64 / f64::from(1 << 20);
    for _ in 0..rounds {
        bare_births += timed(connections, |number| {
            let state = established(number, connections);
            maps.live.insert(mixture::key(number, &state), [0; 5]);
        });
        bare_ends += timed(connections, |number| {
            let state = established(number, connections);
            maps.live.remove(&mixture::key(number, &state));
            let row = maps.peers.entry(state.flow.remote_ip).or_default();
            row[0] += 1;
        });
    }
    assert_eq!((maps.live.len(), maps.peers.len() as u64), (0, connections));
    let summary = tables.0.finish(run());
    let other = summary.other.peers.map_or(0, |other| other.rows);
    let per_event = |time: f64| time * 1e9 / (rounds * connections) as f64;
    println!(
        "{connections:>11} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {most:>9.1} MiB {:>10} {other:>12}",
        per_event(births),
        per_event(bare_births),
        per_event(ends),
        per_event(bare_ends),
        summary.peers.len(),
    );
    assert_eq!(summary.total.connections(), rounds * connections);
    assert!(summary.peers.len() <= MAX_ROWS);
}

/// Maps of the sizes that the tracer's have, without a bound.
#[derive(Default)]
struct Bare {
    live: HashMap<ConnectionKey, [u64; 5]>,
    peers: HashMap<[u8; 16], [u64; 10]>,
}

/// Seconds, the making of the states included: a copy from the ring costs as much.
fn timed(connections: u64, mut each: impl FnMut(u64)) -> f64 {
    let start = Instant::now();
    for number in 0..connections {
        each(number);
    }
    start.elapsed().as_secs_f64()
}

fn established(number: u64, peers: u64) -> Connection {
    let born = mixture::state(number, peers, 60_000);
    Connection {
        established_ns: born.birth_ns + 40,
        accepted_ns: born.birth_ns + 60,
        ..born
    }
}

fn run() -> tracer::aggregate::Run {
    tracer::aggregate::Run {
        time: tracer::record::WallTime(0),
        host: None,
        traced: None,
        loss: None,
        kernel: None,
        replay: None,
        sampled: None,
    }
}
