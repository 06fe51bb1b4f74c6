//! How right the records of a workload are, on a scale.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use serde::Deserialize;

use crate::compare::{Facts, finals};
use crate::tracer::Finished;
use crate::truth::{End, Share, Truth};

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Every number, address and process.
    Exact,
    /// The totals of each connection; some bytes have no process, or the connection no owner, but
    /// nothing is credited to a wrong one.
    Total,
    /// As `Total`, but in the bytes that TCP carried, not in those that the application moved.
    Wire,
    /// Some bytes are not counted; nothing is counted too much or credited to a wrong process.
    Uncounted,
    /// A number too high, a wrong process, a connection too many or too few.
    #[serde(skip)]
    Wrong,
    /// The kernel cannot do it.
    #[serde(skip)]
    NotHere,
}

/// The grade of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The worst of its connections.
    pub grade: Grade,
    /// What is of that grade, or why it is not here.
    pub details: Vec<String>,
}

/// Grades several workloads that ran under one tracer, each with a name.
///
/// A record that belongs to no end is held against the workload whose ports it has.
pub fn grade(finished: &Finished, workloads: &[(&str, Truth)]) -> Vec<Mark> {
    let mut records: HashMap<_, Vec<Facts>> = HashMap::new();
    for record in finals(finished) {
        let facts = Facts::of_record(record);
        records.entry(key(&facts)).or_default().push(facts);
    }
    let mut marks: Vec<Mark> = workloads
        .iter()
        .map(|(_, truth)| grade_one(truth, &mut records))
        .collect();
    for record in records.into_values().flatten() {
        let owner = workloads
            .iter()
            .position(|(_, truth)| listening(truth).contains(&service(&record).port()));
        let index = owner.unwrap_or_else(|| panic!("nobody made this connection: {record:?}"));
        marks[index].note(Grade::Wrong, format!("one connection too many: {record:?}"));
    }
    marks
}

impl Mark {
    fn note(&mut self, grade: Grade, detail: String) {
        if grade > self.grade {
            self.grade = grade;
            self.details.clear();
        }
        if grade == self.grade {
            self.details.push(detail);
        }
    }
}

type Key = (bool, SocketAddr, SocketAddr);

fn key(facts: &Facts) -> Key {
    (facts.inbound, facts.local, facts.remote)
}

fn grade_one(truth: &Truth, records: &mut HashMap<Key, Vec<Facts>>) -> Mark {
    if let Some(reason) = &truth.not_here {
        return Mark {
            grade: Grade::NotHere,
            details: vec![reason.clone()],
        };
    }
    let mut mark = Mark {
        grade: Grade::Exact,
        details: Vec::new(),
    };
    for (inbound, end) in truth.ends() {
        let happened = Facts::of_end(inbound, end, (true, true));
        let found = records.get_mut(&key(&happened)).and_then(Vec::pop);
        let Some(recorded) = found else {
            mark.note(Grade::Wrong, format!("not recorded: {happened:?}"));
            continue;
        };
        let wire = wire(truth, end);
        let grade = grade_end(&happened, &recorded, wire);
        if grade > Grade::Exact {
            let wire = wire.map_or(String::new(), |wire| format!("\n    on wire  {wire:?}"));
            let text = format!("happened {happened:?}{wire}\n    recorded {recorded:?}");
            mark.note(grade, text);
        }
    }
    mark
}

/// What TCP carried for an end, sent and received, where that is not what it moved.
fn wire(truth: &Truth, end: &End) -> Option<(u64, u64)> {
    let mut ends = truth.ends().map(|(_, end)| end);
    let peer = ends.find(|peer| (peer.local, peer.remote) == (end.remote, end.local))?;
    Some((end.wire_tx?, peer.wire_tx?))
}

fn grade_end(happened: &Facts, recorded: &Facts, wire: Option<(u64, u64)>) -> Grade {
    if recorded == happened {
        return Grade::Exact;
    }
    let (wire_tx, wire_rx) = wire.unwrap_or((happened.tx, happened.rx));
    let is_mine = |share: &Share| {
        let mut truths = happened.users.iter();
        truths.any(|truth| {
            truth.pid == share.pid
                && share.tx <= truth.tx + (wire_tx - happened.tx)
                && share.rx <= truth.rx + (wire_rx - happened.rx)
        })
    };
    let same_owner = recorded.owner.is_none() || recorded.owner == happened.owner;
    let adds_up = |total, unattributed, bytes: fn(&Share) -> u64| {
        recorded.users.iter().map(bytes).sum::<u64>() + unattributed == total
    };
    if !same_owner
        || recorded.v6_socket != happened.v6_socket
        || !recorded.users.iter().all(is_mine)
        || !adds_up(recorded.tx, recorded.unattributed.0, |share| share.tx)
        || !adds_up(recorded.rx, recorded.unattributed.1, |share| share.rx)
    {
        return Grade::Wrong;
    }
    let (tx, rx) = (recorded.tx, recorded.rx);
    // Where both numbers may be the same by chance, the lesser claim is the safe one.
    if wire == Some((tx, rx)) {
        Grade::Wire
    } else if (tx, rx) == (happened.tx, happened.rx) {
        Grade::Total
    } else if tx <= happened.tx && rx <= happened.rx {
        Grade::Uncounted
    } else {
        Grade::Wrong
    }
}

/// The end of the listener.
fn service(facts: &Facts) -> SocketAddr {
    if facts.inbound {
        facts.local
    } else {
        facts.remote
    }
}

fn listening(truth: &Truth) -> BTreeSet<u16> {
    let ends = truth.ends();
    ends.map(|(inbound, end)| service(&Facts::of_end(inbound, end, (true, true))).port())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened() -> Facts {
        Facts {
            local: "127.0.0.1:7000".parse().unwrap(),
            remote: "127.0.0.1:40000".parse().unwrap(),
            inbound: true,
            v6_socket: false,
            owner: Some(1),
            users: vec![Share {
                pid: 2,
                tx: 50,
                rx: 60,
            }],
            unattributed: (0, 0),
            tx: 50,
            rx: 60,
        }
    }

    fn graded(change: impl FnOnce(&mut Facts)) -> Grade {
        let mut recorded = happened();
        change(&mut recorded);
        grade_end(&happened(), &recorded, None)
    }

    #[test]
    fn a_missing_process_is_a_lesser_grade_and_a_wrong_one_is_wrong() {
        assert_eq!(graded(|_| {}), Grade::Exact);
        assert_eq!(graded(|facts| facts.owner = None), Grade::Total);
        assert_eq!(graded(|facts| facts.owner = Some(9)), Grade::Wrong);
        let anonymous = |facts: &mut Facts| {
            facts.users.clear();
            facts.unattributed = (50, 60);
        };
        assert_eq!(graded(anonymous), Grade::Total);
        assert_eq!(graded(|facts| facts.users[0].pid = 1), Grade::Wrong);
    }

    #[test]
    fn too_little_is_uncounted_and_too_much_is_wrong() {
        let counted = |tx| {
            graded(|facts| {
                facts.tx = tx;
                facts.users[0].tx = tx;
            })
        };
        assert_eq!((counted(49), counted(51)), (Grade::Uncounted, Grade::Wrong));
        assert_eq!(graded(|facts| facts.unattributed.0 = 1), Grade::Wrong);
    }

    #[test]
    fn the_bytes_of_tcp_are_a_grade_of_their_own() {
        let mut recorded = happened();
        (recorded.tx, recorded.rx) = (79, 89);
        recorded.users[0] = Share {
            pid: 2,
            tx: 79,
            rx: 89,
        };
        let graded = |recorded: &Facts| grade_end(&happened(), recorded, Some((79, 89)));
        assert_eq!(graded(&recorded), Grade::Wire);
        recorded.tx = 80;
        recorded.users[0].tx = 80;
        assert_eq!(graded(&recorded), Grade::Wrong);
    }
}
