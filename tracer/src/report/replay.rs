//! What a replay read and could not read, in sentences.

use super::text::{counted, grouped};
use crate::summary::Replayed;

/// What was read, then one sentence for each thing that was not; with whether it tells of one.
pub(super) fn sentences(replayed: &Replayed) -> Vec<(String, bool)> {
    // Named one by one, so that a new counter cannot be forgotten here.
    let Replayed {
        files,
        unopened_files,
        damaged_files,
        repeated_files,
        records,
        kept,
        repeated,
        truncated,
        foreign,
        intervals,
        first,
        last,
    } = *replayed;
    let span = match (first, last) {
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        _ => String::new(),
    };
    let of = if kept == records {
        String::new()
    } else {
        format!("{} of ", grouped(kept))
    };
    let (records, files) = (counted(records, "record"), counted(files, "file"));
    let read = format!("replayed: {of}{records} in {files}{span}");
    let unknown = "loss: not known, nor the backend: records do not tell";
    let missing = [
        (truncated, "line", "cut short and left out", true),
        (foreign, "line", "no record and left out", true),
        (damaged_files, "file", "damaged, read up to there", true),
        (unopened_files, "file", "not read", true),
        (repeated, "record", "there twice, counted once", false),
        (
            repeated_files,
            "file",
            "left out, beginning like another",
            false,
        ),
    ];
    let intervals = (intervals > 0).then(|| {
        let rows = counted(intervals, "row");
        let text = format!("intervals: {rows} left out, as only records of connections count");
        (text, false)
    });
    let missing = missing.into_iter().filter(|(number, ..)| *number > 0);
    [(read, false), (unknown.to_owned(), false)]
        .into_iter()
        .chain(intervals)
        .chain(missing.map(|(number, noun, what, is_short)| {
            let head = if is_short { "missing" } else { "repeated" };
            (
                format!("{head}: {}, {what}", counted(number, noun)),
                is_short,
            )
        }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::WallTime;

    fn told(replayed: Replayed) -> Vec<String> {
        let sentences = sentences(&replayed);
        sentences.into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn a_clean_replay_says_what_it_read_and_what_records_do_not_tell() {
        let clean = Replayed {
            files: 2,
            records: 1_234,
            kept: 1_234,
            first: Some(WallTime(0)),
            last: Some(WallTime(1)),
            ..Replayed::default()
        };
        let read = "replayed: 1,234 records in 2 files, from 1970-01-01T00:00:00.000000000Z to \
                    1970-01-01T00:00:00.000000001Z";
        let unknown = "loss: not known, nor the backend: records do not tell";
        assert_eq!(told(clean), [read, unknown]);
        let filtered = Replayed {
            kept: 0,
            first: None,
            last: None,
            ..clean
        };
        assert_eq!(told(filtered)[0], "replayed: 0 of 1,234 records in 2 files");
    }

    #[test]
    fn everything_left_out_has_its_own_sentence() {
        type Case = (fn(&mut Replayed), &'static str, bool);
        let cases: [Case; 6] = [
            (|it| it.truncated = 1, "missing: 1 line, cut short", true),
            (|it| it.foreign = 7, "missing: 7 lines, no record", true),
            (|it| it.damaged_files = 1, "missing: 1 file, damaged", true),
            (|it| it.unopened_files = 2, "missing: 2 files, not", true),
            (|it| it.repeated = 3, "repeated: 3 records, there", false),
            (|it| it.repeated_files = 1, "repeated: 1 file, left", false),
        ];
        for (change, start, is_short) in cases {
            let mut replayed = Replayed::default();
            change(&mut replayed);
            let sentence = sentences(&replayed).remove(2);
            assert!(sentence.0.starts_with(start), "{}", sentence.0);
            assert_eq!((sentence.1, replayed.is_short()), (is_short, is_short));
        }
    }
}
