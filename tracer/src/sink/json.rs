//! JSON lines.

use std::io;

use bytes::{BufMut, BytesMut};

use super::Format;
use crate::interval::Interval;
use crate::record::Record;
use crate::report;

/// One JSON object a line, fields as in [`Record`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Format for Json {
    fn header(&self, _out: &mut BytesMut) {}

    fn record(&mut self, record: &Record, out: &mut BytesMut) -> bool {
        write_line(record, out);
        true
    }

    fn interval(&mut self, interval: &Interval, sequence: &mut u64, out: &mut BytesMut) {
        report::interval::json::write(interval, Some(sequence), out);
    }
}

/// Appends `value` as one line of JSON. `value` must have only text as map keys.
pub(crate) fn write_line<T: serde::Serialize>(value: &T, out: &mut BytesMut) {
    serde_json::to_writer(Appending(out), value)
        .expect("memory takes every write, and records have no map keys that are not text");
    out.put_u8(b'\n');
}

/// `BufMut::writer` asks for room with every piece, of which a record has a hundred, in a loop.
struct Appending<'a>(&'a mut BytesMut);

impl io::Write for Appending<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;
    use crate::record::EventKind;
    use crate::sink::samples;

    fn line(record: &Record) -> String {
        let mut out = BytesMut::new();
        assert!(Json.record(record, &mut out));
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_record_is_one_object_with_unknown_values_absent() {
        assert_eq!(
            line(&samples::inbound(EventKind::Accept)),
            concat!(
                r#"{"v":1,"time":"2026-01-31T12:00:00.123456789Z","mono_ns":77,"seq":1,"#,
                r#""host":"box","event":"accept","id":"00000000000000ab","proto":"tcp","#,
                r#""direction":"inbound","family":"ipv4","local":{"ip":"10.0.0.5","port":80},"#,
                r#""remote":{"ip":"10.0.0.9","port":20122},"process":{"pid":1234,"tid":1234,"#,
                r#""name":"nginx","thread":"nginx","uid":33,"start_ns":5},"#,
                r#""netns":4026531840}"#,
                "\n"
            )
        );
    }

    #[test]
    fn integers_keep_every_digit_and_wide_ids_are_text() {
        let record = samples::closed(u64::MAX, 9_007_199_254_740_993);
        let value: serde_json::Value = serde_json::from_str(&line(&record)).unwrap();
        assert_eq!(value["bytes"]["tx"], u64::MAX);
        assert_eq!(value["bytes"]["rx"], 9_007_199_254_740_993_u64);
        assert_eq!(value["cgroup"]["id"], "7205759403792794");
        assert_eq!(value["event"], "close");
    }

    #[test]
    fn hostile_names_stay_inside_their_line() {
        let mut record = samples::inbound(EventKind::Accept);
        let nasty = crate::names::escape(b"a\"b\n{\"v\":1}\x1b[2J\xff");
        record.process.as_mut().unwrap().name = nasty.clone();
        let line = line(&record);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.trim_end().contains(char::is_control));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["process"]["name"], nasty.as_str());
    }

    #[test]
    fn a_buffer_with_room_is_not_moved() {
        let mut out = BytesMut::with_capacity(64 * 1024);
        let start = out.as_ptr();
        for _ in 0..50 {
            Json.record(&samples::inbound(EventKind::Accept), &mut out);
        }
        assert_eq!(out.as_ptr(), start);
        assert_eq!(out.lines().count(), 50);
    }
}
