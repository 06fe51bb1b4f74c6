//! The options of intervals, the same for a run and for a replay.

use std::time::Duration;

use super::{OUTPUT, UsageError, one};
use crate::interval::Options;
use crate::interval::dimension;
use crate::options::values::{ValueError, parse_duration};

/// A shorter one would cost more than it tells: to end it, what open connections moved is looked
/// up.
const SHORTEST: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
#[group(skip)]
pub(super) struct IntervalArgs {
    #[arg(long, value_name = "TIME", help_heading = OUTPUT, allow_hyphen_values = true,
        help = "Write tables of what happened in each stretch of this length, as in 20s or 1h, \
                instead of each connection; they add up to the tables at the end. With --format \
                json, each row is an `interval` record. Default: none.")]
    interval: Option<String>,

    #[arg(long, value_name = "TABLES", help_heading = OUTPUT, allow_hyphen_values = true,
        default_value = "port,process,peer", requires = "interval",
        help = "With --interval, a table by each of these: peer, port, process, user, country, \
                asn, class (of the peer's address, by IANA's registries), container, netns.")]
    by: String,
}

impl IntervalArgs {
    /// `top` and `records`: see [`Options`]. `knows_places`: whether anything tells where peers are.
    pub(super) fn check(
        &self,
        top: Option<usize>,
        records: bool,
        knows_places: bool,
    ) -> Result<Option<Options>, UsageError> {
        let by = one("--by", &self.by, dimension::parse)?;
        if !knows_places && by.iter().any(|by| by.needs_database()) {
            return Err(UsageError::message(
                "--by country and --by asn need a database that tells them: add --geoip FILE",
            ));
        }
        let every = self
            .interval
            .as_ref()
            .map(|text| one("--interval", text, interval))
            .transpose()?;
        Ok(every.map(|every| Options {
            every,
            by,
            top,
            records,
        }))
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(every) if every >= SHORTEST => Ok(every),
        Ok(_) | Err(ValueError::NoTime) => Err("it must be at least a second".to_owned()),
        Err(problem) => Err(problem.to_string()),
    }
}
