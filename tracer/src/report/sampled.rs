//! What sampling cannot see, in sentences.

use std::time::Duration;

use super::text::counted;
use crate::summary::Sampled;

/// Completes "… does not see".
pub(crate) fn blind_spots(interval: Duration) -> String {
    format!(
        "connections shorter than {} unless the kernel still remembers them, failed attempts, and \
         who moved bytes: they count for the oldest process that has the connection open",
        time(interval)
    )
}

/// For people.
pub(crate) fn time(time: Duration) -> String {
    let time = jiff::SignedDuration::try_from(time).unwrap_or(jiff::SignedDuration::MAX);
    format!("{time:#}")
}

/// What is known of the loss, with whether something is known to be lost.
pub(super) fn sentences(sampled: &Sampled) -> Vec<(String, bool)> {
    let Sampled {
        rounds,
        interval_ns,
        output_dropped,
    } = *sampled;
    let interval = Duration::from_nanos(interval_ns);
    let looks = counted(rounds, "time");
    let unknown = format!(
        "loss: unknown, sampled {looks}, every {}: not seen are {}",
        time(interval),
        blind_spots(interval)
    );
    let dropped = (output_dropped > 0).then(|| {
        let records = counted(output_dropped, "record");
        (
            format!("loss: {records} dropped, because the output could not keep up"),
            true,
        )
    });
    std::iter::once((unknown, false)).chain(dropped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_never_none() {
        let sampled = |output_dropped| Sampled {
            rounds: 1_234,
            interval_ns: 1_500_000_000,
            output_dropped,
        };
        let clean = sentences(&sampled(0));
        assert_eq!(clean.len(), 1);
        let text = &clean[0].0;
        assert!(
            text.starts_with("loss: unknown, sampled 1,234 times, every 1s 500ms: not seen"),
            "{text}"
        );
        let dropped = sentences(&sampled(7));
        assert!(dropped[1].0.starts_with("loss: 7 records dropped") && dropped[1].1);
    }
}
