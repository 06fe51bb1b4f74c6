//! Random runs: whatever happens when, intervals add up to the summary.

use std::collections::BTreeMap;

use super::*;
use crate::aggregate::{Aggregate, Run};
use crate::record::{Bytes, Direction, EventKind, Out, Peer, Process, ProcessDetails, User};
use crate::sink::samples::{between, endpoint};
use crate::summary::Summary;
use crate::wire::Wire;

pub(super) fn at(seconds: u64) -> Moment {
    Moment {
        mono_ns: seconds * 1_000_000_000,
        time: WallTime(i64::try_from(seconds).unwrap() * 1_000_000_000),
    }
}

pub(super) fn options(by: &[Dimension]) -> Options {
    Options {
        every: Duration::from_secs(10),
        by: by.to_vec(),
        top: None,
        records: false,
    }
}

struct Random(u64);

impl Random {
    fn below<T: TryFrom<u64, Error: std::fmt::Debug>>(&mut self, end: u64) -> T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        T::try_from((self.0 >> 8) % end).unwrap()
    }
}

/// A connection that moves bytes by its owner and a worker until it ends.
struct Life {
    record: Record,
    established: bool,
    told: bool,
    /// By the owner, a worker and nobody.
    moved: [(u64, u64); 3],
    /// Of these, told by `traffic` records.
    traffic: [(u64, u64); 3],
}

impl Life {
    fn new(number: u64, random: &mut Random) -> Self {
        let direction = [Direction::Inbound, Direction::Outbound][random.below::<usize>(2)];
        let local = endpoint("10.0.0.1", [80, 443, 8080][random.below::<usize>(3)]);
        let remote = endpoint(&format!("10.0.1.{}", random.below::<u8>(9)), 443);
        let mut record = between(EventKind::Open, direction, local, remote);
        record.id = ConnectionId(number);
        record.netns = 4 + random.below::<u32>(2);
        record.pre_existing = random.below::<u8>(5) == 0;
        let pid: u32 = 10 + random.below::<u32>(5);
        record.process =
            (random.below::<u8>(6) > 0 || direction == Direction::Outbound).then(|| Process {
                pid,
                tid: pid,
                name: "a".into(),
                thread: "a".into(),
                uid: pid % 2,
                start_ns: 5,
                details: None,
            });
        Self {
            record,
            established: false,
            told: false,
            moved: [(0, 0); 3],
            traffic: [(0, 0); 3],
        }
    }

    fn say(&self, event: EventKind) -> Record {
        let mut record = self.record.clone();
        record.event = event;
        record
    }

    fn users(&self, parts: &[(u64, u64); 3]) -> Vec<User> {
        let owner = self.record.process.as_ref();
        let pids = [owner.map(|owner| owner.pid), Some(99)];
        let parts = pids
            .into_iter()
            .zip(parts)
            .filter(|(_, moved)| **moved != (0, 0));
        let user = |(pid, moved): (Option<u32>, &(u64, u64))| {
            Some(User {
                pid: pid?,
                name: "w".into(),
                uid: 7,
                start_ns: 5,
                tx: moved.0,
                rx: moved.1,
            })
        };
        parts.filter_map(user).collect()
    }

    /// Something happens.
    fn step(&mut self, random: &mut Random, out: &mut impl Out) {
        let inbound = self.record.direction == Direction::Inbound;
        let owned = self.record.process.is_some();
        if !self.told && !self.record.pre_existing {
            self.told = true;
            if !inbound {
                out.push(self.say(EventKind::Open));
                return;
            }
        }
        if !self.established && !self.record.pre_existing {
            self.established = true;
            if inbound && owned {
                out.push(self.say(EventKind::Accept));
            } else if !inbound {
                out.push(self.say(EventKind::Established));
            }
            return;
        }
        if !owned && !self.record.pre_existing {
            return;
        }
        // Without an owner all is nobody's.
        let part: usize = if owned { random.below(3) } else { 2 };
        // Before the end nobody's bytes are not seen where calls are.
        if part == 2 && owned {
            return;
        }
        self.moved[part].0 += random.below::<u64>(1000);
        self.moved[part].1 += random.below::<u64>(1000);
        if random.below::<u8>(2) > 0 {
            self.tell_traffic(out);
        }
    }

    fn tell_traffic(&mut self, out: &mut impl Out) {
        let mut parts = [(0, 0); 3];
        for (part, (all, told)) in parts.iter_mut().zip(self.moved.iter().zip(&self.traffic)) {
            *part = (all.0 - told.0, all.1 - told.1);
        }
        self.traffic = self.moved;
        let mut record = self.say(EventKind::Traffic);
        record.bytes = Some(Bytes {
            tx: parts.iter().map(|part| part.0).sum(),
            rx: parts.iter().map(|part| part.1).sum(),
            ..Bytes::default()
        });
        if parts[1] != (0, 0) {
            record.users = self.users(&parts).into_iter().collect();
        }
        if record.bytes != Some(Bytes::default()) {
            out.push(record);
        }
    }

    fn end(mut self, random: &mut Random, event: EventKind, out: &mut impl Out) {
        // Not all tell it: without `--wire` none does. It changes nothing of what happens next.
        let mut apart = Random(random.0);
        self.record.wire = (apart.below::<u8>(4) > 0).then(|| Wire {
            segments_out: apart.below(10),
            segments_in: apart.below(10),
            wire_bytes_out: apart.below(1000),
            wire_bytes_in: apart.below(1000),
        });
        let inbound = self.record.direction == Direction::Inbound;
        if !inbound && !self.established && !self.record.pre_existing {
            out.push(self.say(EventKind::Failed));
            return;
        }
        if self.record.process.is_some() {
            self.moved[2] = (random.below(10), random.below(10));
        }
        let mut record = self.say(event);
        let (tx, rx) = self
            .moved
            .iter()
            .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        record.users = self.users(&self.moved).into_iter().collect();
        record.bytes = Some(Bytes {
            tx,
            rx,
            unattributed_tx: Some(self.moved[2].0),
            unattributed_rx: Some(self.moved[2].1),
            ..Bytes::default()
        });
        let seen = !inbound && !self.record.pre_existing;
        record.latency_ns = seen.then_some(1);
        out.push(record);
    }
}

/// Into both.
struct Both<'a>(&'a mut Aggregate, &'a mut Intervals);

impl Out for Both<'_> {
    fn push(&mut self, record: Record) {
        self.0.add(&record);
        self.1.add(&record);
    }
}

fn run(seed: u64, max_rows: usize, by: &[Dimension]) -> (Summary, Vec<Interval>) {
    let mut random = Random(seed);
    let mut tables = Aggregate::new(max_rows);
    let mut intervals = Intervals::live(&options(by), max_rows, &"box".into(), at(0));
    let mut closed = Vec::new();
    let mut lives: Vec<Life> = Vec::new();
    for second in 1..400 {
        let mut both = Both(&mut tables, &mut intervals);
        if random.below::<u8>(3) > 0 {
            lives.push(Life::new(second, &mut random));
        }
        for life in &mut lives {
            if random.below::<u8>(3) == 0 {
                life.step(&mut random, &mut both);
            }
        }
        if lives.len() > 5 && random.below::<u8>(2) > 0 {
            let which: usize = random.below(lives.len() as u64);
            lives
                .swap_remove(which)
                .end(&mut random, EventKind::Close, &mut both);
        }
        if random.below::<u8>(10) == 0 {
            closed.push(intervals.close(at(second)));
        }
    }
    for life in lives {
        let mut both = Both(&mut tables, &mut intervals);
        life.end(&mut random, EventKind::OpenAtExit, &mut both);
    }
    assert_eq!(intervals.increments.remembered(), 0);
    closed.push(intervals.close(at(400)));
    let summary = tables.finish(Run {
        time: WallTime(0),
        host: None,
        traced: None,
        loss: None,
        kernel: None,
        replay: None,
        sampled: None,
    });
    (summary, closed)
}

fn closed_counts(counts: Counts) -> Counts {
    Counts { open: 0, ..counts }
}

fn sums(intervals: &[Interval], by: Dimension) -> BTreeMap<Key, Counts> {
    let mut sums = BTreeMap::<Key, Counts>::new();
    let tables = intervals.iter().flat_map(|interval| &interval.tables);
    for row in tables
        .filter(|table| table.by == by)
        .flat_map(|table| &table.rows)
    {
        *sums.entry(row.key).or_default() += row.counts;
    }
    sums
}

fn assert_each_adds_up(intervals: &[Interval]) {
    let mut before = None;
    for interval in intervals {
        for table in &interval.tables {
            let mut sum = table.other.map(|other| other.counts).unwrap_or_default();
            for row in &table.rows {
                sum += row.counts;
            }
            assert_eq!(sum, interval.total, "by {}", table.by.name());
        }
        assert!(before.is_none_or(|end| end == interval.start));
        before = Some(interval.end);
    }
}

#[test]
fn rows_add_up_to_those_of_the_summary() {
    for seed in 1..40_u64 {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (summary, intervals) = run(random, 1000, &Dimension::ALL);
        assert!(intervals.len() > 10);
        assert_each_adds_up(&intervals);
        let total = intervals.iter().fold(Counts::default(), |mut sum, it| {
            sum += it.total;
            sum
        });
        assert_eq!(total, closed_counts(summary.total), "{seed}");
        let ports = summary.ports.iter().map(|row| {
            let key = Key::Port {
                netns: row.netns,
                direction: row.direction,
                port: row.port,
            };
            (key, closed_counts(row.counts))
        });
        assert_eq!(sums(&intervals, Dimension::Port), ports.collect());
        let peers = summary.peers.iter().map(|row| {
            let key = Key::Peer {
                ip: row.ip,
                netns: row.netns,
            };
            (key, closed_counts(row.counts))
        });
        assert_eq!(sums(&intervals, Dimension::Peer), peers.collect());
        let processes = summary.processes.iter().map(|row| {
            let key = row.pid.map_or(Key::Unknown, |pid| Key::Process {
                pid,
                start_ns: row.start_ns.unwrap(),
            });
            (key, closed_counts(row.counts))
        });
        assert_eq!(sums(&intervals, Dimension::Process), processes.collect());
        // Also something in the middle, not all at the end.
        assert!(intervals[intervals.len() / 2].total.bytes() > 0);
        let early = &intervals[..intervals.len() / 2];
        assert!(early.iter().any(|it| it.total.wire.is_some()));
    }
}

#[test]
fn with_few_rows_totals_stay_exact() {
    for max_rows in [1, 2, 5] {
        let (summary, intervals) = run(7, max_rows, &Dimension::ALL);
        assert_each_adds_up(&intervals);
        let others = intervals.iter().flat_map(|it| &it.tables);
        assert!(others.clone().any(|table| table.other.is_some()));
        assert!(others.clone().all(|table| table.rows.len() <= max_rows));
        let mut total = Counts::default();
        for interval in &intervals {
            total += interval.total;
        }
        assert_eq!(total, closed_counts(summary.total));
    }
}

#[test]
fn connections_of_which_only_a_sum_is_told_count_once() {
    let options = options(&[Dimension::Port, Dimension::Process, Dimension::Peer]);
    let mut intervals = Intervals::live(&options, 10, &"box".into(), at(0));
    let mut accept = between(
        EventKind::Accept,
        Direction::Inbound,
        endpoint("10.0.0.1", 80),
        endpoint("10.0.0.2", 999),
    );
    intervals.add(&accept);
    accept.event = EventKind::Traffic;
    accept.bytes = Some(Bytes {
        tx: 10,
        rx: 3,
        ..Bytes::default()
    });
    intervals.add(&accept);
    let first = intervals.close(at(10));
    intervals.vanished(accept.id);
    let process = accept.process.unwrap();
    let key = FoldedKey {
        start_ns: process.start_ns,
        remote_ip: [0; 16],
        netns: accept.netns,
        tgid: process.pid,
        uid: process.uid,
        port: 80,
        inbound: 1,
    };
    let totals = FoldedTotals {
        connections: 2,
        tx: 30,
        rx: 7,
        owner_tx: 25,
        owner_rx: 7,
        name: *b"nginx\0\0\0\0\0\0\0\0\0\0\0",
        ..FoldedTotals::EMPTY
    };
    intervals.add_folded(&key, &totals);
    let closed = [first, intervals.close(at(20))];
    assert_each_adds_up(&closed);
    let counts = |accepts, tx, rx| Counts {
        accepts,
        tx,
        rx,
        ..Counts::default()
    };
    assert_eq!(closed[1].total, counts(1, 20, 4));
    let ports = sums(&closed, Dimension::Port);
    assert_eq!(ports.into_values().collect::<Vec<_>>(), [counts(2, 30, 7)]);
    let processes = sums(&closed, Dimension::Process);
    assert_eq!(processes[&Key::Unknown], counts(0, 5, 0));
    assert_eq!(processes.len(), 2);
    let peers = sums(&closed, Dimension::Peer);
    let kept = |ip: Option<&str>| Key::Peer {
        ip: ip.map(|ip| ip.parse().unwrap()),
        netns: accept.netns,
    };
    assert_eq!(peers[&kept(Some("10.0.0.2"))], counts(1, 10, 3));
    assert_eq!(peers[&kept(None)], counts(1, 20, 4));
}

#[test]
fn every_table_has_what_is_known_and_a_row_for_what_is_not() {
    let mut intervals = Intervals::live(&options(&Dimension::ALL), 10, &"box".into(), at(0));
    let plain = between(
        EventKind::Accept,
        Direction::Inbound,
        endpoint("10.0.0.1", 80),
        endpoint("8.8.8.8", 999),
    );
    let mut known = plain.clone();
    known.id = ConnectionId(2);
    known.peer = Some(Arc::new(Peer {
        country: Some("NZ".into()),
        asn: Some(64_500),
        organization: Some("Example".into()),
        ..Peer::default()
    }));
    known.process.as_mut().unwrap().details = Some(Arc::new(ProcessDetails {
        user: Some("www".into()),
        container: Some(crate::record::Container {
            id: "abc".into(),
            runtime: Some("docker"),
        }),
        ..ProcessDetails::default()
    }));
    let mut in_cgroup = plain.clone();
    in_cgroup.id = ConnectionId(3);
    in_cgroup.cgroup = Some(crate::record::Cgroup { id: 5, path: None });
    for record in [&known, &plain, &in_cgroup] {
        intervals.add(record);
    }
    let closed = intervals.close(at(1));
    assert_each_adds_up(std::slice::from_ref(&closed));
    let rows = |by| {
        let table = closed.tables.iter().find(|table| table.by == by).unwrap();
        let rows = table.rows.iter();
        rows.map(|row| (row.key, row.label.clone(), row.counts.accepts))
            .collect::<Vec<_>>()
    };
    let text = |text: &str| Label::Text(text.into());
    let unknown = (Key::Unknown, Label::None, 2);
    assert_eq!(
        rows(Dimension::Country),
        [unknown.clone(), (Key::Country(0), text("NZ"), 1)]
    );
    assert_eq!(
        rows(Dimension::Asn),
        [unknown, (Key::Asn(64_500), text("Example"), 1)]
    );
    let class = crate::address::Class::Global;
    assert_eq!(
        rows(Dimension::Class),
        [(Key::Class(class), Label::None, 3)]
    );
    assert_eq!(rows(Dimension::User), [(Key::User(33), text("www"), 3)]);
    let container = rows(Dimension::Container);
    let keys: Vec<_> = container.iter().map(|(key, ..)| *key).collect();
    assert_eq!(keys, [Key::Unknown, Key::Container(0), Key::Cgroup(5)]);
    assert_eq!(
        rows(Dimension::Netns),
        [(Key::Netns(plain.netns), Label::None, 3)]
    );
    assert_eq!(closed.host.as_deref(), Some("box"));
}

#[test]
fn what_was_on_the_wire_is_in_the_interval_of_the_end_and_its_columns_stay() {
    let mut record = between(
        EventKind::Accept,
        Direction::Inbound,
        endpoint("10.0.0.1", 80),
        endpoint("10.0.0.2", 999),
    );
    let mut told = |has_wire: bool| {
        let intervals = Intervals::live(&options(&Dimension::ALL), 10, &"box".into(), at(0));
        let mut intervals = intervals.with_wire(has_wire);
        let mut closed = Vec::new();
        for (event, wire) in [
            (EventKind::Accept, None),
            (EventKind::Close, Some(Wire::default())),
            (EventKind::Accept, None),
        ] {
            (record.event, record.wire) = (event, wire);
            intervals.add(&record);
            closed.push(intervals.close(at(10)));
        }
        assert_each_adds_up(&closed);
        let each = closed.iter();
        each.map(|it| (it.has_wire, it.total.wire.is_some()))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(true), [(true, false), (true, true), (true, false)]);
    // As of recorded records, which do not say beforehand what they tell.
    assert_eq!(told(false), [(false, false), (true, true), (true, false)]);
}

#[test]
fn an_interval_without_anything_has_its_times_and_no_rows() {
    let mut intervals = Intervals::live(&options(&Dimension::USUAL), 10, &"box".into(), at(3));
    intervals.begin_at(at(5));
    assert_eq!(intervals.remaining_ns(at(5).mono_ns), 10_000_000_000);
    let closed = intervals.close(at(15));
    assert_eq!((closed.start, closed.end), (at(5).time, at(15).time));
    assert_eq!(
        (closed.duration_ns, closed.total),
        (10_000_000_000, Counts::default())
    );
    assert!(closed.tables.iter().all(|table| table.rows.is_empty()));
    assert_eq!(closed.rate(5), Some(0.5));
    let nothing = intervals.close(at(15));
    assert_eq!((nothing.duration_ns, nothing.rate(5)), (0, None));
}
