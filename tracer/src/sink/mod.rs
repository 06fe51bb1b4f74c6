//! Records on their way out: [`live`] and [`json`] turn them into bytes, [`writer`] carries the
//! bytes without ever making the tracer wait, [`file`](mod@file) opens where they go.

pub mod file;
pub mod json;
pub mod live;
#[cfg(test)]
pub(crate) mod samples;
pub mod writer;

use bytes::BytesMut;

use crate::record::Record;

/// One way to write records.
pub trait Format {
    /// Appends what stands before the first record.
    fn header(&self, out: &mut BytesMut);

    /// Appends one record, as a whole line. Returns whether this format shows it at all.
    fn record(&mut self, record: &Record, out: &mut BytesMut) -> bool;
}
