//! Medians of a few figures, and how far they can be trusted.

use std::fmt;

use serde::Serialize;

/// A median with an interval in which the median of the population is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Median {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// How likely the interval has it. Less than was asked for if there are too few values.
    pub(crate) confidence: f64,
    pub(crate) count: usize,
}

impl Median {
    /// Of at least one value. The interval's ends are order statistics: how many values are below
    /// the median is binomial, whatever the distribution of the noise.
    pub(crate) fn of(values: &[f64], level: f64) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let middle = sorted.get(count / 2).copied()?;
        let value = if count.is_multiple_of(2) {
            f64::midpoint(sorted[count / 2 - 1], middle)
        } else {
            middle
        };
        // From the widest interval inwards, as long as it is sure enough.
        let inner = (0..count.div_ceil(2))
            .take_while(|outside| *outside == 0 || coverage(count, *outside) >= level)
            .last()?;
        Some(Self {
            value,
            low: sorted[inner],
            high: sorted[count - 1 - inner],
            confidence: coverage(count, inner),
            count,
        })
    }
}

impl fmt::Display for Median {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            value, low, high, ..
        } = self;
        f.pad(&format!("{value:.3} ({low:.3}–{high:.3})"))
    }
}

/// The median alone.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    Median::of(values, 0.0).map(|median| median.value)
}

/// How likely the median is between the values of `count` that have `outside` values beyond them on
/// each side.
fn coverage(count: usize, outside: usize) -> f64 {
    // Halved as often as there are values; in one product, so that nothing overflows.
    let mut term = (0..count).fold(1.0, |term, _| term / 2.0);
    let mut tail = 0.0;
    for below in 0..=outside {
        tail += term;
        term *= ratio((count - below) as u64, (below + 1) as u64);
    }
    (1.0 - 2.0 * tail).max(0.0)
}

/// A quotient of two counts.
pub(crate) fn ratio(dividend: u64, divisor: u64) -> f64 {
    float(dividend) / float(divisor)
}

/// A count as a number to calculate with.
#[expect(
    clippy::cast_precision_loss,
    reason = "a rounding of 1 in 2^53 is far below the noise"
)]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: u32) -> Vec<f64> {
        (1..=count).rev().map(f64::from).collect()
    }

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-4
    }

    #[test]
    fn the_interval_is_that_of_the_sign_test() {
        // Tables of the binomial distribution: n = 20 has ranks 6 and 15 with 95.86 %.
        let of_20 = Median::of(&numbers(20), 0.95).unwrap();
        assert!(near(of_20.value, 10.5) && near(of_20.low, 6.0) && near(of_20.high, 15.0));
        assert!(near(of_20.confidence, 0.9586), "{}", of_20.confidence);
        // n = 15: ranks 4 and 12 with 96.48 %.
        let of_15 = Median::of(&numbers(15), 0.95).unwrap();
        assert!(near(of_15.low, 4.0) && near(of_15.high, 12.0) && near(of_15.value, 8.0));
        assert!(near(of_15.confidence, 0.9648), "{}", of_15.confidence);
        let surer = Median::of(&numbers(20), 0.99).unwrap();
        assert!(near(surer.low, 4.0) && near(surer.high, 17.0));
    }

    #[test]
    fn few_values_give_the_whole_range_and_admit_it() {
        let of_3 = Median::of(&[0.9, 1.1, 1.0], 0.95).unwrap();
        assert!(near(of_3.low, 0.9) && near(of_3.high, 1.1) && near(of_3.value, 1.0));
        assert!(near(of_3.confidence, 0.75));
        assert!(near(Median::of(&[1.0], 0.95).unwrap().confidence, 0.0));
        assert_eq!(Median::of(&[], 0.95), None);
    }

    #[test]
    fn an_outlier_moves_neither_median_nor_interval() {
        let mut values = numbers(20);
        let before = Median::of(&values, 0.95).unwrap();
        values[0] = 1e9;
        assert_eq!(Median::of(&values, 0.95).unwrap(), before);
        assert!(before.low > 5.9 && before.high > 10.5);
    }

    #[test]
    fn many_values_do_not_overflow() {
        let of_900 = Median::of(&numbers(900), 0.95).unwrap();
        assert!(of_900.low > 419.0 && of_900.low < 423.0, "{}", of_900.low);
    }

    #[test]
    fn the_median_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
