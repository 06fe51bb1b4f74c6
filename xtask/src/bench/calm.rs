//! What a load does in the calmest moments of a machine that is shared.
//!
//! Others on the machine, whom nobody here sees, halve the speed of a core for milliseconds or for
//! minutes: far more than a tracer costs. They only ever make it slower. So what is compared is the
//! time of an operation in the fastest few windows of a hundredth of a second. What a side takes in
//! each operation is in each window.

use std::fmt;

use serde::Serialize;

/// Part of the windows that are faster than the one that is taken.
const CALM: f64 = 0.02;

/// Samples of the slices, drawn from them again, that the interval is made of.
const DRAWS: usize = 1000;

/// A quotient with an interval that has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Calm {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Slices with and without.
    pub(crate) slices: [usize; 2],
}

impl Calm {
    /// Of what is in the slices of `one`, by what is in those of `other`: each has a value for each
    /// window. `None` if there is none.
    ///
    /// The interval is that of a bootstrap with whole slices, as neighbouring windows are alike.
    pub(crate) fn ratio(one: &[Vec<f64>], other: &[Vec<f64>], level: f64) -> Option<Self> {
        let value = calmest(one)? / calmest(other)?;
        let mut random = fastrand::Rng::with_seed(1);
        let mut draw = |from: &[Vec<f64>]| {
            let drawn = (0..from.len()).map(|_| random.usize(..from.len()));
            let drawn: Vec<usize> = drawn.collect();
            calmest(drawn.iter().filter_map(|index| from.get(*index)))
        };
        let mut ratios = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            if let (Some(one), Some(other)) = (draw(one), draw(other)) {
                ratios.push(one / other);
            }
        }
        let outside = (1.0 - level) / 2.0;
        Some(Self {
            value,
            low: quantile(&mut ratios, outside)?,
            high: quantile(&mut ratios, 1.0 - outside)?,
            slices: [one.len(), other.len()],
        })
    }

    /// Whether a value is in the interval.
    pub(crate) fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

impl fmt::Display for Calm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            value, low, high, ..
        } = self;
        f.pad(&format!("{value:.3} ({low:.3}–{high:.3})"))
    }
}

/// The time in the calmest moments.
pub(crate) fn calmest<'a>(slices: impl IntoIterator<Item = &'a Vec<f64>>) -> Option<f64> {
    let mut windows: Vec<f64> = slices.into_iter().flatten().copied().collect();
    quantile(&mut windows, CALM)
}

/// The value that has this part of them below it.
fn quantile(values: &mut [f64], part: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of an index"
    )]
    let index = (part.clamp(0.0, 1.0) * super::stats::float(last as u64)).round() as usize;
    let (_, value, _) = values.select_nth_unstable_by(index.min(last), f64::total_cmp);
    Some(*value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slices of a machine that is slower by half at times.
    fn slices(cost: f64, disturbed: usize) -> Vec<Vec<f64>> {
        let slice = |number: usize| {
            let window = |at: usize| {
                let noise = if (number + at) % 10 < disturbed {
                    1.5
                } else {
                    1.0
                };
                cost * noise
            };
            (0..50).map(window).collect()
        };
        (0..12).map(slice).collect()
    }

    #[test]
    fn a_disturbance_is_no_cost_and_a_cost_is_one() {
        let ratio = Calm::ratio(&slices(1.0, 2), &slices(1.0, 9), 0.95).unwrap();
        assert!(
            (ratio.value - 1.0).abs() < 1e-9 && ratio.contains(1.0),
            "{ratio}"
        );
        let ratio = Calm::ratio(&slices(1.0, 9), &slices(1.25, 2), 0.95).unwrap();
        assert!(
            (ratio.value - 0.8).abs() < 1e-9 && !ratio.contains(1.0),
            "{ratio}"
        );
    }

    #[test]
    fn a_calm_that_was_in_one_slice_only_makes_the_interval_wide() {
        let mut rarely = vec![vec![1.5; 50]; 12];
        rarely[3] = vec![1.0; 50];
        let ratio = Calm::ratio(&slices(1.0, 2), &rarely, 0.95).unwrap();
        assert!(ratio.low < 0.7 && ratio.high > 0.99, "{ratio}");
    }

    #[test]
    fn nothing_has_no_ratio() {
        assert_eq!(Calm::ratio(&[], &slices(1.0, 0), 0.95), None);
        assert_eq!(Calm::ratio(&slices(1.0, 0), &[vec![]], 0.95), None);
    }
}
