//! The comparison with the kernel's own counters, in sentences.

use super::text::{counted, grouped};
use crate::reconcile::Reconciliation;
use crate::reconcile::compare::{Cause, Count, Row};

/// In the order of [`Row::counts`].
const NOUNS: [&str; 4] = [
    "outbound attempt",
    "inbound connection",
    "failed attempt",
    "reset",
];

/// One sentence for what agrees, one a namespace for what does not, one for what was not compared;
/// each with whether it tells of a difference.
pub(super) fn sentences(kernel: &Reconciliation) -> Vec<(String, bool)> {
    let Reconciliation {
        compared,
        not_compared,
    } = kernel;
    let several = compared.len() > 1;
    let agreeing: Vec<_> = compared.iter().filter(|row| !row.differs()).collect();
    let place = match (several, agreeing.len()) {
        (false, _) => String::new(),
        (true, 1) => " in 1 network namespace".to_owned(),
        (true, number) => format!(" in {} network namespaces", grouped(number as u64)),
    };
    let mut out: Vec<_> = all(&agreeing)
        .map(|numbers| (format!("seen {numbers}{place}"), false))
        .into_iter()
        .collect();
    for row in compared.iter().filter(|row| row.differs()) {
        let place = if several {
            format!("netns {}: ", row.netns)
        } else {
            String::new()
        };
        let numbers = all(&[row]).unwrap_or_default();
        out.push((format!("{place}seen {numbers}{}", differences(row)), true));
    }
    if compared.is_empty() && not_compared.is_empty() {
        out.push(("no connections either".to_owned(), false));
    }
    out.extend(drops(compared).map(|text| (text, false)));
    out.extend(unread(not_compared).map(|text| (text, false)));
    out
}

/// `5 of 5 outbound attempts, …`; `None` when there is nothing.
fn all(rows: &[&Row]) -> Option<String> {
    let sums = rows.iter().map(|row| row.counts()).reduce(|sums, counts| {
        std::array::from_fn(|index| Count {
            seen: sums[index].seen + counts[index].seen,
            low: sums[index].low + counts[index].low,
            high: sums[index].high + counts[index].high,
            cause: None,
        })
    })?;
    let happened = sums
        .iter()
        .zip(NOUNS)
        .filter(|(count, _)| count.seen > 0 || count.high > 0);
    let parts: Vec<_> = happened
        .map(|(count, noun)| {
            let seen = grouped(count.seen);
            if count.low == count.high {
                format!("{seen} of {}", counted(count.high, noun))
            } else {
                let low = grouped(count.low);
                format!("{seen} of {low} to {}", counted(count.high, noun))
            }
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn differences(row: &Row) -> String {
    let counts = row.counts();
    let told = counts.iter().zip(NOUNS).filter_map(|(count, noun)| {
        let cause = count.cause?;
        let number = match (count.missing(), count.surplus()) {
            (0, surplus) => format!("{} too many", counted(surplus, noun)),
            (missing, _) => format!("{} not seen", counted(missing, noun)),
        };
        Some(format!("; {number}: {}", likely(cause)))
    });
    told.collect()
}

fn likely(cause: Cause) -> &'static str {
    match cause {
        Cause::TableFull => "the connection table was full, raise --max-connections",
        Cause::BuffersFull => "every buffer was full, raise --ring-size and --max-connections",
        Cause::FoundLate => "the namespace may be older than its first name or process",
        Cause::OlderConnections => "likely from connections that are older than this run",
        Cause::MissedProbes => "likely probe runs that the kernel skipped",
        Cause::Unknown => "the cause is not known",
    }
}

/// What listeners dropped, which leaves no connection to see.
fn drops(rows: &[Row]) -> Option<String> {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    let (drops, overflows) = (sum(|row| row.listen_drops), sum(|row| row.listen_overflows));
    let times = counted(drops.max(overflows), "time");
    match (drops.saturating_sub(overflows), overflows) {
        (0, 0) => None,
        (0, _) => Some(format!(
            "a listener dropped a handshake {times}, its accept queue was full; clients try again"
        )),
        (_, overflows) => Some(format!(
            "a listener dropped a handshake {times}, {} of them because its accept queue was full; \
             clients try again",
            grouped(overflows)
        )),
    }
}

fn unread(namespaces: &[u32]) -> Option<String> {
    const SHOWN: usize = 3;
    let names: Vec<_> = namespaces
        .iter()
        .take(SHOWN)
        .map(|netns| format!("netns {netns}"))
        .collect();
    let more = namespaces.len().saturating_sub(SHOWN);
    let names = match (names.is_empty(), more) {
        (true, _) => return None,
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {} more", names.join(", "), grouped(more as u64)),
    };
    Some(format!(
        "not compared: {names}, without a process or a name at the start or at the end"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(number: u64) -> Count {
        Count {
            seen: number,
            low: number,
            high: number,
            cause: None,
        }
    }

    fn row(netns: u32, numbers: [u64; 4]) -> Row {
        let [attempts, inbound, failures, resets] = numbers.map(exact);
        Row {
            netns,
            attempts,
            inbound,
            failures,
            resets,
            listen_overflows: 0,
            listen_drops: 0,
            is_new: false,
        }
    }

    fn told(compared: Vec<Row>, not_compared: Vec<u32>) -> Vec<(String, bool)> {
        sentences(&Reconciliation {
            compared,
            not_compared,
        })
    }

    #[test]
    fn what_agrees_is_one_sentence() {
        let one = row(7, [1234, 1230, 4, 0]);
        let text = "seen 1,234 of 1,234 outbound attempts, 1,230 of 1,230 inbound connections, \
                    4 of 4 failed attempts";
        assert_eq!(told(vec![one], Vec::new()), [(text.to_owned(), false)]);
        let two = told(vec![one, row(8, [1, 0, 0, 1])], Vec::new());
        let text = "seen 1,235 of 1,235 outbound attempts, 1,230 of 1,230 inbound connections, \
                    4 of 4 failed attempts, 1 of 1 reset in 2 network namespaces";
        assert_eq!(two, [(text.to_owned(), false)]);
        let none = [("no connections either".to_owned(), false)];
        assert_eq!(told(Vec::new(), Vec::new()), none);
    }

    #[test]
    fn a_range_is_told_as_one() {
        let mut range = row(7, [5, 0, 0, 0]);
        (range.attempts.low, range.attempts.high) = (4, 1006);
        let text = "seen 5 of 4 to 1,006 outbound attempts";
        assert_eq!(told(vec![range], Vec::new()), [(text.to_owned(), false)]);
    }

    #[test]
    fn a_difference_is_told_apart_with_its_number_and_cause() {
        let mut short = row(8, [10, 0, 0, 2]);
        short.attempts.seen = 8;
        short.attempts.cause = Some(Cause::TableFull);
        short.resets.seen = 3;
        short.resets.cause = Some(Cause::Unknown);
        let told = told(vec![row(7, [5, 0, 0, 0]), short], Vec::new());
        let agrees = "seen 5 of 5 outbound attempts in 1 network namespace";
        let differs = "netns 8: seen 8 of 10 outbound attempts, 3 of 2 resets; 2 outbound attempts \
                       not seen: the connection table was full, raise --max-connections; 1 reset \
                       too many: the cause is not known";
        assert_eq!(
            told,
            [(agrees.to_owned(), false), (differs.to_owned(), true)]
        );
    }

    #[test]
    fn drops_and_namespaces_without_a_process_are_named() {
        let full = Row {
            listen_overflows: 4,
            listen_drops: 4,
            ..row(7, [0, 0, 0, 0])
        };
        let told_full = told(vec![full], vec![1, 2, 3, 4, 5]);
        assert_eq!(told_full.len(), 2, "{told_full:?}");
        assert!(told_full[0].0.contains("4 times, its accept queue"));
        assert!(
            told_full[1]
                .0
                .contains("netns 1, netns 2, netns 3 and 2 more,")
        );
        let mixed = Row {
            listen_drops: 5,
            ..full
        };
        assert!(
            told(vec![mixed], Vec::new())[0]
                .0
                .contains("5 times, 4 of them")
        );
    }
}
