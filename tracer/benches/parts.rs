//! What each part of userspace costs: `cargo bench -p tracer --bench parts`.

#[allow(dead_code, unreachable_pub, reason = "the other benches use the rest")]
mod mixture;

use bytes::BytesMut;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use mixture::Tables;
use tracer::aggregate::Aggregate;
use tracer::decode::decode;
use tracer::record::{Out, Record};
use tracer::sink::Format;
use tracer::sink::json::Json;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::Divan::default()
        .max_time(std::time::Duration::from_secs(2))
        .main();
}

fn ring() -> Vec<Vec<u8>> {
    mixture::ring_records(0, 2_000, 300, 40)
}

fn records() -> Vec<Record> {
    let mut records = Vec::new();
    mixture::replay(&ring(), &mut mixture::track(), &mut records);
    records
}

struct Nowhere;

impl Out for Nowhere {
    fn push(&mut self, record: Record) {
        black_box(&record);
    }
}

/// Ring bytes to values.
#[divan::bench]
fn decoding(bencher: Bencher<'_, '_>) {
    let ring = ring();
    bencher
        .counter(ItemsCount::new(ring.len()))
        .bench_local(|| {
            for bytes in &ring {
                black_box(decode(black_box(bytes)));
            }
        });
}

/// Ring bytes to records.
#[divan::bench]
fn decoding_and_tracking(bencher: Bencher<'_, '_>) {
    let (ring, mut track) = (ring(), mixture::track());
    bencher
        .counter(ItemsCount::new(ring.len()))
        .bench_local(|| mixture::replay(black_box(&ring), &mut track, &mut Nowhere));
}

/// Records to tables.
#[divan::bench]
fn aggregating(bencher: Bencher<'_, '_>) {
    let (records, mut tables) = (records(), Aggregate::new(100_000));
    bencher
        .counter(ItemsCount::new(records.len()))
        .bench_local(|| {
            for record in &records {
                tables.add(black_box(record));
            }
        });
}

/// Records to JSON lines.
#[divan::bench]
fn json(bencher: Bencher<'_, '_>) {
    let (records, mut out) = (records(), BytesMut::new());
    bencher
        .counter(ItemsCount::new(records.len()))
        .bench_local(|| {
            out.clear();
            for record in &records {
                Json.record(black_box(record), &mut out);
            }
        });
}

/// Ring bytes to tables.
#[divan::bench]
fn replay_to_tables(bencher: Bencher<'_, '_>) {
    let (ring, mut track) = (ring(), mixture::track());
    let mut tables = Tables(Aggregate::new(100_000));
    bencher
        .counter(ItemsCount::new(ring.len()))
        .bench_local(|| mixture::replay(black_box(&ring), &mut track, &mut tables));
}

struct TablesAndJson(Tables, BytesMut);

impl Out for TablesAndJson {
    fn push(&mut self, record: Record) {
        if self.1.len() > 64 << 10 {
            self.1.clear();
        }
        Json.record(&record, &mut self.1);
        self.0.push(record);
    }
}

/// Ring bytes to tables and JSON lines.
#[divan::bench]
fn replay_to_tables_and_json(bencher: Bencher<'_, '_>) {
    let (ring, mut track) = (ring(), mixture::track());
    let mut out = TablesAndJson(Tables(Aggregate::new(100_000)), BytesMut::new());
    bencher
        .counter(ItemsCount::new(ring.len()))
        .bench_local(|| mixture::replay(black_box(&ring), &mut track, &mut out));
}
