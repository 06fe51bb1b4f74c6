//! Single values as users write them: durations, sizes, counts and ids.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::{Span, SpanRelativeTo};

/// Ring size unless `--ring-size` says otherwise: about 13,000 records, a third of a second at
/// 10,000 connections a second. A full ring only makes news late, so more buys little.
pub const DEFAULT_RING_BYTES: u32 = 4 << 20;

/// Largest ring: it is kernel memory that cannot be swapped out.
pub const MAX_RING_BYTES: u32 = 1 << 30;

/// Connection table size unless `--max-connections` says otherwise.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 1 << 18;

/// Largest connection table. Its buckets alone take 256 MiB, its entries up to 6 GiB more.
pub const MAX_MAX_CONNECTIONS: u32 = 1 << 24;

/// Rows a table unless `--top` says otherwise.
pub const DEFAULT_TOP: usize = 20;

/// Rows kept a table unless `--max-rows` says otherwise.
pub const DEFAULT_MAX_ROWS: usize = 100_000;

/// Most rows a table.
pub const MAX_MAX_ROWS: u64 = 1 << 24;

/// Highest process id that Linux gives out.
const MAX_PID: u32 = 1 << 22;

/// Why a value is refused; each text completes "`--option value`: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a duration.
    #[error("not a duration; write seconds, such as 30, or units, such as 90s, 5m or 1h30m")]
    NotADuration,
    /// Zero or negative.
    #[error("a run must take longer than zero; leave it out to run until Ctrl-C")]
    NoTime,
    /// Not a size.
    #[error("not a size; write bytes, such as 65536, or units, such as 64KiB or 4MiB")]
    NotASize,
    /// Not a power-of-two number of pages.
    #[error("not a power-of-two number of pages of {page} bytes; write {nearest}")]
    RingSize {
        /// Size of a page on this machine.
        page: u32,
        /// The valid sizes on either side.
        nearest: String,
    },
    /// Not a whole number in the range.
    #[error("not a whole number from {min} to {max}")]
    NotInRange {
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// Not a process id.
    #[error("`{0}` is not a process id; write numbers from 1 to {MAX_PID}, such as 812 or 812,813")]
    NotAPid(String),
    /// Not a user id.
    #[error("`{0}` is not a numeric user id; `id -u NAME` prints the one of a user")]
    NotAUid(String),
    /// A file option without a usable name.
    #[error("not a file name; leave the option out to write to the terminal")]
    NotAFile,
}

/// A run time: seconds without a unit, or units as in `1h30m`. A day has 24 hours.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let text = text.trim();
    let seconds = text.ends_with(|last: char| last.is_ascii_digit()) && !text.contains(':');
    let span: Span = if seconds {
        format!("{text}s").parse()
    } else {
        text.parse()
    }
    .map_err(|_| ValueError::NotADuration)?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| ValueError::NotADuration)?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(ValueError::NoTime),
    }
}

/// A ring size in bytes for a machine with pages of `page` bytes (a power of two).
pub fn parse_ring_bytes(text: &str, page: u32) -> Result<u32, ValueError> {
    let bytes = text
        .trim()
        .parse::<ByteSize>()
        .map_err(|_| ValueError::NotASize)?
        .as_u64();
    let (least, most) = (u64::from(page), u64::from(MAX_RING_BYTES));
    match u32::try_from(bytes) {
        Ok(valid) if bytes.is_power_of_two() && (least..=most).contains(&bytes) => Ok(valid),
        _ => {
            let nearest = match bytes {
                low if low < least => shown_size(least),
                high if high > most => shown_size(most),
                between => {
                    let above = between.next_power_of_two();
                    format!("{} or {}", shown_size(above / 2), shown_size(above))
                }
            };
            Err(ValueError::RingSize { page, nearest })
        }
    }
}

/// A power of two of at least 1024, without rounding, as [`parse_ring_bytes`] takes it.
fn shown_size(bytes: u64) -> String {
    match bytes.trailing_zeros() {
        30.. => format!("{}GiB", bytes >> 30),
        20..30 => format!("{}MiB", bytes >> 20),
        _ => format!("{}KiB", bytes >> 10),
    }
}

/// A whole number from `min` to `max`.
pub fn parse_count(text: &str, min: u64, max: u64) -> Result<u64, ValueError> {
    match parse_digits(text) {
        Some(count) if (min..=max).contains(&count) => Ok(count),
        _ => Err(ValueError::NotInRange { min, max }),
    }
}

/// A comma-separated list of process ids.
pub fn parse_pids(list: &str) -> Result<Vec<u32>, ValueError> {
    let pid = |text: &str| match parse_id(text) {
        Some(pid) if (1..=MAX_PID).contains(&pid) => Ok(pid),
        _ => Err(ValueError::NotAPid(text.trim().to_owned())),
    };
    list.split(',').map(pid).collect()
}

/// A comma-separated list of user ids.
pub fn parse_uids(list: &str) -> Result<Vec<u32>, ValueError> {
    let uid = |text: &str| match parse_id(text) {
        // The highest number means "no user" to the kernel.
        Some(uid) if uid != u32::MAX => Ok(uid),
        _ => Err(ValueError::NotAUid(text.trim().to_owned())),
    };
    list.split(',').map(uid).collect()
}

fn parse_id(text: &str) -> Option<u32> {
    parse_digits(text)?.try_into().ok()
}

/// `str::parse` would take a leading plus sign.
pub(super) fn parse_digits(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, seconds) in [
            ("3", 3.0),
            (" 3 ", 3.0),
            ("0.5", 0.5),
            ("3s", 3.0),
            ("250ms", 0.25),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("1h 30m", 5400.0),
            ("2 minutes", 120.0),
            ("PT5M", 300.0),
            ("01:00:30", 3630.0),
            ("1d", 86400.0),
            ("1w", 604_800.0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs_f64(seconds)),
                "{text:?}"
            );
        }
    }

    #[test]
    fn durations_that_are_none_are_refused() {
        for text in [
            "",
            " ",
            "x",
            "3x",
            "s",
            "3 4",
            "1e3",
            "1mo",
            "1y",
            "99999999999999999999",
            "٣",
        ] {
            assert_eq!(
                parse_duration(text),
                Err(ValueError::NotADuration),
                "{text:?}"
            );
        }
        for text in ["0", "0s", "0h0m", "-3", "-3s", "3s ago"] {
            assert_eq!(parse_duration(text), Err(ValueError::NoTime), "{text:?}");
        }
    }

    #[test]
    fn ring_sizes_are_bytes_or_have_units() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4KiB", 4096),
            ("64 kib", 65536),
            ("4MiB", 4 << 20),
            ("0.5MiB", 1 << 19),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse_ring_bytes(text, 4096), Ok(bytes), "{text:?}");
        }
        assert_eq!(parse_ring_bytes("64KiB", 65536), Ok(65536));
    }

    #[test]
    fn a_refused_ring_size_names_the_nearest_valid_ones() {
        for (text, page, expected) in [
            ("0", 4096, "4KiB"),
            ("2048", 4096, "4KiB"),
            ("4KiB", 65536, "64KiB"),
            ("5000", 4096, "4KiB or 8KiB"),
            ("64K", 4096, "32KiB or 64KiB"),
            ("12KiB", 4096, "8KiB or 16KiB"),
            ("3000000", 4096, "2MiB or 4MiB"),
            ("600MiB", 4096, "512MiB or 1GiB"),
            ("2GiB", 4096, "1GiB"),
            ("99999999999999999999999999", 4096, "1GiB"),
        ] {
            match parse_ring_bytes(text, page) {
                Err(ValueError::RingSize {
                    page: shown,
                    nearest,
                }) => {
                    assert_eq!((shown, nearest.as_str()), (page, expected), "{text:?}");
                    for valid in nearest.split(" or ") {
                        assert!(parse_ring_bytes(valid, page).is_ok(), "{valid} is offered");
                    }
                }
                // Sizes beyond 64 bits may also be called no size at all.
                other => assert_eq!(other, Err(ValueError::NotASize), "{text:?}"),
            }
        }
        for text in ["", "x", "-4096", "4 pages", "KiB", "4..KiB"] {
            assert_eq!(
                parse_ring_bytes(text, 4096),
                Err(ValueError::NotASize),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_default_ring_fits_every_page_size() {
        for page in [4096, 16384, 65536] {
            let text = DEFAULT_RING_BYTES.to_string();
            assert_eq!(parse_ring_bytes(&text, page), Ok(DEFAULT_RING_BYTES));
        }
    }

    #[test]
    fn counts_stay_in_their_range() {
        assert_eq!(parse_count(" 1 ", 1, 10), Ok(1));
        assert_eq!(parse_count("10", 1, 10), Ok(10));
        for text in [
            "0",
            "11",
            "-1",
            "+1",
            "",
            "1.5",
            "ten",
            "99999999999999999999999",
        ] {
            let expected = Err(ValueError::NotInRange { min: 1, max: 10 });
            assert_eq!(parse_count(text, 1, 10), expected, "{text:?}");
        }
    }

    #[test]
    fn ids_come_in_lists() {
        assert_eq!(parse_pids("1, 4194304"), Ok(vec![1, 4_194_304]));
        assert_eq!(parse_uids("0,1000"), Ok(vec![0, 1000]));
    }

    #[test]
    fn ids_that_no_process_or_user_has_are_refused() {
        for (list, bad) in [
            ("0", "0"),
            ("1,,2", ""),
            ("4194305", "4194305"),
            ("1,nginx", "nginx"),
        ] {
            assert_eq!(
                parse_pids(list),
                Err(ValueError::NotAPid(bad.to_owned())),
                "{list:?}"
            );
        }
        for (list, bad) in [
            ("", ""),
            ("4294967295", "4294967295"),
            ("www-data", "www-data"),
        ] {
            assert_eq!(
                parse_uids(list),
                Err(ValueError::NotAUid(bad.to_owned())),
                "{list:?}"
            );
        }
    }
}
