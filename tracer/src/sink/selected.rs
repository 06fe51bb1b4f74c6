//! The records that were asked for, where others are made for the intervals.

use bytes::BytesMut;

use super::Format;
use crate::interval::Interval;
use crate::options::Events;
use crate::record::{EventKind, Record};

/// A format that is given some records only.
pub struct Selected {
    inner: Box<dyn Format>,
    /// `None` = no records, only intervals.
    events: Option<Events>,
}

impl Selected {
    /// Writes records of `events` as `inner` does.
    pub fn new(inner: Box<dyn Format>, events: Option<Events>) -> Self {
        Self { inner, events }
    }
}

impl Format for Selected {
    fn header(&self, out: &mut BytesMut) {
        if self.events.is_some() {
            self.inner.header(out);
        }
    }

    fn begin(&mut self, mono_ns: u64) {
        self.inner.begin(mono_ns);
    }

    fn wants(&self, event: EventKind) -> bool {
        let is_traffic = matches!(event, EventKind::Traffic | EventKind::Io);
        let events = self.events;
        events.is_some_and(|events| events > Events::Lifecycle || !is_traffic)
    }

    fn record(&mut self, record: &Record, out: &mut BytesMut) -> bool {
        self.wants(record.event) && self.inner.record(record, out)
    }

    fn interval(&mut self, interval: &Interval, sequence: &mut u64, out: &mut BytesMut) {
        self.inner.interval(interval, sequence, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::json::Json;
    use crate::sink::samples::{inbound, outbound};

    #[test]
    fn only_what_was_asked_for_is_written() {
        let events = [
            EventKind::Open,
            EventKind::Accept,
            EventKind::Traffic,
            EventKind::Io,
            EventKind::Close,
        ];
        for (asked, expected) in [
            (None, [false; 5]),
            (Some(Events::Lifecycle), [true, true, false, false, true]),
            (Some(Events::Traffic), [true; 5]),
        ] {
            let mut format = Selected::new(Box::new(Json), asked);
            let wanted = events.map(|event| format.wants(event));
            assert_eq!(wanted, expected, "{asked:?}");
            for record in [inbound(EventKind::Close), outbound(EventKind::Traffic)] {
                let mut out = BytesMut::new();
                let is_written = format.record(&record, &mut out);
                assert_eq!(is_written, !out.is_empty());
                assert_eq!(is_written, format.wants(record.event));
            }
        }
    }
}
