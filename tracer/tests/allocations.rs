//! What is seen again and again takes no memory: after the first round of the same peers, ports
//! and processes, an event allocates nothing, as JSON either.

#[path = "../benches/mixture/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the benches use the rest")]
mod mixture;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::BytesMut;
use tracer::aggregate::Aggregate;
use tracer::record::{Out, Record};
use tracer::sink::Format;
use tracer::sink::json::Json;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tables and lines, as the publisher makes them.
struct Sinks {
    tables: Aggregate,
    lines: BytesMut,
    json: Json,
}

impl Out for Sinks {
    fn push(&mut self, record: Record) {
        self.tables.add(&record);
        if self.lines.len() > 32 << 10 {
            self.lines.clear();
        }
        self.json.record(&record, &mut self.lines);
    }
}

/// The only test of this program: another thread's allocations would count as well.
#[test]
fn an_event_like_those_before_allocates_nothing() {
    let mut track = mixture::track();
    let mut sinks = Sinks {
        tables: Aggregate::new(100_000),
        lines: BytesMut::with_capacity(64 << 10),
        json: Json,
    };
    let warm = mixture::ring_records(0, 20_000, 300, 40);
    let more = mixture::ring_records(20_000, 20_000, 300, 40);
    mixture::replay(&warm, &mut track, &mut sinks);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    mixture::replay(&more, &mut track, &mut sinks);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(before > 0, "it counts");
    assert!(more.len() > 80_000);
    assert_eq!(allocations, 0, "of {} ring records", more.len());
    assert_eq!(track.live(), 0);
}
