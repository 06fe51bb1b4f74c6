//! Sets of ports, as users write them (`80,443,8000-8100`) and as the kernel side tests them.

use std::fmt;

use tracer_common::filter::{PORT_WORDS, port_bit};

const WORDS: usize = PORT_WORDS as usize;

/// Why a port list is refused; each text completes "`--port 0`: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nothing between two commas, or no text at all.
    #[error("a port is missing; write a list such as 80,443 or a range such as 8000-8100")]
    Empty,
    /// Not a number, or not one range.
    #[error("`{0}` is not a port; write numbers, such as 80, 80,443 or 8000-8100")]
    NotAPort(String),
    /// Port 0 is never on the wire.
    #[error("port 0 is never used by a connection; ports go from 1 to 65535")]
    Zero,
    /// More than 16 bits.
    #[error("{0} is too large; ports go from 1 to 65535")]
    TooLarge(String),
    /// Last port below the first.
    #[error("the range runs backwards; write {last}-{first}")]
    Backwards {
        /// The port written first.
        first: u16,
        /// The port written last, the lower one.
        last: u16,
    },
}

/// A set of ports from 1 to 65535, one bit each.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet {
    words: Box<[u64; WORDS]>,
}

impl Default for PortSet {
    fn default() -> Self {
        Self {
            words: Box::new([0; WORDS]),
        }
    }
}

impl PortSet {
    /// Adds the ports of a comma-separated list of ports and ranges; adds nothing on an error.
    pub fn insert_list(&mut self, list: &str) -> Result<(), PortError> {
        let ranges = list
            .split(',')
            .map(parse_range)
            .collect::<Result<Vec<_>, _>>()?;
        for port in ranges.into_iter().flatten() {
            let (word, bit) = port_bit(port);
            self.words[word as usize] |= bit;
        }
        Ok(())
    }

    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        let (word, bit) = port_bit(port);
        self.words[word as usize] & bit != 0
    }

    /// Whether no port is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The lowest and the highest port of the set; 0 if it is empty.
    pub fn bounds(&self) -> (u16, u16) {
        let is_in = |port: &u16| self.contains(*port);
        let mut ports = 1..=u16::MAX;
        let lowest = ports.find(is_in).unwrap_or_default();
        (lowest, ports.rev().find(is_in).unwrap_or(lowest))
    }

    /// The bitmap in the layout of [`tracer_common::filter::port_bit`].
    pub fn words(&self) -> &[u64; WORDS] {
        &self.words
    }
}

impl std::str::FromStr for PortSet {
    type Err = PortError;

    fn from_str(list: &str) -> Result<Self, PortError> {
        let mut set = Self::default();
        set.insert_list(list)?;
        Ok(set)
    }
}

/// The shortest list that parses to the same set.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut rest = (1..=u16::MAX)
            .filter(|port| self.contains(*port))
            .peekable();
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|port| *port - 1 == last) {
                last = next;
            }
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({self})")
    }
}

fn parse_range(text: &str) -> Result<std::ops::RangeInclusive<u16>, PortError> {
    let text = text.trim();
    let Some((first, last)) = text.split_once('-') else {
        let port = parse_port(text, text)?;
        return Ok(port..=port);
    };
    let (first, last) = (parse_port(first, text)?, parse_port(last, text)?);
    if first > last {
        return Err(PortError::Backwards { first, last });
    }
    Ok(first..=last)
}

/// `whole` is what the user wrote, for the message.
fn parse_port(text: &str, whole: &str) -> Result<u16, PortError> {
    let text = text.trim();
    if whole.is_empty() {
        return Err(PortError::Empty);
    }
    // `str::parse` would take a leading plus sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PortError::NotAPort(whole.to_owned()));
    }
    match text.parse() {
        Ok(0) => Err(PortError::Zero),
        Ok(port) => Ok(port),
        Err(_) => Err(PortError::TooLarge(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str) -> Result<PortSet, PortError> {
        list.parse()
    }

    /// The set by a second route: every port asked one by one.
    fn members(set: &PortSet) -> Vec<u16> {
        (0..=u16::MAX).filter(|port| set.contains(*port)).collect()
    }

    #[test]
    fn single_ports_lists_and_ranges_have_exactly_their_members() {
        assert_eq!(members(&parse("80").unwrap()), [80]);
        assert_eq!(members(&parse("443,80,80").unwrap()), [80, 443]);
        assert_eq!(
            members(&parse(" 80 , 8000 - 8002 ").unwrap()),
            [80, 8000, 8001, 8002]
        );
        assert_eq!(members(&parse("5-5").unwrap()), [5]);
        let all: Vec<u16> = (1..=u16::MAX).collect();
        assert_eq!(members(&parse("1-65535").unwrap()), all);
    }

    #[test]
    fn bounds_are_the_lowest_and_the_highest_member() {
        for (list, bounds) in [
            ("80", (80, 80)),
            ("443,80", (80, 443)),
            ("1-65535", (1, 65535)),
            ("65535", (65535, 65535)),
        ] {
            assert_eq!(parse(list).unwrap().bounds(), bounds, "{list}");
        }
        assert_eq!(PortSet::default().bounds(), (0, 0));
    }

    #[test]
    fn the_bitmap_is_the_one_the_kernel_side_reads() {
        let set = parse("1,63,64,65535").unwrap();
        let mut expected = [0_u64; WORDS];
        expected[0] = 1 << 1 | 1 << 63;
        expected[1] = 1;
        expected[1023] = 1 << 63;
        assert_eq!(set.words(), &expected);
    }

    #[test]
    fn random_lists_agree_with_a_sorted_set_and_survive_being_written_out() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..200 {
            let mut oracle = std::collections::BTreeSet::new();
            let mut ranges = Vec::new();
            for _ in 0..=random(8) {
                let first = 1 + random(65535);
                let last = first + random(300).min(65535 - first);
                oracle.extend(first..=last);
                ranges.push(if first == last {
                    first.to_string()
                } else {
                    format!("{first}-{last}")
                });
            }
            let set = parse(&ranges.join(",")).unwrap();
            let expected: Vec<u64> = oracle.into_iter().collect();
            assert_eq!(
                members(&set).into_iter().map(u64::from).collect::<Vec<_>>(),
                expected
            );
            assert_eq!(parse(&set.to_string()).unwrap(), set);
        }
    }

    #[test]
    fn writing_out_joins_neighbours() {
        let set = parse("65534,65535,8001,8000,80,8002").unwrap();
        assert_eq!(set.to_string(), "80,8000-8002,65534-65535");
        assert_eq!(PortSet::default().to_string(), "");
    }

    #[test]
    fn a_refused_list_adds_nothing() {
        let mut set = PortSet::default();
        assert_eq!(set.insert_list("80,0"), Err(PortError::Zero));
        assert!(set.is_empty());
        set.insert_list("80").unwrap();
        assert!(!set.is_empty());
    }

    #[test]
    fn each_kind_of_bad_list_is_named() {
        let not_a_port = |text: &str| PortError::NotAPort(text.to_owned());
        let too_large = |text: &str| PortError::TooLarge(text.to_owned());
        for (list, expected) in [
            ("", PortError::Empty),
            ("  ", PortError::Empty),
            ("80,", PortError::Empty),
            (",80", PortError::Empty),
            ("80,,443", PortError::Empty),
            ("0", PortError::Zero),
            ("0-80", PortError::Zero),
            ("00", PortError::Zero),
            ("65536", too_large("65536")),
            ("1-70000", too_large("70000")),
            ("99999999999999999999", too_large("99999999999999999999")),
            (
                "80-70",
                PortError::Backwards {
                    first: 80,
                    last: 70,
                },
            ),
            ("http", not_a_port("http")),
            ("80-", not_a_port("80-")),
            ("-80", not_a_port("-80")),
            ("-", not_a_port("-")),
            ("1-2-3", not_a_port("1-2-3")),
            ("+80", not_a_port("+80")),
            ("8 0", not_a_port("8 0")),
            ("80.5", not_a_port("80.5")),
            ("８０", not_a_port("８０")),
        ] {
            assert_eq!(parse(list), Err(expected), "{list:?}");
        }
    }

    #[test]
    fn a_backwards_range_is_shown_the_right_way_round() {
        let error = parse("80-70").unwrap_err();
        assert_eq!(error.to_string(), "the range runs backwards; write 70-80");
    }
}
