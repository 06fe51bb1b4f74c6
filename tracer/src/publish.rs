//! Records on their way out: counted into the tables, numbered, formatted, queued.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout, timeout_at};

use crate::aggregate::Aggregate;
use crate::carrier::Carriers;
use crate::record::{EventKind, Record};
use crate::say::say;
use crate::sink::Format;
use crate::sink::writer::{Finished, Output};
use crate::stop::Stop;

/// Bytes handed over at a time.
const CHUNK: usize = 64 << 10;
/// Room for records that is kept from one time to the next. A sweep of full tables needs much more
/// of it, but seldom.
const KEPT_ROOM: usize = 1 << 14;
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
    stream: Option<Stream>,
    carriers: Carriers,
    sequence: u64,
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
            stream,
            carriers,
            sequence: 0,
        }
    }

    /// Counts the records and sends them out; the vector is left empty. What the queue has no room
    /// for waits, and then [`Publisher::is_behind`].
    pub fn publish(&mut self, records: &mut Vec<Record>) {
        let mut chunk = BytesMut::new();
        let mut lines = 0;
        for mut record in records.drain(..) {
            self.aggregate.add(&record);
            let Some(stream) = &mut self.stream else {
                continue;
            };
            if is_own_output(&mut self.carriers, &record) {
                continue;
            }
            self.sequence += 1;
            record.seq = self.sequence;
            lines += u64::from(stream.format.record(&record, &mut chunk));
            if chunk.len() >= CHUNK {
                stream.offer(chunk.split().freeze(), std::mem::take(&mut lines));
            }
        }
        records.shrink_to(KEPT_ROOM);
        if let Some(stream) = &mut self.stream
            && !chunk.is_empty()
        {
            stream.offer(chunk.freeze(), lines);
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

    /// Waits for the consumer to take what is left, within limits, and not past a second signal.
    /// Gives back the tables.
    pub async fn finish(self, stop: &mut Stop) -> (Aggregate, StreamEnd) {
        let end = match self.stream {
            Some(stream) => stream.finish(stop).await,
            None => StreamEnd {
                finished: None,
                dropped: 0,
            },
        };
        (self.aggregate, end)
    }
}

/// Where the records go, and in what shape.
pub struct Stream {
    format: Box<dyn Format>,
    output: Output,
    /// Chunks, and how many records each has, that found no room.
    backlog: VecDeque<(Bytes, u64)>,
    /// When the oldest of them found none.
    behind_since: Option<Instant>,
    /// The consumer was waited for in vain: it is not again until it has caught up.
    stalled: bool,
}

impl Stream {
    /// `format` makes bytes of the records, `output` takes them.
    pub fn new(format: Box<dyn Format>, output: Output) -> Self {
        Self {
            format,
            output,
            backlog: VecDeque::new(),
            behind_since: None,
            stalled: false,
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

    async fn finish(mut self, stop: &mut Stop) -> StreamEnd {
        let flushed = tokio::select! {
            biased;
            flushed = timeout(LAST_LIMIT, self.flush()) => flushed.unwrap_or(false),
            () = stop.requested() => false,
        };
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

    /// Waits until everything is written, or the output ended, or nothing was taken for a while.
    async fn flush(&mut self) -> bool {
        let hint = async {
            tokio::time::sleep(PATIENCE).await;
            say("waiting for whoever reads the records; once more Ctrl-C to wait no longer");
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
            output.flushed(LAST_PATIENCE).await
        };
        tokio::select! {
            biased;
            flushed = everything => flushed,
            () = hint => false,
        }
    }
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
