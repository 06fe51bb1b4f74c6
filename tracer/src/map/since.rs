//! `--since`: a moment, or how long ago. Pure.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::options::values::parse_duration;
use crate::record::WallTime;

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither a time, such as 2026-01-31 or 2026-01-31T12:00:00Z, nor how long ago, such as 90m or 7d"
)]
pub struct NotATime;

/// The moment that `text` stands for at the time `now`, in the time zone `zone` if it names none.
pub fn parse_since(text: &str, now: WallTime, zone: &TimeZone) -> Result<WallTime, NotATime> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return wall(time);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return wall(zone.to_timestamp(time).map_err(|_| NotATime)?);
    }
    let ago = parse_duration(text).map_err(|_| NotATime)?;
    let ago = i64::try_from(ago.as_nanos()).map_err(|_| NotATime)?;
    Ok(WallTime(now.0.saturating_sub(ago)))
}

fn wall(time: Timestamp) -> Result<WallTime, NotATime> {
    let nanoseconds = i64::try_from(time.as_nanosecond());
    nanoseconds.map(WallTime).map_err(|_| NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: WallTime = WallTime(1_769_860_800_000_000_000);

    #[test]
    fn a_time_is_a_moment_or_how_long_ago() {
        for (text, seconds_before) in [
            ("2026-01-31T12:00:00Z", 0),
            ("2026-01-31T13:00:00+02:00", 3600),
            ("2026-01-31", 12 * 3600),
            ("2026-01-31 11:59", 60),
            ("90m", 5400),
            ("7d", 7 * 86_400),
            ("30", 30),
        ] {
            let since = parse_since(text, NOON, &TimeZone::UTC);
            let expected = WallTime(NOON.0 - seconds_before * 1_000_000_000);
            assert_eq!(since, Ok(expected), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "-1h", "0", "9999-12-31"] {
            assert_eq!(
                parse_since(text, NOON, &TimeZone::UTC),
                Err(NotATime),
                "{text}"
            );
        }
    }
}
