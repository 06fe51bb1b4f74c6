//! From the kernel's maps to records: reads what is new, asks [`Track`] what it means.

use std::io;

use aya::maps::MapError;
use hashbrown::{HashMap, HashSet};
use tracer_common::connection::{Connection, ConnectionKey, flags};
use tracer_common::counters::Counter;

use crate::aggregate::Aggregate;
use crate::bpf::ring::Ring;
use crate::bpf::sample::Sampler;
use crate::bpf::snapshot::{Maps, UserRow, adds_up};
use crate::clock;
use crate::decode::Decoded;
use crate::record::Record;
use crate::samples::Samples;
use crate::summary::Loss;
use crate::track::Track;

/// Ring records read in one go.
const DRAIN: usize = 4096;

/// Connections looked up in one go.
const LOOK_UPS: usize = 1024;

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
    /// Sockets that moved bytes in this traffic interval.
    touched: HashSet<u64>,
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
}

impl Collector {
    /// Starts with empty tables, and has the kernel side start counting.
    ///
    /// With a `sampler` no hook sees bytes, and samples tell those of open connections.
    pub fn start(
        mut maps: Maps,
        mut track: Track,
        wanted: Wanted,
        sampler: Option<Sampler>,
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
            samples: sampler.map(Samples::new),
            touched: HashSet::new(),
            unknown_records: 0,
            too_early: [0; EARLY.len()],
            late_news_seen: 0,
            folded_seen: 0,
            sweep_due: false,
            users_scanned: false,
            orphans: HashSet::new(),
        })
    }

    /// From now on every socket that has no entry misses one; before, it may have been an older one
    /// that had none yet.
    pub fn older_are_known(&mut self) {
        self.too_early = EARLY.map(|counter| self.maps.counter(counter));
    }

    /// Reads the ring, and what did not fit into it. Returns whether more is waiting.
    pub fn drain(&mut self, ring: &mut Ring, out: &mut Vec<Record>) -> io::Result<bool> {
        self.track.set_wall_offset(clock::wall_offset_ns());
        let emptied = self.read_ring(ring, DRAIN, out);
        let late_news = self.maps.counter(Counter::RingFull);
        if late_news != self.late_news_seen {
            self.late_news_seen = late_news;
            self.sweep_due = true;
            self.take_late_releases(ring, out)?;
        }
        Ok(self.sample(out)? || !emptied)
    }

    /// A step of the pass over the open connections, if there is one. Returns whether there is more.
    fn sample(&mut self, out: &mut Vec<Record>) -> io::Result<bool> {
        let Some(samples) = &mut self.samples else {
            return Ok(false);
        };
        let moved = samples.step(&mut self.track)?;
        let more = samples.are_due();
        let now_ns = clock::mono_ns();
        let sockets: Vec<u64> = moved.iter().map(|sample| sample.sk).collect();
        let mut moved = moved.iter();
        for (key, mut connection) in self.maps.connections_on(&sockets) {
            // They come in the same order, without those that are gone.
            let Some(sample) = moved.find(|sample| sample.sk == key.sk) else {
                break;
            };
            sample.apply(&mut connection);
            self.track.traffic(key, &connection, now_ns, out);
        }
        Ok(more)
    }

    /// Reads at most `limit` records; returns whether the ring is empty.
    fn read_ring(&mut self, ring: &mut Ring, limit: usize, out: &mut Vec<Record>) -> bool {
        ring.drain(limit, |decoded| match decoded {
            Decoded::News(key, connection) => {
                let users = self.take_users(key, &connection);
                self.track.news(key, &connection, &users, out);
            }
            Decoded::Touched(sk) => {
                self.touched.insert(sk);
            }
            Decoded::Io(io) => self.track.io(&io, out),
            Decoded::Unknown => self.unknown_records += 1,
        })
    }

    /// The users of a connection that is over; nobody asks before.
    fn take_users(&mut self, key: ConnectionKey, connection: &Connection) -> Vec<UserRow> {
        if connection.last_user == 0 || !connection.is(flags::RELEASED) {
            return Vec::new();
        }
        let mut users = self.maps.users(key, connection);
        if !adds_up(connection, &users) {
            users = self.scan_users(key).unwrap_or(users);
        }
        self.maps.forget_users(&users);
        users
    }

    /// Reads the whole users map for one connection, at most once an interval, and not if rows are
    /// missing because the map was full. What is not found stays unattributed.
    fn scan_users(&mut self, key: ConnectionKey) -> Option<Vec<UserRow>> {
        if self.users_scanned || self.maps.counter(Counter::UsersFull) != 0 {
            return None;
        }
        self.users_scanned = true;
        self.maps.all_users().ok()?.remove(&key)
    }

    /// The pending map is read first and told last: news of the same connections are in the ring
    /// already, and must not come after their end.
    fn take_late_releases(&mut self, ring: &mut Ring, out: &mut Vec<Record>) -> io::Result<()> {
        let late = self.maps.take_pending()?;
        self.read_ring(ring, ring.most_records(), out);
        self.track.age_late_releases();
        for (key, connection) in late {
            let users = self.take_users(key, &connection);
            self.track.late_release(key, &connection, &users, out);
        }
        Ok(())
    }

    /// Ends a traffic interval: tells what moved in it.
    pub fn interval(&mut self, ring: &mut Ring, out: &mut Vec<Record>) -> io::Result<()> {
        self.track.set_wall_offset(clock::wall_offset_ns());
        self.users_scanned = false;
        let epoch = self.maps.advance_epoch().map_err(other)?;
        let now_ns = clock::mono_ns();
        if std::mem::take(&mut self.sweep_due) {
            self.take_late_releases(ring, out)?;
            if self.wanted.stages {
                self.sweep(ring, now_ns, out)?;
            }
        }
        if self.wanted.traffic
            && let Some(samples) = &mut self.samples
        {
            samples.begin(now_ns)?;
        }
        let touched: Vec<u64> = self.touched.drain().collect();
        for sockets in touched.chunks(LOOK_UPS) {
            for (key, connection) in self.maps.connections_on(sockets) {
                self.track.traffic(key, &connection, now_ns, out);
                // Touched again since the interval ended: it will not say so a second time.
                if connection.epoch == epoch {
                    self.touched.insert(key.sk);
                }
            }
        }
        Ok(())
    }

    /// Reads the whole table for what the ring could not take.
    fn sweep(&mut self, ring: &mut Ring, now_ns: u64, out: &mut Vec<Record>) -> io::Result<()> {
        let folded = self.maps.counter(Counter::Folded) + self.maps.counter(Counter::FoldLost);
        let some_folded = std::mem::replace(&mut self.folded_seen, folded) != folded;
        let known = if some_folded {
            self.track.live_keys()
        } else {
            Vec::new()
        };
        let table = self.maps.connections()?;
        for (key, connection) in &table {
            if self.wanted.traffic {
                self.track.traffic(*key, connection, now_ns, out);
            } else if connection.flags & (flags::RELEASED | flags::UNDECIDED) == 0 {
                self.track.news(*key, connection, &[], out);
            }
        }
        if some_folded {
            // Ends that were told by the ring are over in the usual way; the others left as sums.
            self.read_ring(ring, ring.most_records(), out);
            let alive: HashSet<_> = table.iter().map(|(key, _)| *key).collect();
            self.track
                .forget(known.iter().filter(|key| !alive.contains(*key)));
            self.remove_orphans(&alive)?;
        }
        Ok(())
    }

    fn remove_orphans(&mut self, alive: &HashSet<ConnectionKey>) -> io::Result<()> {
        let mut rows = self.maps.all_users()?;
        rows.retain(|key, _| !alive.contains(key));
        for key in &self.orphans {
            if let Some(rows) = rows.remove(key) {
                self.maps.forget_users(&rows);
            }
        }
        self.orphans = rows.into_keys().collect();
        Ok(())
    }

    /// To be called just before [`stop`](Self::stop): what is open then is read while its sockets
    /// are there.
    pub fn prepare_stop(&mut self) -> io::Result<()> {
        self.samples.as_mut().map_or(Ok(()), Samples::take_all)
    }

    /// Stops the count at this moment.
    pub fn stop(&mut self) -> io::Result<()> {
        self.maps.close_gate().map_err(other)
    }

    /// Reads everything that is left once the count has stopped. After an error the rest is still
    /// read.
    pub fn finish(
        mut self,
        ring: &mut Ring,
        aggregate: &mut Aggregate,
        out: &mut Vec<Record>,
    ) -> (Loss, Option<io::Error>) {
        self.track.set_wall_offset(clock::wall_offset_ns());
        self.read_ring(ring, ring.most_records(), out);
        let late = self.take_late_releases(ring, out);
        // Of connections that came since `prepare_stop`.
        let last = self.prepare_stop();
        let open = self.tell_open(out);
        let folded = self.maps.folded().map(|rows| {
            for (key, totals) in rows {
                aggregate.add_folded(&key, &totals);
            }
        });
        let error = late.and(last).and(open).and(folded).err();
        (self.loss(), error)
    }

    fn tell_open(&mut self, out: &mut Vec<Record>) -> io::Result<()> {
        let now_ns = clock::mono_ns();
        let table = self.maps.connections()?;
        let shared = table
            .iter()
            .any(|(_, connection)| connection.last_user != 0);
        let users = if shared {
            self.maps.all_users()?
        } else {
            HashMap::new()
        };
        for (key, mut connection) in table {
            if let Some(samples) = &self.samples {
                samples.apply(key, &mut connection);
            }
            if connection.flags & (flags::UNDECIDED | flags::RELEASED) != 0 {
                continue;
            }
            if connection.is(flags::FAILED) {
                // Its release was missed.
                self.track.news(key, &connection, &[], out);
            } else {
                let users = users.get(&key).map_or(&[][..], Vec::as_slice);
                self.track
                    .open_at_exit(key, &connection, users, now_ns, out);
            }
        }
        Ok(())
    }

    /// What the kernel side and the ring reader know to be missing or late.
    fn loss(&self) -> Loss {
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
            unknown_records: self.unknown_records,
            ..Loss::default()
        }
    }
}

fn other(error: MapError) -> io::Error {
    io::Error::other(error)
}
