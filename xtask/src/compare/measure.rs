//! What can be asked of a tool, and the numbers of the answer.

use std::ops::AddAssign;

/// Something that a tool may show, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Connections that a process took from the queue.
    Accepts,
    /// Connections that a process opened.
    Connects,
    /// Calls that tried to.
    Attempts,
    /// Attempts without a connection.
    Failures,
    /// Connections that no process took from the queue.
    Unaccepted,
    /// Ends of connections that are over.
    Ends,
    Sent,
    Received,
    /// Accepts, connects or ends that a process is named for which had nothing to do with them.
    Processes,
    /// Bytes that a process is named for which did not move them.
    Movers,
    /// Rows with an address or port that no socket had.
    Addresses,
}

impl Measure {
    /// What is right where this is.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepts => "accepts",
            Self::Connects => "connects",
            Self::Attempts => "attempts",
            Self::Failures => "failures",
            Self::Unaccepted => "not accepted",
            Self::Ends => "ends",
            Self::Sent => "bytes sent",
            Self::Received => "bytes received",
            Self::Processes => "processes",
            Self::Movers => "bytes by process",
            Self::Addresses => "addresses",
        }
    }

    pub(crate) fn is_bytes(self) -> bool {
        matches!(self, Self::Sent | Self::Received | Self::Movers)
    }

    /// Whether it is the number of mistakes, which should be 0.
    pub(crate) fn is_mistakes(self) -> bool {
        matches!(self, Self::Processes | Self::Movers | Self::Addresses)
    }
}

/// A number, as exact as it was printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) least: u64,
    most: u64,
    /// What was printed, in bytes or pieces.
    pub(crate) printed: u64,
    pub(crate) unit: Unit,
}

/// How a number of bytes was printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unit {
    #[default]
    Bytes,
    /// 1,024 bytes.
    Kilobytes,
}

impl Amount {
    pub(crate) fn exact(number: u64) -> Self {
        Self {
            least: number,
            most: number,
            printed: number,
            unit: Unit::Bytes,
        }
    }

    /// Kilobytes as printed: cut off, or with a fraction, whose last digit may be off by one. So
    /// much is what TCP adds to the bytes of a whole connection for its FIN.
    pub(crate) fn kilobytes(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let scale = 10_u64.checked_pow(fraction.len().try_into().ok()?)?;
        let digits: u64 = format!("{whole}{fraction}").parse().ok()?;
        let tolerance = u64::from(!fraction.is_empty());
        Some(Self {
            least: digits.saturating_sub(tolerance) * 1024 / scale,
            most: (digits + 1) * 1024 / scale - (1 - tolerance),
            printed: digits * 1024 / scale,
            unit: Unit::Kilobytes,
        })
    }

    pub(crate) fn is_nothing(self) -> bool {
        self.printed == 0
    }

    pub(crate) fn is(self, number: u64) -> bool {
        (self.least..=self.most).contains(&number)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.least += other.least;
        self.most += other.most;
        self.printed += other.printed;
        if other.unit == Unit::Kilobytes {
            self.unit = Unit::Kilobytes;
        }
    }
}

/// `number` with commas between groups of three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_are_as_exact_as_their_last_digit() {
        let whole = Amount::kilobytes("146").unwrap();
        assert!(whole.is(146 * 1024) && whole.is(147 * 1024 - 1));
        assert!(!whole.is(147 * 1024) && !whole.is(146 * 1024 - 1));
        let fine = Amount::kilobytes("97.66").unwrap();
        assert!(fine.is(100_001) && fine.is(100_000) && !fine.is(100_100));
        assert_eq!(Amount::kilobytes("0").unwrap().least, 0);
        assert_eq!(Amount::kilobytes("TX_KB"), None);
    }

    #[test]
    fn digits_are_grouped() {
        let texts = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
