//! Records on their way out: counted into the tables, numbered, formatted, queued.

use bytes::BytesMut;

use crate::aggregate::Aggregate;
use crate::carrier::Carriers;
use crate::record::{EventKind, Record};
use crate::sink::Format;
use crate::sink::writer::Output;

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
    /// Makes bytes of them.
    pub format: Box<dyn Format>,
    /// Takes the bytes.
    pub output: Output,
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
        }
        if let Some(stream) = &self.stream
            && !chunk.is_empty()
        {
            stream.output.push(chunk.freeze(), lines);
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
