//! Records on their way out: counted into the tables, numbered, formatted, queued.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout, timeout_at};
use tracer_common::folded::{FoldedKey, FoldedTotals};

use crate::aggregate::Aggregate;
use crate::carrier::Carriers;
use crate::choose::exe;
use crate::clock::Moment;
use crate::enrich::Enricher;
use crate::interval::{Interval, Intervals};
use crate::map::keeper::Keeper;
use crate::peers::Peers;
use crate::process::told::Told;
use crate::record::{ConnectionId, EventKind, Out, Record};
use crate::say::say;
use crate::sink::Format;
use crate::sink::writer::{Finished, Output};
use crate::stop::Stop;

/// Bytes handed over at a time.
const CHUNK: usize = 64 << 10;
/// How long a full queue is waited for before records are dropped. The kernel keeps what happens
/// meanwhile, but not for ever.
const PATIENCE: Duration = Duration::from_secs(1);
/// At the end: how long a consumer may take nothing,
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// and how long it may take altogether. A service manager kills after 90 s, tables unseen.
const LAST_LIMIT: Duration = Duration::from_secs(15);

/// The event stream and the tables behind it.
pub struct Publisher {
    /// The tables.
    pub aggregate: Aggregate,
    /// The map, where one is wanted.
    pub keeper: Option<Keeper>,
    /// The running interval, where intervals are wanted.
    pub intervals: Option<Intervals>,
    /// What is looked up of each.
    pub enricher: Enricher,
    /// Which of them count, by the program.
    pub programs: exe::Stage,
    stream: Option<Stream>,
    carriers: Carriers,
    sequence: u64,
}

impl Out for Publisher {
    /// Counts it and formats it.
    fn push(&mut self, mut record: Record) {
        self.enricher.complete(&mut record);
        if !self.programs.keeps(&record) {
            return;
        }
        self.aggregate.add(&record);
        if let Some(keeper) = &mut self.keeper {
            keeper.add(&record);
        }
        if let Some(intervals) = &mut self.intervals {
            intervals.add(&record);
        }
        let Some(stream) = &mut self.stream else {
            return;
        };
        if !stream.format.wants(record.event) || is_own_output(&mut self.carriers, &record) {
            return;
        }
        self.sequence += 1;
        record.seq = self.sequence;
        stream.write(&record);
    }

    fn process(&mut self, told: Told) {
        if let Some(processes) = &mut self.enricher.processes {
            processes.told(told);
        }
    }

    fn vanished(&mut self, id: ConnectionId) {
        if let Some(keeper) = &mut self.keeper {
            keeper.vanished(id);
        }
        if let Some(intervals) = &mut self.intervals {
            intervals.vanished(id);
        }
    }
}

/// What is left when everything is published.
pub struct End {
    /// The tables.
    pub aggregate: Aggregate,
    /// How the record stream ended.
    pub stream: StreamEnd,
    /// What went wrong with the map.
    pub map_errors: Vec<String>,
    /// Who tells of peers.
    pub peers: Option<Peers>,
}

/// How the record stream ended.
#[derive(Debug)]
pub struct StreamEnd {
    /// `None` without a stream.
    pub finished: Option<Finished>,
    /// Records that were not written.
    pub dropped: u64,
}

impl Publisher {
    /// Without a stream only the tables are kept.
    pub fn new(mut stream: Option<Stream>, carriers: Carriers, aggregate: Aggregate) -> Self {
        if let Some(stream) = &mut stream {
            let mut header = BytesMut::new();
            stream.format.header(&mut header);
            if !header.is_empty() {
                stream.offer(header.freeze(), 0);
            }
        }
        Self {
            aggregate,
            keeper: None,
            intervals: None,
            enricher: Enricher::default(),
            programs: exe::Stage::default(),
            stream,
            carriers,
            sequence: 0,
        }
    }

    /// Tracing begins now.
    pub fn begin(&mut self, now: Moment) {
        if let Some(intervals) = &mut self.intervals {
            intervals.begin_at(now);
        }
        if let Some(stream) = &mut self.stream {
            stream.format.begin(now.mono_ns);
        }
    }

    /// Counts connections that were told to nobody.
    pub fn add_folded(&mut self, key: &FoldedKey, totals: &FoldedTotals) {
        self.aggregate.add_folded(key, totals);
        if let Some(intervals) = &mut self.intervals {
            intervals.add_folded(key, totals);
        }
    }

    /// How long until an interval is to be closed, if there are any.
    pub fn interval_remaining(&self, now_ns: u64) -> Option<Duration> {
        let remaining = self.intervals.as_ref()?.remaining_ns(now_ns);
        Some(Duration::from_nanos(remaining))
    }

    /// Ends the running interval and writes it.
    pub fn close_interval(&mut self, now: Moment) {
        let Some(intervals) = &mut self.intervals else {
            return;
        };
        let closed = intervals.close(now);
        if let Some(stream) = &mut self.stream {
            stream.write_interval(&closed, &mut self.sequence);
        }
    }

    /// Sends out what was formatted. What the queue has no room for waits, and then
    /// [`Publisher::is_behind`].
    pub fn flush(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.flush();
        }
    }

    /// Looks again at who carries our output: a pipeline's later stage may have come only now.
    pub fn refresh_carriers(&mut self) {
        self.carriers.refresh();
    }

    /// Whether records wait for room. Until they are gone nothing new should be read.
    pub fn is_behind(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(|stream| !stream.backlog.is_empty())
    }

    /// Waits for room for the records that wait; `false` when patience is at its end. To be
    /// followed by [`Publisher::hand_over`]. Safe to cancel.
    pub async fn room(&self) -> bool {
        match &self.stream {
            Some(stream) => stream.room().await,
            None => std::future::pending().await,
        }
    }

    /// Hands over the records that wait: as many as there is room for or, without room, all; what
    /// does not fit is dropped and counted.
    pub fn hand_over(&mut self, room: bool) {
        if let Some(stream) = &mut self.stream {
            stream.hand_over(room);
        }
    }

    /// Waits until the output has ended by itself; forever without a stream.
    pub async fn output_ended(&self) {
        match &self.stream {
            Some(stream) => stream.output.ended().await,
            None => std::future::pending().await,
        }
    }

    /// At the end, between two parts of what is left: waits until none of it waits for room, within
    /// the limits of [`Publisher::finish`].
    pub async fn catch_up(&mut self, stop: &mut Stop) {
        if let Some(stream) = &mut self.stream {
            stream.flush();
            stream.catch_up(stop).await;
        }
    }

    /// Waits for the consumer to take what is left, and for the map to be saved, within limits, and
    /// not past a second signal.
    ///
    /// `untraced`: connections that the tracer knows to be missing.
    pub async fn finish(self, untraced: u64, stop: &mut Stop) -> End {
        let stream = match self.stream {
            Some(stream) => stream.finish(stop).await,
            None => StreamEnd {
                finished: None,
                dropped: 0,
            },
        };
        let map_errors = match self.keeper {
            Some(keeper) => keeper.finish(untraced, stop).await,
            None => Vec::new(),
        };
        End {
            aggregate: self.aggregate,
            stream,
            map_errors,
            peers: self.enricher.peers,
        }
    }
}

/// Where the records go, and in what shape.
pub struct Stream {
    format: Box<dyn Format>,
    output: Output,
    /// Formatted and not yet offered,
    chunk: BytesMut,
    /// and its lines.
    lines: u64,
    /// Chunks, and how many records each has, that found no room.
    backlog: VecDeque<(Bytes, u64)>,
    /// When the oldest of them found none.
    behind_since: Option<Instant>,
    /// The consumer was waited for in vain: it is not again until it has caught up.
    stalled: bool,
    /// At the end: until when the consumer is waited for.
    last_limit: Option<Instant>,
    /// That was in vain.
    gave_up: bool,
    /// It was said that we wait.
    hinted: bool,
}

impl Stream {
    /// `format` makes bytes of the records, `output` takes them.
    pub fn new(format: Box<dyn Format>, output: Output) -> Self {
        Self {
            format,
            output,
            chunk: BytesMut::new(),
            lines: 0,
            backlog: VecDeque::new(),
            behind_since: None,
            stalled: false,
            last_limit: None,
            gave_up: false,
            hinted: false,
        }
    }

    fn write(&mut self, record: &Record) {
        self.lines += u64::from(self.format.record(record, &mut self.chunk));
        if self.chunk.len() >= CHUNK {
            self.flush();
        }
    }

    /// In pieces, as it may be larger than the queue.
    fn write_interval(&mut self, interval: &Interval, sequence: &mut u64) {
        self.flush();
        let mut text = BytesMut::new();
        self.format.interval(interval, sequence, &mut text);
        while !text.is_empty() {
            let rest = text.get(CHUNK..).unwrap_or_default();
            let more = rest.iter().position(|byte| *byte == b'\n');
            let end = more.map_or(text.len(), |more| CHUNK + more + 1);
            let piece = text.split_to(end).freeze();
            let lines = piece.split(|byte| *byte == b'\n').skip(1).count();
            self.offer(piece, lines as u64);
        }
    }

    fn flush(&mut self) {
        if !self.chunk.is_empty() {
            let lines = std::mem::take(&mut self.lines);
            let chunk = self.chunk.split().freeze();
            self.offer(chunk, lines);
        }
    }

    fn offer(&mut self, chunk: Bytes, lines: u64) {
        self.stalled &= !self.output.is_half_empty();
        let fits = self.backlog.is_empty() && self.output.has_room(chunk.len());
        if fits || self.stalled {
            self.output.push(chunk, lines);
        } else {
            self.behind_since.get_or_insert_with(Instant::now);
            self.backlog.push_back((chunk, lines));
        }
    }

    async fn room(&self) -> bool {
        let (Some((chunk, _)), Some(since)) = (self.backlog.front(), self.behind_since) else {
            return true;
        };
        timeout_at(since + PATIENCE, self.output.room(chunk.len()))
            .await
            .is_ok()
    }

    fn hand_over(&mut self, room: bool) {
        self.stalled |= !room;
        while let Some((chunk, _)) = self.backlog.front()
            && (self.stalled || self.output.has_room(chunk.len()))
            && let Some((chunk, lines)) = self.backlog.pop_front()
        {
            self.output.push(chunk, lines);
        }
        if self.backlog.is_empty() {
            self.behind_since = None;
        }
    }

    async fn catch_up(&mut self, stop: &mut Stop) {
        if !self.backlog.is_empty() && !self.wait(stop, Until::Accepted).await {
            self.hand_over(false);
        }
    }

    async fn finish(mut self, stop: &mut Stop) -> StreamEnd {
        self.flush();
        let flushed = self.wait(stop, Until::Written).await;
        self.hand_over(false);
        let dropped = self.output.dropped();
        let patience = if flushed {
            LAST_PATIENCE
        } else {
            Duration::ZERO
        };
        let finished = self.output.finish(patience);
        let unwritten = match &finished {
            Finished::Flushed => 0,
            Finished::Stalled { records }
            | Finished::Closed { records }
            | Finished::Failed { records, .. } => *records,
        };
        StreamEnd {
            finished: Some(finished),
            dropped: dropped + unwritten,
        }
    }

    /// Waits, within the limits of the end and not past a signal; `false` when it was in vain, and
    /// from then on at once.
    async fn wait(&mut self, stop: &mut Stop, until: Until) -> bool {
        if self.gave_up {
            return false;
        }
        let limit = Instant::now() + LAST_LIMIT;
        let limit = *self.last_limit.get_or_insert(limit);
        let in_time = tokio::select! {
            biased;
            in_time = timeout_at(limit, self.write_out(until)) => in_time.unwrap_or(false),
            () = stop.requested() => false,
        };
        self.gave_up = !in_time;
        in_time
    }

    /// Waits until everything is accepted or written, or the output ended, or nothing was taken for
    /// a while.
    async fn write_out(&mut self, until: Until) -> bool {
        let hinted = &mut self.hinted;
        let hint = async {
            if !*hinted {
                tokio::time::sleep(PATIENCE).await;
                say("waiting for whoever reads the records; once more Ctrl-C to wait no longer");
                *hinted = true;
            }
            std::future::pending::<()>().await;
        };
        let output = &self.output;
        let backlog = &mut self.backlog;
        let everything = async {
            while let Some((chunk, lines)) = backlog.front() {
                if timeout(LAST_PATIENCE, output.room(chunk.len()))
                    .await
                    .is_err()
                {
                    return false;
                }
                output.push(chunk.clone(), *lines);
                backlog.pop_front();
            }
            match until {
                Until::Accepted => true,
                Until::Written => output.flushed(LAST_PATIENCE).await,
            }
        };
        tokio::select! {
            biased;
            done = everything => done,
            () = hint => false,
        }
    }
}

/// What is waited for at the end.
#[derive(Clone, Copy)]
enum Until {
    /// The queue has taken everything.
    Accepted,
    /// Everything is written.
    Written,
}

/// Showing the traffic of what carries our own output would make more of it, without end. The
/// tables have it, and that the connection came and went is news once.
fn is_own_output(carriers: &mut Carriers, record: &Record) -> bool {
    if !matches!(record.event, EventKind::Traffic | EventKind::Io) {
        return false;
    }
    let owner = record.process.iter().map(|it| (it.pid, it.start_ns));
    let users = record.users.iter().map(|it| (it.pid, it.start_ns));
    owner
        .chain(users)
        .any(|(pid, start_ns)| carriers.via(pid, Some(start_ns)).is_some())
}

#[cfg(test)]
mod tests;
