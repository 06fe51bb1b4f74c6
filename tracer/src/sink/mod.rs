//! Records on their way out: [`live`] and [`json`] turn them into bytes, [`selected`] leaves some out, [`writer`] carries the
//! bytes without ever making the tracer wait, [`file`](mod@file) opens where they go.

pub mod file;
pub mod json;
pub mod live;
#[cfg(test)]
pub(crate) mod samples;
pub mod selected;
pub mod writer;

use bytes::BytesMut;

use crate::interval::Interval;
use crate::record::{EventKind, Record};

/// One way to write records.
pub trait Format {
    /// Appends what stands before the first record.
    fn header(&self, out: &mut BytesMut);

    /// Appends one record, as a whole line. Returns whether this format shows it at all.
    fn record(&mut self, record: &Record, out: &mut BytesMut) -> bool;

    /// Hears that tracing begins, by the monotonic clock.
    fn begin(&mut self, _mono_ns: u64) {}

    /// Whether records of this kind are to be given to it.
    fn wants(&self, _event: EventKind) -> bool {
        true
    }

    /// Appends an interval, as whole lines; those that are records count on `sequence`.
    fn interval(&mut self, interval: &Interval, sequence: &mut u64, out: &mut BytesMut);
}
