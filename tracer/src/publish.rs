//! Records on their way out: counted into the tables, numbered, formatted, queued.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::aggregate::Aggregate;
use crate::carrier::Carriers;
use crate::record::{EventKind, Record};
use crate::sink::Format;
use crate::sink::writer::Output;

/// Bytes handed over at a time.
const CHUNK: usize = 64 << 10;
/// How long a consumer may take nothing before records are dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// The event stream and the tables behind it.
pub struct Publisher {
    /// The tables.
    pub aggregate: Aggregate,
    stream: Option<Stream>,
    carriers: Carriers,
    sequence: u64,
}

/// Where the records go, and in what shape.
pub struct Stream {
    format: Box<dyn Format>,
    output: Output,
    /// The consumer takes nothing: do not wait for it again before it does.
    stalled: bool,
}

impl Stream {
    /// `format` makes bytes of the records, `output` takes them.
    pub fn new(format: Box<dyn Format>, output: Output) -> Self {
        Self {
            format,
            output,
            stalled: false,
        }
    }

    async fn send(&mut self, chunk: Bytes, lines: u64) {
        let patience = if self.stalled {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let room = self.output.room(chunk.len());
        self.stalled = tokio::time::timeout(patience, room).await.is_err();
        self.output.push(chunk, lines);
    }
}

impl Publisher {
    /// Without a stream only the tables are kept.
    pub fn new(stream: Option<Stream>, carriers: Carriers) -> Self {
        if let Some(stream) = &stream {
            let mut header = BytesMut::new();
            stream.format.header(&mut header);
            if !header.is_empty() {
                stream.output.push(header.freeze(), 0);
            }
        }
        Self {
            aggregate: Aggregate::default(),
            stream,
            carriers,
            sequence: 0,
        }
    }

    /// Counts the records and sends them out; the vector is left empty.
    ///
    /// When the consumer is behind, this waits for it: meanwhile the kernel keeps what happens. A
    /// consumer that takes nothing for [`PATIENCE`] loses records until it takes some again.
    pub async fn publish(&mut self, records: &mut Vec<Record>) {
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
                stream.send(chunk.split().freeze(), lines).await;
                lines = 0;
            }
        }
        if let Some(stream) = &mut self.stream
            && !chunk.is_empty()
        {
            stream.send(chunk.freeze(), lines).await;
        }
    }

    /// Waits until the output has ended by itself; forever without a stream.
    pub async fn output_ended(&self) {
        match &self.stream {
            Some(stream) => stream.output.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Gives back the tables and the output.
    pub fn into_parts(self) -> (Aggregate, Option<Output>) {
        (self.aggregate, self.stream.map(|stream| stream.output))
    }
}

/// Showing the traffic of what carries our own output would make more of it, without end. The
/// tables have it, and that the connection came and went is news once.
fn is_own_output(carriers: &mut Carriers, record: &Record) -> bool {
    if !matches!(record.event, EventKind::Traffic | EventKind::Io) {
        return false;
    }
    let owner = record.process.iter().map(|process| process.pid);
    let users = record.users.iter().map(|user| user.pid);
    owner.chain(users).any(|pid| carriers.is_carrier(pid))
}
