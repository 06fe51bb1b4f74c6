//! What is missing, in sentences: how much, what it means, what to change.

use tracer_common::follow::MAX_FOLLOWED;

use super::text::{counted, grouped};
use crate::summary::Loss;

/// One sentence a counter that is not zero; empty when nothing is missing.
pub(super) fn sentences(loss: &Loss) -> Vec<String> {
    // Named one by one, so that a new counter cannot be forgotten here.
    let Loss {
        late_news: _,
        folded_connections,
        io_records,
        untracked_inbound,
        untracked_outbound,
        untracked_older,
        untracked_accepts,
        untracked_tx,
        untracked_rx,
        lost_connections,
        lost_tx,
        lost_rx,
        users_full,
        not_followed,
        missed_probes,
        unknown_records,
        output_dropped,
    } = *loss;
    let sentences = [
        (untracked_inbound > 0).then(|| table_full(untracked_inbound, "inbound connection")),
        (untracked_outbound > 0).then(|| table_full(untracked_outbound, "outbound attempt")),
        (untracked_older > 0).then(|| table_full(untracked_older, "older connection")),
        (untracked_accepts > 0).then(|| untracked(&counted(untracked_accepts, "accept"))),
        (untracked_tx > 0 || untracked_rx > 0)
            .then(|| untracked(&moved(untracked_tx, untracked_rx))),
        (folded_connections > 0).then(|| {
            let connections = counted(folded_connections, "connection");
            format!(
                "{connections} ended while the event ring was full and are counted without their \
                 peer; raise --ring-size"
            )
        }),
        (lost_connections > 0 || lost_tx > 0 || lost_rx > 0).then(|| {
            let connections = counted(lost_connections, "connection");
            let moved = moved(lost_tx, lost_rx);
            format!(
                "{connections} ended while every buffer was full and are not counted here, with \
                 {moved}; raise --ring-size and --max-connections"
            )
        }),
        (users_full > 0).then(|| {
            let times = counted(users_full, "time");
            format!(
                "{times} a connection was used by more processes than it has room for; the bytes \
                 of the further ones are unattributed"
            )
        }),
        (not_followed > 0).then(|| {
            let processes = counted(not_followed, "process");
            format!(
                "{processes} not followed, as more than {} ran at a time; their connections are not \
                 counted here",
                grouped(u64::from(MAX_FOLLOWED))
            )
        }),
        (io_records > 0).then(|| {
            let records = counted(io_records, "io record");
            format!(
                "{records} left out because the event ring was full, their bytes are counted here; \
                 raise --ring-size"
            )
        }),
        (missed_probes > 0).then(|| {
            let runs = counted(missed_probes, "probe run");
            format!(
                "{runs} skipped by the kernel because another was running on that CPU; counts may \
                 be too low"
            )
        }),
        (unknown_records > 0).then(|| {
            let events = counted(unknown_records, "event");
            format!(
                "{events} of an unknown kind ignored; the eBPF object is another version's, \
                 build it again"
            )
        }),
        (output_dropped > 0).then(|| {
            let records = counted(output_dropped, "record");
            format!(
                "{records} left out of the output, which could not keep up, but counted here; use \
                 a faster reader, --output FILE or --quiet"
            )
        }),
    ];
    sentences.into_iter().flatten().collect()
}

fn table_full(number: u64, what: &str) -> String {
    let what = counted(number, what);
    format!("{what} not counted here, the connection table was full; raise --max-connections")
}

fn untracked(what: &str) -> String {
    format!(
        "{what} not counted here, on connections that found the connection table full; raise \
         --max-connections"
    )
}

fn moved(tx: u64, rx: u64) -> String {
    format!("{} sent and {} received", counted(tx, "byte"), grouped(rx))
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: u64 = 1234;
    type Case = (&'static dyn Fn(&mut Loss), &'static str);

    #[test]
    fn no_loss_is_no_sentence_and_lateness_is_no_loss() {
        assert!(
            sentences(&Loss {
                late_news: 7,
                ..Loss::default()
            })
            .is_empty()
        );
    }

    #[test]
    fn every_lossy_counter_has_its_own_sentence_with_its_number() {
        let cases: [Case; 16] = [
            (&|loss| loss.folded_connections = N, "--ring-size"),
            (&|loss| loss.io_records = N, "--ring-size"),
            (&|loss| loss.untracked_inbound = N, "--max-connections"),
            (&|loss| loss.untracked_outbound = N, "--max-connections"),
            (&|loss| loss.untracked_older = N, "--max-connections"),
            (&|loss| loss.untracked_accepts = N, "--max-connections"),
            (
                &|loss| loss.untracked_tx = N,
                "1,234 bytes sent and 0 received",
            ),
            (
                &|loss| loss.untracked_rx = N,
                "0 bytes sent and 1,234 received",
            ),
            (&|loss| loss.lost_connections = N, "--max-connections"),
            (&|loss| loss.lost_tx = N, "1,234 bytes sent and 0 received"),
            (&|loss| loss.lost_rx = N, "0 bytes sent and 1,234 received"),
            (&|loss| loss.users_full = N, "unattributed"),
            (&|loss| loss.not_followed = N, "not followed"),
            (&|loss| loss.missed_probes = N, "too low"),
            (&|loss| loss.unknown_records = N, "build it again"),
            (&|loss| loss.output_dropped = N, "--output"),
        ];
        for (change, word) in cases {
            let mut loss = Loss::default();
            change(&mut loss);
            assert!(loss.is_lossy());
            let told = sentences(&loss);
            assert_eq!(told.len(), 1, "{loss:?}");
            assert!(
                told[0].contains("1,234") && told[0].contains(word),
                "{}",
                told[0]
            );
        }
    }
}
