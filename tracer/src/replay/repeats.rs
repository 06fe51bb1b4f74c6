//! Records that are read twice: rotated files may overlap, and a file may be given beside its
//! compressed copy. Pure.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashMap;

use crate::record::Record;

/// Records that are remembered, each as eight bytes.
const REMEMBERED: usize = 1 << 20;

/// What was read lately, and how each file began. Records are told apart by a keyed 64-bit hash of
/// host, connection, event, number and time.
#[derive(Debug)]
pub struct Repeats {
    key: RandomState,
    /// Each at the place that its hash says, until another one takes it.
    lately: Vec<u64>,
    /// First records of files, and which file that was.
    beginnings: HashMap<u64, usize>,
}

impl Default for Repeats {
    fn default() -> Self {
        Self {
            key: RandomState::new(),
            lately: vec![0; REMEMBERED],
            beginnings: HashMap::new(),
        }
    }
}

impl Repeats {
    /// Takes the first record of a file; returns an earlier file that begins with the same one.
    pub fn begin(&mut self, file: usize, record: &Record) -> Option<usize> {
        let print = self.print(record);
        let earlier = *self.beginnings.entry(print).or_insert(file);
        (earlier != file).then_some(earlier)
    }

    /// Whether the record was read among the last million or so, and remembers it.
    pub fn is_repeated(&mut self, record: &Record) -> bool {
        let print = self.print(record);
        let place = usize::try_from(print).unwrap_or(0) % REMEMBERED;
        std::mem::replace(&mut self.lately[place], print) == print
    }

    fn print(&self, record: &Record) -> u64 {
        let Record {
            host,
            id,
            event,
            seq,
            mono_ns,
            ..
        } = record;
        // Zero is an empty place.
        self.key.hash_one((host, id, event, seq, mono_ns)) | 1 << 63
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ConnectionId, EventKind};
    use crate::sink::samples::inbound;

    #[test]
    fn a_record_is_repeated_if_it_is_the_same_of_the_same_host() {
        let mut repeats = Repeats::default();
        let record = inbound(EventKind::Close);
        assert!(!repeats.is_repeated(&record));
        for other in [
            Record {
                host: "other".into(),
                ..record.clone()
            },
            Record {
                id: ConnectionId(1),
                ..record.clone()
            },
            Record {
                event: EventKind::Ended,
                ..record.clone()
            },
            Record {
                seq: 9,
                ..record.clone()
            },
            Record {
                mono_ns: 9,
                ..record.clone()
            },
        ] {
            assert!(!repeats.is_repeated(&other));
            assert!(repeats.is_repeated(&other));
        }
        assert!(repeats.is_repeated(&record));
    }

    #[test]
    fn how_a_file_begins_is_remembered_for_good() {
        let mut repeats = Repeats::default();
        let first = inbound(EventKind::Open);
        assert_eq!(repeats.begin(0, &first), None);
        let numbered = |seq| Record {
            seq,
            ..first.clone()
        };
        assert_eq!(repeats.begin(1, &numbered(2)), None);
        for seq in 10..1000 {
            repeats.is_repeated(&numbered(seq));
        }
        assert_eq!(repeats.begin(2, &first), Some(0));
        assert_eq!(repeats.begin(3, &numbered(2)), Some(1));
    }
}
