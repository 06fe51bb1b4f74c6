//! From settings to attached programs.

use std::io;
use std::thread;

use aya::maps::{Array, HashMap, MapData, MapError, RingBuf};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use tracer_common::config::{Config, feature};
use tracer_common::connection::{Connection, ConnectionKey};
use tracer_common::filter::{Filter, IdKey, PORT_WORDS, PrefixKey};
use tracer_common::folded::{FOLDED_ROWS, FoldedKey, FoldedTotals, TALLY_ROWS};
use tracer_common::follow::MAX_FOLLOWED;
use tracer_common::process::TOLD_ROWS;
use tracer_common::users::{UserKey, UserTotals};
use tracer_common::{global, map};
use zerocopy::IntoBytes;

use super::attach::{self, Outcome};
use super::btf::KERNEL_BTF;
use super::chosen::{self, Chosen};
use super::follow::Followed;
use super::kernel::{Kernel, Traits};
use super::log::Log;
use super::object::{self, ObjectError};
use super::offsets::OffsetsError;
use super::older;
use super::programs::{self, Accounting, Backend, Failure, Need, PROGRAMS, Spec};
use super::sample::{self, Sampler, Samplers};
use super::snapshot::Maps;
use super::undisturbed::MapCalls;
use crate::choose::Choice;
use crate::namespaces::Namespace;
use crate::options::values::DEFAULT_MAX_CONNECTIONS;
use crate::preflight::memlock::MapSize;
use crate::say::say;

/// Everything the programs are told before they run.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Which tests apply.
    pub filter: Filter,
    /// Local port set, if that test applies.
    pub local_ports: Option<&'a [u64; PORT_WORDS as usize]>,
    /// Remote port set, if that test applies.
    pub remote_ports: Option<&'a [u64; PORT_WORDS as usize]>,
    /// Members of the pid, uid and namespace sets.
    pub ids: Vec<IdKey>,
    /// Members of the other sets.
    pub choice: &'a Choice,
    /// Bits of [`tracer_common::config::feature`].
    pub features: u32,
    /// Ring size in bytes: a power of two pages.
    pub ring_bytes: u32,
    /// Entries of the connection table.
    pub max_connections: u32,
    /// Where bytes come from.
    pub accounting: Accounting,
    /// Whether to attach the programs that need [`Need::AcceptHooks`].
    pub accept_hooks: bool,
    /// Whether the programs' log lines are wanted.
    pub debug: bool,
}

impl Settings<'_> {
    /// Sizes of the large maps, for kernels that charge them to the locked-memory limit.
    pub fn map_sizes(&self) -> [MapSize; 9] {
        let hash = |key: usize, value: usize, entries| MapSize::Hash {
            key: u32::try_from(key).unwrap_or(u32::MAX),
            value: u32::try_from(value).unwrap_or(u32::MAX),
            entries,
        };
        let pending = pending_entries(self.max_connections);
        [
            hash(
                size_of::<u64>(),
                size_of::<Connection>(),
                self.max_connections,
            ),
            hash(
                size_of::<UserKey>(),
                size_of::<UserTotals>(),
                self.max_connections,
            ),
            hash(size_of::<ConnectionKey>(), size_of::<Connection>(), pending),
            hash(
                size_of::<FoldedKey>(),
                size_of::<FoldedTotals>(),
                FOLDED_ROWS,
            ),
            hash(
                size_of::<FoldedKey>(),
                size_of::<FoldedTotals>(),
                tally_rows(self),
            ),
            hash(TOLD_KEY, size_of::<u8>(), told_rows(self)),
            hash(size_of::<u32>(), size_of::<u64>(), followed_entries(self)),
            MapSize::Ring {
                bytes: self.ring_bytes,
            },
            // A trie, which is charged for all its entries likewise.
            hash(
                size_of::<PrefixKey>(),
                size_of::<u8>(),
                self.choice.prefix_room(),
            ),
        ]
    }
}

/// Why tracing cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// See [`ObjectError`].
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The kernel's type information cannot be read.
    #[error(
        "cannot read the kernel's type information in {}: {reason}; conntracer needs a kernel built \
         with CONFIG_DEBUG_INFO_BTF=y (all current distribution kernels are)",
        KERNEL_BTF
    )]
    Btf {
        /// In the reader's words.
        reason: String,
    },
    /// See [`OffsetsError`].
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    /// The maps cannot be created.
    #[error("the kernel refused to create the eBPF maps: {0}")]
    Maps(String),
    /// A map can be taken once.
    #[error("the eBPF map {0} is not there any more")]
    MapTaken(&'static str),
    /// A backend cannot be used.
    #[error("backend {} cannot be used here: {}", .0.backend.name(), .0.reasons())]
    Backend(Refusal),
}

/// Why a backend cannot be used.
#[derive(Debug)]
pub struct Refusal {
    /// Which.
    pub backend: Backend,
    /// The required programs that cannot be attached; never empty.
    pub failures: Vec<Failure>,
    /// Optional ones.
    pub missing: Vec<Failure>,
}

impl Refusal {
    /// A reason per hook; hooks with the same reason share it.
    pub fn reasons(&self) -> String {
        let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
        for failure in &self.failures {
            let hook = failure.spec.hook.to_string();
            match reasons
                .iter_mut()
                .find(|(reason, _)| *reason == failure.reason)
            {
                Some((_, hooks)) => hooks.push(hook),
                None => reasons.push((&failure.reason, vec![hook])),
            }
        }
        let reasons: Vec<_> = reasons
            .iter()
            .map(|(reason, hooks)| format!("{}: {reason}", hooks.join(", ")))
            .collect();
        reasons.join("; ")
    }
}

/// Attached programs and their maps. Dropping it detaches everything.
#[derive(Debug)]
pub struct Tracer {
    ebpf: Ebpf,
    /// How they are attached.
    pub backend: Backend,
    /// Why the kernel may skip events unseen, if so: it preempts programs, and skips them meanwhile
    /// for every other task on that CPU.
    pub unsteady: Option<String>,
    /// The backends that were tried before.
    pub refused: Vec<Refusal>,
    /// Optional programs that are not attached, and why.
    pub missing: Vec<Failure>,
    /// Where bytes come from.
    pub accounting: Accounting,
    attached: Vec<&'static str>,
    preempting: bool,
}

impl Tracer {
    /// Creates the maps, fills in filter, offsets and switches, and attaches the programs of the
    /// first of `backends` that can be attached: that a program loads proves nothing.
    pub fn start(settings: &Settings<'_>, backends: &[Backend]) -> Result<Self, LoadError> {
        // Either reads all types; aya's own reading takes 20 ms, and nothing asks for its result.
        let (kernel, loader) = thread::scope(|scope| {
            let loader = scope.spawn(EbpfLoader::new);
            (Kernel::read(), loader.join())
        });
        let kernel = kernel?;
        let mut loader = loader.map_err(|_| LoadError::Maps("the loader failed".to_owned()))?;
        let configs: Vec<_> = backends
            .iter()
            .map(|backend| config(*backend, settings, kernel.traits))
            .collect();
        let mut refused = Vec::new();
        // Where there is another choice, one reason is enough; who asked by name gets them all.
        let thorough = backends.len() == 1;
        for (backend, config) in backends.iter().zip(&configs) {
            loader.override_global(global::CONFIG, config.as_bytes(), true);
            match Self::start_as(
                *backend,
                settings,
                &kernel,
                kernel.traits,
                thorough,
                &mut loader,
            ) {
                Ok(mut tracer) => {
                    // Nothing is counted yet.
                    chosen::fill(&mut tracer.ebpf, settings.choice)
                        .map_err(|error| map_error(&error))?;
                    return Ok(Self { refused, ..tracer });
                }
                Err(LoadError::Backend(refusal)) => refused.push(refusal),
                Err(error) => return Err(error),
            }
        }
        // With nothing to choose from, or at the end of the choices, the last refusal counts most.
        match refused.pop() {
            Some(refusal) => Err(LoadError::Backend(refusal)),
            None => Err(LoadError::Maps("no backend was asked for".to_owned())),
        }
    }

    /// `loader` has the switches already.
    fn start_as<'a>(
        backend: Backend,
        settings: &'a Settings<'_>,
        kernel: &'a Kernel,
        traits: Traits,
        thorough: bool,
        loader: &mut EbpfLoader<'a>,
    ) -> Result<Self, LoadError> {
        let wanted: Vec<_> = programs::of(backend, traits)
            .filter(|spec| {
                let unwanted = matches!(spec.need, Need::AcceptHooks(_)) && !settings.accept_hooks;
                !unwanted && spec.serves(settings.features) && spec.counts_by(settings.accounting)
            })
            .collect();
        let preallocate = backend.wants_preallocation() && !kernel.maps_allocate_safely;
        let preallocated: &[_] = if preallocate { &PREALLOCATED } else { &[] };
        let log_level = if settings.debug { &u8::MAX } else { &0 };
        loader
            // The object has no CO-RE relocations.
            .btf(None)
            .override_global(global::OFFSETS, kernel.offsets.as_bytes(), true)
            .override_global(global::FILTER, settings.filter.as_bytes(), true)
            .override_global(aya_log::LEVEL, log_level, false);
        let mut load = |specs: &[&Spec], entries: &[(&'a str, u32)]| {
            for (map, entries) in entries {
                loader.map_max_entries(map, *entries);
            }
            let names: Vec<_> = specs.iter().map(|spec| spec.name).collect();
            let object = object::cut(&names, preallocated)?;
            loader.load(&object).map_err(|error| map_error(&error))
        };
        let sizes = map_entries(settings, preallocate);
        let refused = |failures, missing| {
            LoadError::Backend(Refusal {
                backend,
                failures,
                missing,
            })
        };
        // Tables of their full size, and 20 programs with all that they call, cost 20 ms: too much
        // for a backend whose first program may be refused.
        let first = wanted.first().filter(|spec| attach::may_be_refused(spec));
        if let Some(first) = first.filter(|_| !thorough) {
            let mut ebpf = load(&[first], &sizes.map(|(map, _)| (map, 1)))?;
            if let Err(failure) = attach::ask(&mut ebpf, &kernel.btf, first) {
                return Err(refused(vec![failure], Vec::new()));
            }
        }
        let mut ebpf = load(&wanted, &sizes)?;
        fill_filter(&mut ebpf, settings).map_err(|error| map_error(&error))?;
        let Outcome {
            attached,
            missing,
            failures,
        } = attach::attach(&mut ebpf, &kernel.btf, &wanted, thorough);
        if !failures.is_empty() {
            return Err(refused(failures, missing));
        }
        let found = traits.but_for(&missing);
        if found != traits {
            // The programs were told that others count, which cannot be had.
            drop(ebpf);
            let config = config(backend, settings, found);
            let mut loader = EbpfLoader::new();
            loader.override_global(global::CONFIG, config.as_bytes(), true);
            return Self::start_as(backend, settings, kernel, found, thorough, &mut loader);
        }
        Ok(Self {
            ebpf,
            backend,
            missing,
            unsteady: kernel.unsteady().map(str::to_owned),
            refused: Vec::new(),
            accounting: settings.accounting,
            attached,
            preempting: traits.preempting,
        })
    }

    /// Finds the connections that are older than the programs, in these namespaces; returns in how
    /// many of them it may not.
    pub fn find_older(&mut self, namespaces: &[Namespace]) -> io::Result<usize> {
        if !older::PROGRAMS.iter().all(|program| self.has(program)) {
            return Ok(0);
        }
        older::take(&mut self.ebpf, namespaces)
    }

    /// Whether a program is attached.
    pub fn has(&self, program: &str) -> bool {
        self.attached.contains(&program)
    }

    /// Whether programs see the bytes of open connections.
    pub fn sees_bytes(&self) -> bool {
        let blind = |failure: &Failure| matches!(failure.spec.need, Need::Bytes(_));
        self.accounting == Accounting::Process && !self.missing.iter().any(blind)
    }

    /// Takes the ring buffer; an error the second time.
    pub fn take_ring(&mut self) -> Result<RingBuf<MapData>, LoadError> {
        let ring = self
            .ebpf
            .take_map(map::EVENTS)
            .ok_or(LoadError::MapTaken(map::EVENTS))?;
        RingBuf::try_from(ring).map_err(|error| map_error(&error))
    }

    /// Takes the maps that are read while and after the programs run.
    pub fn take_maps(&mut self) -> Result<Maps, LoadError> {
        let calls = MapCalls {
            can_be_preempted: self.preempting,
        };
        Maps::take(&mut self.ebpf, calls).map_err(|error| map_error(&error))
    }

    /// Takes the list of the processes that are followed.
    pub fn take_followed(&mut self) -> Result<Followed, LoadError> {
        let calls = self.calls();
        Followed::take(&mut self.ebpf, calls).map_err(|error| map_error(&error))
    }

    /// Takes the sets that can change while the programs run; `choice` is what they are filled with.
    pub fn take_chosen(&mut self, choice: &Choice) -> Result<Chosen, LoadError> {
        let calls = self.calls();
        Chosen::take(&mut self.ebpf, choice, calls).map_err(|error| map_error(&error))
    }

    fn calls(&self) -> MapCalls {
        MapCalls {
            can_be_preempted: self.preempting,
        }
    }

    /// What samples the open connections; to be asked before [`take_maps`](Self::take_maps).
    pub fn samplers(&self) -> io::Result<Samplers> {
        Ok(Samplers {
            totals: self.sampler(sample::TOTALS)?,
            wire: self.sampler(sample::WIRE)?,
        })
    }

    fn sampler<S>(&self, program: &str) -> io::Result<Option<Sampler<S>>> {
        if !self.has(program) {
            return Ok(None);
        }
        Sampler::new(&self.ebpf, program).map(Some)
    }

    /// Takes the kernel side's log, which is silent without [`Settings::debug`].
    pub fn take_log(&mut self) -> Result<EbpfLogger<Log>, LoadError> {
        EbpfLogger::init_with_logger(&mut self.ebpf, Log).map_err(|error| map_error(&error))
    }

    /// Says how often the kernel skipped each program.
    pub fn say_missed_runs(&self) {
        for name in &self.attached {
            if let Some(missed) = self.missed(name).filter(|missed| *missed > 0) {
                say(&format!("debug: program {name}: {missed} runs skipped"));
            }
        }
    }

    fn missed(&self, name: &str) -> Option<u64> {
        let fd = self.ebpf.program(name)?.fd().ok()?;
        recursion_misses(fd).ok().flatten()
    }

    /// Runs that the kernel skipped because a program was running on the same CPU already.
    ///
    /// Of programs that report the same events, only what all missed counts: at most as many as the
    /// luckiest one missed. Without preemption that is none, whatever they missed.
    pub fn missed_runs(&self) -> u64 {
        let attached = || PROGRAMS.iter().filter(|spec| self.has(spec.name));
        let missed = |last: &'static Spec| {
            let twins = attached().filter(|spec| spec.twin == Some(last.name));
            let has_twins = twins.clone().next().is_some();
            if has_twins && !self.preempting && self.unsteady.is_none() {
                return None;
            }
            let all = twins.chain([last]);
            all.filter_map(|spec| self.missed(spec.name)).min()
        };
        attached()
            .filter(|spec| spec.twin.is_none())
            .filter_map(missed)
            .sum()
    }
}

/// Whether attempts without a route are told; the programs that do it must be told to tell them
/// from others.
fn routes(settings: &Settings<'_>, backend: Backend) -> u32 {
    match backend {
        Backend::Tracepoint if !settings.accept_hooks => 0,
        _ => feature::ROUTES,
    }
}

fn map_error(error: &dyn std::error::Error) -> LoadError {
    LoadError::Maps(attach::chain(error))
}

fn config(backend: Backend, settings: &Settings<'_>, traits: Traits) -> Config {
    let found = backend.features() | traits.features(backend) | routes(settings, backend);
    Config {
        features: settings.features | settings.accounting.features(found),
        wake_bytes: wake_bytes(settings),
    }
}

/// The maps that programs which may not allocate write.
const PREALLOCATED: [&str; 6] = [
    map::CONNECTIONS,
    map::USERS,
    map::PENDING,
    map::FOLDED,
    map::TALLY,
    map::UNTRACKED,
];

/// The maps whose size is ours, and it.
fn map_entries(settings: &Settings<'_>, preallocate: bool) -> [(&'static str, u32); 10] {
    // Preallocated, the default would take 150 MB for nothing on most hosts.
    let connections = match settings.max_connections {
        DEFAULT_MAX_CONNECTIONS if preallocate => DEFAULT_MAX_CONNECTIONS / 4,
        chosen => chosen,
    };
    [
        (map::EVENTS, settings.ring_bytes),
        (map::CONNECTIONS, connections),
        (map::USERS, connections),
        (map::PENDING, pending_entries(connections)),
        (map::TALLY, tally_rows(settings)),
        (map::TOLD, told_rows(settings)),
        (map::FOLLOWED, followed_entries(settings)),
        (map::PREFIXES, settings.choice.prefix_room()),
        (map::NAMES, chosen::name_room(settings.choice)),
        (map::CGROUPS, chosen::cgroup_room(settings.choice)),
    ]
}

/// A quarter of the ring, so that a burst wakes the reader while there is room; a large ring
/// wakes it at 64 KiB, when reading is worth a wake-up.
fn wake_bytes(settings: &Settings<'_>) -> u32 {
    (settings.ring_bytes / 4).min(64 << 10)
}

/// Released connections wait here only while the reader is late; a quarter of the table is ample,
/// and what does not fit is kept as sums.
fn pending_entries(max_connections: u32) -> u32 {
    (max_connections / 4).max(64)
}

/// Whether the filter is on processes that are followed.
fn follows(settings: &Settings<'_>) -> bool {
    settings.features & feature::FOLLOW != 0
}

fn followed_entries(settings: &Settings<'_>) -> u32 {
    if follows(settings) { MAX_FOLLOWED } else { 1 }
}

/// Where records are wanted, there are no sums.
fn tally_rows(settings: &Settings<'_>) -> u32 {
    if settings.features & feature::STAGES == 0 {
        TALLY_ROWS
    } else {
        1
    }
}

/// Bytes of the kernel side's own key.
const TOLD_KEY: usize = 16;

/// Where nobody asks, none are told.
fn told_rows(settings: &Settings<'_>) -> u32 {
    if settings.features & feature::PROCESSES == 0 {
        1
    } else {
        TOLD_ROWS
    }
}

fn fill_filter(ebpf: &mut Ebpf, settings: &Settings<'_>) -> Result<(), MapError> {
    for (name, words) in [
        (map::LOCAL_PORTS, settings.local_ports),
        (map::REMOTE_PORTS, settings.remote_ports),
    ] {
        let Some(words) = words else { continue };
        let Some(found) = ebpf.map_mut(name) else {
            continue;
        };
        let mut array: Array<_, u64> = Array::try_from(found)?;
        for (index, word) in (0..).zip(words).filter(|(_, word)| **word != 0) {
            array.set(index, word, 0)?;
        }
    }
    if let Some(found) = ebpf.map_mut(map::IDS) {
        let mut ids: HashMap<_, [u32; 2], u8> = HashMap::try_from(found)?;
        for id in &settings.ids {
            ids.insert([id.set, id.value], 1, 0)?;
        }
    }
    Ok(())
}

/// The kernel shows this counter in a program's `fdinfo` only (5.12+).
fn recursion_misses(fd: &aya::programs::ProgramFd) -> io::Result<Option<u64>> {
    use std::os::fd::{AsFd, AsRawFd};
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    Ok(text
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))
        .and_then(|count| count.trim().parse().ok()))
}
