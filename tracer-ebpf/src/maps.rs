//! Maps and globals, each with the reason for its type and size. Names are those of
//! `tracer_common::{map, global}`; sizes marked "set at load" are placeholders.

use core::cell::UnsafeCell;

use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
};
use tracer_common::{
    ABI_VERSION,
    config::{CLOSED, Config},
    connection::{Connection, ConnectionKey},
    counters::Counter,
    filter::{Filter, IdKey, MAX_IDS, NameKey, PORT_WORDS},
    folded::{FOLDED_ROWS, FoldedKey, FoldedTotals, TALLY_ROWS},
    follow::MAX_FOLLOWED,
    offsets::Offsets,
    process::TOLD_ROWS,
    users::{UserKey, UserTotals},
};

use crate::{no_route::Attempt, process::Run, untracked::Untracked};

/// One entry a live connection. Not preallocated: a quiet host pays for the buckets only.
/// Size set at load (`--max-connections`).
#[map]
pub static CONNECTIONS: HashMap<u64, Connection> =
    HashMap::with_max_entries(262_144, BPF_F_NO_PREALLOC);

/// Released connections that found the ring full, until the reader fetches them. Empty unless
/// the reader is slow. Size set at load.
#[map]
pub static PENDING: HashMap<ConnectionKey, Connection> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// Sums of what did not fit into `PENDING`.
#[map]
pub static FOLDED: HashMap<FoldedKey, FoldedTotals> =
    HashMap::with_max_entries(FOLDED_ROWS, BPF_F_NO_PREALLOC);

/// Sums of all connections that are over, when nobody wants more. Size set at load.
#[map]
pub static TALLY: HashMap<FoldedKey, FoldedTotals> =
    HashMap::with_max_entries(TALLY_ROWS, BPF_F_NO_PREALLOC);

/// Processes beyond the owner. Size set at load with `CONNECTIONS`.
#[map]
pub static USERS: HashMap<UserKey, UserTotals> =
    HashMap::with_max_entries(262_144, BPF_F_NO_PREALLOC);

/// Processes that were told. Nobody says when one ends, so the longest unused makes room; that costs
/// one more record. Size set at load.
#[map]
pub static TOLD: LruHashMap<Run, u8> = LruHashMap::with_max_entries(TOLD_ROWS, 0);

/// The news. Size set at load (`--ring-size`).
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Loss counters; per CPU, so counting costs no cache line from elsewhere.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Bit sets: a test is one inlined array look-up.
#[map]
pub static LOCAL_PORTS: Array<u64> = Array::with_max_entries(PORT_WORDS, 0);

/// See [`LOCAL_PORTS`].
#[map]
pub static REMOTE_PORTS: Array<u64> = Array::with_max_entries(PORT_WORDS, 0);

/// Tasks that are looking for a route in `connect`; keys are thread ids. A look-up takes
/// microseconds, so this is room for many; preallocated, which is faster.
#[map]
pub static CONNECTING: HashMap<u64, Attempt> = HashMap::with_max_entries(1024, 0);

/// Marks of connections that found no room. Empty unless the table was full.
#[map]
pub static UNTRACKED: HashMap<u64, Untracked> =
    HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);

/// Pids, uids and namespaces of the filter; small, so preallocated.
#[map]
pub static IDS: HashMap<IdKey, u8> = HashMap::with_max_entries(MAX_IDS, 0);

/// Processes that are followed. Preallocated: it is read and written by programs of every kind. Size
/// set at load: one where nobody is followed.
#[map]
pub static FOLLOWED: HashMap<u32, u64> = HashMap::with_max_entries(MAX_FOLLOWED, 0);

/// Prefixes of the filter, as [`tracer_common::filter::PrefixKey`] has them. Size set at load.
#[map]
pub static PREFIXES: LpmTrie<[u8; 20], u8> = LpmTrie::with_max_entries(1, 0);

/// Names of processes and devices of the filter. Size set at load.
#[map]
pub static NAMES: HashMap<NameKey, u8> = HashMap::with_max_entries(1, 0);

/// Ids of cgroups of the filter. Size set at load.
#[map]
pub static CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(1, 0);

/// A word that changes while the programs run. Each is in a section, and so in a map, of its own:
/// the user side writes maps as a whole. Unlike an array's, its address is in the program's code.
#[repr(transparent)]
pub struct Word(UnsafeCell<u32>);

// SAFETY: an aligned word, read and written at once.
unsafe impl Sync for Word {}

impl Word {
    #[inline(always)]
    pub fn get(&self) -> u32 {
        // SAFETY: a live word; volatile because others write it.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    pub fn set(&self, value: u32) {
        // SAFETY: as above.
        unsafe { self.0.get().write_volatile(value) }
    }
}

/// The traffic epoch, and the gate: nothing is counted in epoch [`CLOSED`]. Programs are attached
/// and detached one after the other, so the reader opens the gate when all are there and closes it
/// before it reads the totals.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.epoch")]
static EPOCH: Word = Word(UnsafeCell::new(CLOSED));

/// 1 once a connection found no room: until then nobody looks for marks.
#[unsafe(link_section = ".data.untracked")]
pub static ANY_UNTRACKED: Word = Word(UnsafeCell::new(0));

/// Read by the user side before it loads anything.
#[unsafe(no_mangle)]
pub static CONNTRACER_ABI: Global<u32> = Global::new(ABI_VERSION);

/// Where this kernel keeps its fields.
#[unsafe(no_mangle)]
pub static OFFSETS: Global<Offsets> = Global::new(Offsets::POISONED);

/// What to trace.
#[unsafe(no_mangle)]
pub static FILTER: Global<Filter> = Global::new(Filter {
    tests: 0,
    family: 0,
    inbound: 0,
    lowest_port: 0,
    highest_port: 0,
});

/// What to report.
#[unsafe(no_mangle)]
pub static CONFIG: Global<Config> = Global::new(Config {
    features: 0,
    wake_bytes: 0,
});

/// Template for new entries: inserting it and editing the entry in place needs no stack and no
/// per-CPU scratch that a second program could overwrite.
pub static NO_CONNECTION: Connection = Connection::EMPTY;
/// See [`NO_CONNECTION`].
pub static NO_USER: UserTotals = UserTotals::EMPTY;
/// See [`NO_CONNECTION`].
pub static NO_FOLD: FoldedTotals = FoldedTotals::EMPTY;

/// Adds to a loss counter.
#[inline(always)]
pub fn count(counter: Counter, n: u64) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // The slot belongs to this CPU, but an interrupt can run a program between load and store.
        add(slot, n);
    }
}

/// Adds to a total that several CPUs share.
#[inline(always)]
pub fn add(total: *mut u64, n: u64) {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // SAFETY: `total` points into a live map value; the result is not used, so every kernel
    // takes the instruction.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(total, n) };
}

/// The current traffic epoch; `None` while the gate is closed.
#[inline(always)]
pub fn epoch() -> Option<u32> {
    // A stale value only moves a report by one interval.
    let epoch = EPOCH.get();
    (epoch != CLOSED).then_some(epoch)
}

/// Whether nothing is to be counted now.
#[inline(always)]
pub fn gate_is_closed() -> bool {
    epoch().is_none()
}
