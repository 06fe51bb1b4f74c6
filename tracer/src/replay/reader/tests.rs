use std::io::{Cursor, Read};

use bytes::BytesMut;

use super::*;
use crate::options::FilterOptions;
use crate::record::EventKind;
use crate::sink::Format;
use crate::sink::json::Json;
use crate::sink::samples::inbound;

#[derive(Default)]
struct Taken(Vec<(u64, String)>);

impl Take for Taken {
    fn take(&mut self, record: &Record, line: &[u8]) -> io::Result<()> {
        let line = String::from_utf8(line.to_vec()).unwrap();
        self.0.push((record.seq, line));
        Ok(())
    }
}

fn line(seq: u64) -> String {
    let record = Record {
        seq,
        ..inbound(EventKind::Close)
    };
    let mut out = BytesMut::new();
    Json.record(&record, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn reader() -> Reader {
    Reader::new(Selector::new(FilterOptions::default(), None))
}

/// The numbers of the records in one file, and the counts.
fn read(text: &[u8]) -> (Vec<u64>, Replayed) {
    let (mut reader, mut taken) = (reader(), Taken::default());
    let mut text = Cursor::new(text);
    reader.read(0, "file", &mut text, &mut taken).unwrap();
    let numbers = taken.0.iter().map(|(seq, _)| *seq).collect();
    (numbers, reader.finish())
}

#[test]
fn records_are_taken_with_their_lines_and_counted() {
    let (mut reader, mut taken) = (reader(), Taken::default());
    let text = [line(1), line(2)].concat() + "\r\n  \n" + line(3).trim_end();
    reader
        .read(0, "file", &mut text.as_bytes(), &mut taken)
        .unwrap();
    assert_eq!(taken.0[1], (2, line(2).trim_end().to_owned()));
    let replayed = reader.finish();
    let time = inbound(EventKind::Close).time;
    let expected = Replayed {
        files: 1,
        records: 3,
        kept: 3,
        first: Some(time),
        last: Some(time),
        ..Replayed::default()
    };
    assert_eq!((taken.0.len(), replayed), (3, expected));
}

#[test]
fn an_empty_file_is_one() {
    let (numbers, replayed) = read(b"");
    assert_eq!(
        (numbers.len(), replayed.files, replayed.is_short()),
        (0, 1, false)
    );
}

#[test]
fn what_is_cut_short_or_foreign_is_counted_apart_and_the_rest_goes_on() {
    let whole = line(2);
    let half = &whole[..whole.len() / 2];
    let huge = format!("{{\"v\":1,\"x\":\"{}\"}}\n", "x".repeat(lines::MAX_LINE));
    for (text, numbers, [truncated, foreign]) in [
        // The last line of a run that was killed,
        (line(1) + half, vec![1], [1, 0]),
        // or one before the end,
        (line(1) + half + "\n" + &line(3), vec![1, 3], [1, 0]),
        // or with the next run's first record behind it.
        (line(1) + half + &line(3) + &line(4), vec![1, 3, 4], [1, 0]),
        (
            line(1) + "{}\n[]\nGET / HTTP/1.1\n\0\0\n" + &line(3),
            vec![1, 3],
            [0, 4],
        ),
        (line(1) + &huge + &line(3), vec![1, 3], [0, 1]),
        (
            line(1) + &line(2).replace("\"v\":1", "\"v\":2") + &line(3),
            vec![1, 3],
            [0, 1],
        ),
    ] {
        let (found, replayed) = read(text.as_bytes());
        assert_eq!(found, numbers);
        assert_eq!([replayed.truncated, replayed.foreign], [truncated, foreign]);
        assert!(replayed.is_short());
    }
}

#[test]
fn a_record_that_was_just_read_counts_once() {
    let overlap = [line(1), line(2), line(2), line(1), line(3)].concat();
    let (numbers, replayed) = read(overlap.as_bytes());
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(
        (replayed.records, replayed.kept, replayed.repeated),
        (5, 3, 2)
    );
    assert!(!replayed.is_short());
}

#[test]
fn a_file_that_begins_like_an_earlier_one_is_left_out() {
    let (mut reader, mut taken) = (reader(), Taken::default());
    let mut read = |index, text: String| {
        let mut text = text.as_bytes();
        reader.read(index, "file", &mut text, &mut taken).unwrap()
    };
    assert!(matches!(
        read(0, "x\n".to_owned() + &line(1) + &line(2)),
        FileEnd::Read
    ));
    assert!(matches!(read(1, line(3) + &line(1)), FileEnd::Read));
    assert!(matches!(read(2, line(1) + &line(9)), FileEnd::Repeated(0)));
    let replayed = reader.finish();
    assert_eq!(
        (replayed.files, replayed.repeated_files, replayed.kept),
        (2, 1, 3)
    );
}

#[test]
fn what_came_before_an_error_counts_a_whole_last_line_included() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
    for (text, numbers, truncated) in [
        (line(1) + &line(2), vec![1, 2], 0),
        (line(1) + line(2).trim_end(), vec![1, 2], 0),
        (line(1) + &line(2)[..99], vec![1], 1),
    ] {
        let (mut reader, mut taken) = (reader(), Taken::default());
        let mut text = io::BufReader::new(Cursor::new(text).chain(Broken));
        let end = reader.read(0, "file", &mut text, &mut taken).unwrap();
        assert!(matches!(end, FileEnd::Read));
        let found: Vec<_> = taken.0.iter().map(|(seq, _)| *seq).collect();
        let replayed = reader.finish();
        assert_eq!(found, numbers);
        assert_eq!((replayed.damaged_files, replayed.truncated), (1, truncated));
    }
}

#[test]
fn who_takes_them_may_have_enough_or_fail() {
    struct One(u64);
    impl Take for One {
        fn take(&mut self, record: &Record, _: &[u8]) -> io::Result<()> {
            self.0 += 1;
            if record.seq == 9 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        }
        fn is_done(&self) -> bool {
            self.0 == 1
        }
    }
    let mut one = One(0);
    let text = line(1) + &line(2);
    reader()
        .read(0, "file", &mut text.as_bytes(), &mut one)
        .unwrap();
    assert_eq!(one.0, 1);
    assert!(
        reader()
            .read(0, "file", &mut line(9).as_bytes(), &mut One(5))
            .is_err()
    );
}
