//! From the kernel's maps to records: reads what is new, asks [`Track`] what it means.
//!
//! Tables can have a million entries. They are read in steps of a thousand, with the ring and all
//! else in between: `steps`.

mod at_end;
mod samples;
mod steps;
mod users;

use std::collections::VecDeque;
use std::io;

use aya::maps::MapError;
use hashbrown::HashSet;
use tracer_common::connection::{Connection, ConnectionKey, flags};
use tracer_common::counters::Counter;
use tracer_common::folded::{FoldedKey, FoldedTotals};
use tracer_common::wire::WireSample;

use crate::bpf::ring::Ring;
use crate::bpf::sample::Samplers;
use crate::bpf::snapshot::{ConnectionsCursor, Maps, UserRow};
use crate::clock;
use crate::decode::Decoded;
use crate::follow;
use crate::record::Out;
use crate::summary::Loss;
use crate::track::Track;
use at_end::AtEnd;
use samples::Samples;
use steps::Step;

/// Ring records read in one go.
const DRAIN: usize = 4096;

/// Counters of calls on sockets without an entry.
const EARLY: [Counter; 3] = [
    Counter::UntrackedAccepts,
    Counter::UntrackedTx,
    Counter::UntrackedRx,
];

/// What the records are to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Every stage of a connection, not only its end.
    pub stages: bool,
    /// Traffic of open connections.
    pub traffic: bool,
}

/// Reads the kernel side.
pub struct Collector {
    maps: Maps,
    track: Track,
    wanted: Wanted,
    samples: Option<Samples>,
    /// What open connections put on the wire, if it is to be told.
    wire: Option<AtEnd<WireSample>>,
    /// Sockets that moved bytes in this traffic interval.
    touched: HashSet<u64>,
    /// What is being read, a step at a time.
    steps: VecDeque<Step>,
    /// Room for the users of one connection.
    rows: Vec<UserRow>,
    /// Ring records since [`Collector::has_heard`] was asked.
    heard: u64,
    unknown_records: u64,
    /// What was counted on older sockets before they were known.
    too_early: [u64; EARLY.len()],
    late_news_seen: u64,
    folded_seen: u64,
    /// News were late: the table has something that nobody told us.
    sweep_due: bool,
    /// The users map was read as a whole in this interval.
    users_scanned: bool,
    /// Connections that have rows in the users map and no table entry: of those that are so again
    /// an interval later, nobody else will remove them.
    orphans: HashSet<ConnectionKey>,
    /// At the end: connections some of whose users were not found.
    unsettled: Vec<(ConnectionKey, Connection)>,
}

impl Collector {
    /// Starts with empty tables, and has the kernel side start counting.
    ///
    /// With a sampler of totals no hook sees bytes, and samples tell those of open connections.
    pub fn start(
        mut maps: Maps,
        mut track: Track,
        wanted: Wanted,
        samplers: Samplers,
    ) -> io::Result<Self> {
        if !wanted.stages {
            track = track.ends_only();
        }
        track.set_wall_offset(clock::wall_offset_ns());
        maps.advance_epoch().map_err(other)?;
        Ok(Self {
            maps,
            track,
            wanted,
            samples: samplers.totals.map(Samples::new),
            wire: samplers.wire.map(AtEnd::new),
            touched: HashSet::new(),
            steps: VecDeque::new(),
            rows: Vec::new(),
            heard: 0,
            unknown_records: 0,
            too_early: [0; EARLY.len()],
            late_news_seen: 0,
            folded_seen: 0,
            sweep_due: false,
            users_scanned: false,
            orphans: HashSet::new(),
            unsettled: Vec::new(),
        })
    }

    /// From now on every socket that has no entry misses one; before, it may have been an older one
    /// that had none yet.
    pub fn older_are_known(&mut self) {
        self.too_early = EARLY.map(|counter| self.maps.counter(counter));
    }

    /// Reads the ring, and takes one step of what else is to be read. Returns whether more is
    /// waiting.
    pub fn drain(&mut self, ring: &mut Ring, out: &mut impl Out) -> io::Result<bool> {
        self.track.set_wall_offset(clock::wall_offset_ns());
        let emptied = self.read_ring(ring, DRAIN, out);
        let late_news = self.maps.counter(Counter::RingFull);
        if late_news != self.late_news_seen {
            self.late_news_seen = late_news;
            self.sweep_due = true;
            self.look_for_late_releases();
        }
        Ok(self.step(ring, out)? || !emptied)
    }

    /// Reads at most `limit` records; returns whether the ring is empty.
    fn read_ring(&mut self, ring: &mut Ring, limit: usize, out: &mut impl Out) -> bool {
        ring.drain(limit, |decoded| {
            self.heard += 1;
            match decoded {
                Decoded::News(key, connection) => {
                    self.take_users(key, &connection);
                    self.track.news(key, &connection, &self.rows, out);
                }
                Decoded::Touched(sk) => {
                    self.touched.insert(sk);
                }
                Decoded::Io(io) => self.track.io(&io, out),
                Decoded::Process(told) => out.process(told),
                Decoded::Unknown => self.unknown_records += 1,
            }
        })
    }

    /// Ends a traffic interval: has what moved in it told by the next steps. An interval lasts
    /// until what the one before it left to read is read.
    pub fn interval(&mut self) -> io::Result<()> {
        if !self.steps.is_empty() {
            return Ok(());
        }
        self.users_scanned = false;
        self.maps.advance_epoch().map_err(other)?;
        if std::mem::take(&mut self.sweep_due) {
            self.sweep();
        }
        if self.wanted.traffic
            && let Some(samples) = &mut self.samples
            && let Some(pass) = samples.begin(clock::mono_ns())?
        {
            self.steps.push_back(Step::Samples(pass));
        }
        if !self.touched.is_empty() {
            let sockets = self.touched.drain().collect();
            self.steps.push_back(Step::Touched(sockets));
        }
        Ok(())
    }

    /// Whether there are connections whose process has ended and that the kernel is still finishing.
    pub fn has_goodbyes(&self) -> io::Result<bool> {
        let mut cursor = ConnectionsCursor::new();
        let mut owners = HashSet::new();
        loop {
            let more = self.maps.next_connections(&mut cursor, |_, connection| {
                if connection.closed_ns == 0
                    && connection.owner.tgid != 0
                    && !connection.is(flags::UNDECIDED)
                {
                    owners.insert(connection.owner.tgid);
                }
            })?;
            if !more {
                break;
            }
        }
        Ok(!owners.into_iter().all(follow::runs))
    }

    /// To be called just before [`stop`](Self::stop): what is open then is read while its sockets
    /// are there.
    pub fn prepare_stop(&mut self) -> io::Result<()> {
        let totals = self.samples.as_mut();
        let totals = totals.map_or(Ok(()), |samples| samples.at_end.take_all());
        totals.and(self.wire.as_mut().map_or(Ok(()), AtEnd::take_all))
    }

    /// Stops the count at this moment.
    pub fn stop(&mut self) -> io::Result<()> {
        self.maps.close_gate().map_err(other)
    }

    /// Once the count has stopped: has everything that is left read by the next steps.
    pub fn read_the_rest(&mut self) -> io::Result<()> {
        self.track.set_wall_offset(clock::wall_offset_ns());
        self.steps.clear();
        self.look_for_late_releases();
        self.steps.extend([Step::open(), Step::Unsettled]);
        // Of connections that came since.
        self.prepare_stop()
    }

    /// Whether there are steps to take.
    pub fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether the ring had something since this was last asked.
    pub fn has_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard) != 0
    }

    /// Hands over the sums of connections that were told to nobody.
    pub fn sums(&self, mut each: impl FnMut(&FoldedKey, &FoldedTotals)) -> io::Result<()> {
        self.maps.sums(|key, totals| each(&key, &totals))
    }

    /// What the kernel side and the ring reader know to be missing or late.
    pub fn loss(&self) -> Loss {
        let count = |counter| self.maps.counter(counter);
        let [untracked_accepts, untracked_tx, untracked_rx] =
            std::array::from_fn(|index| count(EARLY[index]).saturating_sub(self.too_early[index]));
        Loss {
            late_news: count(Counter::RingFull),
            folded_connections: count(Counter::Folded),
            io_records: count(Counter::IoRingFull),
            untracked_inbound: count(Counter::TableFullInbound),
            untracked_outbound: count(Counter::TableFullOutbound),
            untracked_older: count(Counter::TableFullOlder),
            untracked_accepts,
            untracked_tx,
            untracked_rx,
            lost_connections: count(Counter::FoldLost),
            lost_tx: count(Counter::FoldLostTx),
            lost_rx: count(Counter::FoldLostRx),
            users_full: count(Counter::UsersFull),
            not_followed: count(Counter::FollowFull),
            unknown_records: self.unknown_records,
            ..Loss::default()
        }
    }
}

fn other(error: MapError) -> io::Error {
    io::Error::other(error)
}
