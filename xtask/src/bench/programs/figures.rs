//! What programs take, from the kernel's statistics of many slices of time.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::bench::stats::{self, ratio};

/// What `floor` answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Slice {
    pub(crate) programs: Vec<Run>,
}

/// A program in a slice of time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Run {
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) runs: u64,
    pub(crate) ns: u64,
}

/// A program in all slices.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) owner: String,
    pub(crate) name: String,
    /// In all slices.
    pub(crate) runs: u64,
    /// Median of the slices' means.
    pub(crate) ns: f64,
    /// The slices' means.
    means: Vec<Option<f64>>,
}

/// The programs that ran at all.
pub(crate) fn figures(slices: &[Slice]) -> Vec<Figure> {
    let mut programs: BTreeMap<(&str, &str), Figure> = BTreeMap::new();
    for (index, slice) in slices.iter().enumerate() {
        // A program can be there twice, attached to two events.
        let mut sums: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
        for run in &slice.programs {
            let sum = sums.entry((&run.owner, &run.name)).or_default();
            *sum = (sum.0 + run.runs, sum.1 + run.ns);
        }
        for ((owner, name), (runs, ns)) in sums {
            let figure = programs.entry((owner, name)).or_insert_with(|| Figure {
                owner: owner.to_owned(),
                name: name.to_owned(),
                runs: 0,
                ns: 0.0,
                means: vec![None; slices.len()],
            });
            figure.runs += runs;
            figure.means[index] = (runs > 0).then(|| ratio(ns, runs));
        }
    }
    let mut figures: Vec<Figure> = programs.into_values().filter(|it| it.runs > 0).collect();
    for figure in &mut figures {
        figure.ns = median(figure.means.iter().flatten().copied()).unwrap_or_default();
    }
    figures
}

/// The figure of a program.
pub(crate) fn find<'a>(figures: &'a [Figure], owner: &str, name: &str) -> Option<&'a Figure> {
    figures
        .iter()
        .find(|figure| figure.owner == owner && figure.name == name)
}

impl Figure {
    /// How many times as long it takes as another, in the median of the slices.
    pub(crate) fn to(&self, other: &Self) -> Option<f64> {
        let pairs = self.means.iter().zip(&other.means);
        median(pairs.filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?)))
    }

    /// The same without what an empty program takes.
    pub(crate) fn net_to(&self, other: &Self, empty: &Self) -> Option<f64> {
        let slices = self.means.iter().zip(&other.means).zip(&empty.means);
        let net = |((ours, theirs), empty): ((&Option<f64>, &Option<f64>), &Option<f64>)| {
            let (work, theirs) = ((*ours)? - (*empty)?, (*theirs)? - (*empty)?);
            (theirs > 0.0).then(|| work / theirs)
        };
        median(slices.filter_map(net))
    }
}

/// What an owner's programs take in a time in which so many connections came and went.
pub(crate) fn per_connection(figures: &[Figure], owner: &str, connections: u64) -> f64 {
    let own = figures.iter().filter(|figure| figure.owner == owner);
    own.map(|figure| figure.ns * ratio(figure.runs, connections))
        .sum()
}

/// The same without what as many calls of an empty program take.
pub(crate) fn net_per_connection(
    figures: &[Figure],
    owner: &str,
    connections: u64,
    empty: f64,
) -> f64 {
    let own = figures.iter().filter(|figure| figure.owner == owner);
    own.map(|figure| (figure.ns - empty).max(0.0) * ratio(figure.runs, connections))
        .sum()
}

/// The number in the middle.
fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    stats::median(&numbers.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(owner: &str, name: &str, runs: u64, ns: u64) -> Run {
        let (owner, name) = (owner.into(), name.into());
        Run {
            owner,
            name,
            runs,
            ns,
        }
    }

    fn slices() -> Vec<Slice> {
        [(100, 60, 90), (200, 60, 150), (900, 80, 100)]
            .map(|(ours, empty, update)| Slice {
                programs: vec![
                    run("1", "send", 10, ours * 10),
                    run("empty", "empty_send", 10, empty * 10),
                    run("update", "update_send", 10, update * 10),
                    run("1", "never", 0, 0),
                ],
            })
            .into()
    }

    #[test]
    fn a_figure_is_the_median_of_the_slices() {
        let figures = figures(&slices());
        assert_eq!(figures.len(), 3);
        let send = find(&figures, "1", "send").unwrap();
        assert_eq!((send.runs, send.ns), (30, 200.0));
    }

    #[test]
    fn ratios_are_of_the_same_slice() {
        let figures = figures(&slices());
        let named = |owner, name| find(&figures, owner, name).unwrap();
        let (send, empty) = (named("1", "send"), named("empty", "empty_send"));
        let update = named("update", "update_send");
        // 1.11, 1.33 and 9; net 40/30, 140/90 and 820/20.
        assert!((send.to(update).unwrap() - 200.0 / 150.0).abs() < 1e-9);
        assert!((send.net_to(update, empty).unwrap() - 140.0 / 90.0).abs() < 1e-9);
    }

    #[test]
    fn a_program_attached_twice_is_one() {
        let programs = vec![
            run("1", "accept_exit", 1, 100),
            run("1", "accept_exit", 3, 100),
        ];
        let figures = figures(&[Slice { programs }]);
        assert_eq!(
            (figures.len(), figures[0].runs, figures[0].ns),
            (1, 4, 50.0)
        );
    }

    #[test]
    fn a_connection_takes_what_its_calls_take() {
        let figures = figures(&slices());
        let total = per_connection(&figures, "1", 10);
        assert!((total - 600.0).abs() < 1e-9, "{total}");
        let net = net_per_connection(&figures, "1", 10, 60.0);
        assert!((net - 420.0).abs() < 1e-9, "{net}");
    }
}
