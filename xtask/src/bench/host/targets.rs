//! How little tracing has to cost.

use serde::Serialize;

use super::{load::Kind, result::Row};

/// A mode's targets.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) side: &'static str,
    /// The throughput with the side, by that without: the lower end of the interval.
    pub(crate) ratios: &'static [(Kind, f64)],
    /// The side's own CPU with churn, in per cent of a core.
    pub(crate) own_cpu: Option<f64>,
}

/// Those of issue 5.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        side: "socket, no accept hooks",
        ratios: &[
            (Kind::Churn, 0.97),
            (Kind::PingPong, 0.99),
            (Kind::Bulk, 0.99),
        ],
        own_cpu: Some(3.0),
    },
    Target {
        side: "process, no accept hooks",
        ratios: &[
            (Kind::Churn, 0.95),
            (Kind::PingPong, 0.97),
            (Kind::Bulk, 0.98),
        ],
        own_cpu: Some(3.0),
    },
    Target {
        side: "process, accept hooks",
        ratios: &[
            (Kind::Churn, 0.93),
            (Kind::PingPong, 0.95),
            (Kind::Bulk, 0.97),
        ],
        own_cpu: Some(4.0),
    },
    // The same as without records.
    Target {
        side: "JSON of every record",
        ratios: &[
            (Kind::Churn, 0.95),
            (Kind::PingPong, 0.97),
            (Kind::Bulk, 0.98),
        ],
        own_cpu: None,
    },
];

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) side: &'static str,
    /// In words.
    pub(crate) what: String,
    pub(crate) target: f64,
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

/// The targets for which something was measured.
pub(crate) fn outcomes(rows: &[Row]) -> Vec<Outcome> {
    let find = |side: &str, load: Kind| {
        let mut rows = rows.iter();
        rows.find(|row| row.side == side && row.load == load)?
            .figures
            .as_ref()
    };
    let mut outcomes = Vec::new();
    for target in TARGETS {
        let mut add = |what: String, limit: f64, measured: f64, met: bool| {
            outcomes.push(Outcome {
                side: target.side,
                what,
                target: limit,
                measured,
                met,
            });
        };
        for (load, least) in target.ratios {
            if let Some(figures) = find(target.side, *load) {
                let low = figures.throughput.low;
                add(format!("{load}, at least"), *least, low, low >= *least);
            }
        }
        if let (Some(most), Some(figures)) = (target.own_cpu, find(target.side, Kind::Churn)) {
            let own = figures.own_cpu_percent;
            add(
                "own CPU at churn in %, at most".to_owned(),
                most,
                own,
                own <= most,
            );
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::host::{result::tests::row, sides::SIDES};

    #[test]
    fn each_target_is_one_of_a_side() {
        for target in TARGETS {
            let known = SIDES.iter().any(|side| side.name == target.side);
            assert!(known, "{}", target.side);
        }
    }

    #[test]
    fn the_lower_end_of_the_interval_decides() {
        let side = "process, accept hooks";
        // The middle is above the target in both.
        let good = outcomes(&[row(side, Kind::Churn, &[0.93, 0.94, 0.95])]);
        let bad = outcomes(&[row(side, Kind::Churn, &[0.92, 0.94, 0.95])]);
        assert!(good[0].met && !bad[0].met, "{good:?} {bad:?}");
        assert_eq!(good.len(), 2, "a ratio and the own CPU");
        assert_eq!(outcomes(&[row("tcplife", Kind::Churn, &[0.1])]), []);
    }
}
