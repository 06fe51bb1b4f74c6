//! From the kernel's maps to records: reads what is new, asks [`Track`] what it means.

use std::collections::HashSet;
use std::io;

use aya::maps::MapError;
use tracer_common::connection::{Connection, ConnectionKey, flags};
use tracer_common::counters::Counter;

use crate::bpf::ring::Ring;
use crate::bpf::snapshot::{Maps, UserRow};
use crate::clock;
use crate::decode::Decoded;
use crate::record::Record;
use crate::summary::Loss;
use crate::track::Track;

/// Ring records read in one go.
const DRAIN: usize = 4096;

/// Reads the kernel side.
pub struct Collector {
    maps: Maps,
    track: Track,
    /// Sockets that moved bytes in this traffic interval.
    touched: HashSet<u64>,
    unknown_records: u64,
    late_news_seen: u64,
    folded_seen: u64,
    /// News were late: the table has something that nobody told us.
    sweep_due: bool,
}

impl Collector {
    /// Starts with empty tables.
    pub fn new(maps: Maps, mut track: Track) -> Self {
        track.set_wall_offset(clock::wall_offset_ns());
        Self {
            maps,
            track,
            touched: HashSet::new(),
            unknown_records: 0,
            late_news_seen: 0,
            folded_seen: 0,
            sweep_due: false,
        }
    }

    /// Reads the ring, and what did not fit into it. Returns whether more is waiting.
    pub fn drain(&mut self, ring: &mut Ring, out: &mut Vec<Record>) -> io::Result<bool> {
        let emptied = self.read_ring(ring, out);
        let late_news = self.maps.counter(Counter::RingFull);
        if late_news != self.late_news_seen {
            self.late_news_seen = late_news;
            self.sweep_due = true;
            self.take_late_releases(ring, out)?;
        }
        Ok(!emptied)
    }

    fn read_ring(&mut self, ring: &mut Ring, out: &mut Vec<Record>) -> bool {
        ring.drain(DRAIN, |decoded| match decoded {
            Decoded::News(key, connection) => {
                let users = self.users(key, &connection);
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
    fn users(&mut self, key: ConnectionKey, connection: &Connection) -> Vec<UserRow> {
        if connection.last_user == 0 || !connection.is(flags::RELEASED) {
            return Vec::new();
        }
        self.maps.users(key, connection, true)
    }

    /// The pending map is read first and told last: news of the same connections are in the ring
    /// already, and must not come after their end.
    fn take_late_releases(&mut self, ring: &mut Ring, out: &mut Vec<Record>) -> io::Result<()> {
        let late = self.maps.take_pending()?;
        while !self.read_ring(ring, out) {}
        self.track.age_late_releases();
        for (key, connection) in late {
            let users = self.users(key, &connection);
            self.track.late_release(key, &connection, &users, out);
        }
        Ok(())
    }

    /// Ends a traffic interval: tells what moved in it.
    pub fn interval(&mut self, out: &mut Vec<Record>) -> io::Result<()> {
        self.track.set_wall_offset(clock::wall_offset_ns());
        let epoch = self.maps.advance_epoch().map_err(other)?;
        let now_ns = clock::mono_ns();
        if std::mem::take(&mut self.sweep_due) {
            self.sweep(now_ns, out)?;
        }
        let (maps, track) = (&self.maps, &mut self.track);
        self.touched.retain(|sk| {
            let Some(connection) = maps.connection(*sk) else {
                return false;
            };
            let key = ConnectionKey {
                sk: *sk,
                birth_ns: connection.birth_ns,
            };
            track.traffic(key, &connection, now_ns, out);
            // Touched again since the interval ended: it will not say so a second time.
            connection.epoch == epoch
        });
        Ok(())
    }

    /// Reads the whole table for what the ring could not take.
    fn sweep(&mut self, now_ns: u64, out: &mut Vec<Record>) -> io::Result<()> {
        let table = self.maps.connections()?;
        for (key, connection) in &table {
            self.track.traffic(*key, connection, now_ns, out);
        }
        let folded = self.maps.counter(Counter::Folded) + self.maps.counter(Counter::FoldLost);
        if folded != self.folded_seen {
            self.folded_seen = folded;
            self.track.retain_live(table.iter().map(|(key, _)| *key));
        }
        Ok(())
    }

    /// The programs are detached: reads everything that is left.
    pub fn finish(
        mut self,
        ring: &mut Ring,
        aggregate: &mut crate::aggregate::Aggregate,
        out: &mut Vec<Record>,
    ) -> io::Result<Loss> {
        while !self.read_ring(ring, out) {}
        self.take_late_releases(ring, out)?;
        let now_ns = clock::mono_ns();
        for (key, connection) in self.maps.connections()? {
            if connection.flags & (flags::UNDECIDED | flags::RELEASED) == 0 {
                let users = self.maps.users(key, &connection, false);
                self.track
                    .open_at_exit(key, &connection, &users, now_ns, out);
            }
        }
        for (key, totals) in self.maps.folded()? {
            aggregate.add_folded(&key, &totals);
        }
        Ok(self.loss())
    }

    /// What the kernel side and the ring reader know to be missing or late.
    fn loss(&self) -> Loss {
        let count = |counter| self.maps.counter(counter);
        Loss {
            late_news: count(Counter::RingFull),
            folded_connections: count(Counter::Folded),
            io_records: count(Counter::IoRingFull),
            untracked_inbound: count(Counter::TableFullInbound),
            untracked_outbound: count(Counter::TableFullOutbound),
            untracked_accepts: count(Counter::UntrackedAccepts),
            untracked_tx: count(Counter::UntrackedTx),
            untracked_rx: count(Counter::UntrackedRx),
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
