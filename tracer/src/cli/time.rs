//! The option of the TIME column, the same for a run and for a replay.

use super::{OUTPUT, UsageError, choice};
use crate::options::OutputFormat;
use crate::sink::live::time::TimeStyle;

const TIMES: &[(&str, TimeStyle)] = &[
    ("wall", TimeStyle::Wall),
    ("relative", TimeStyle::Relative),
    ("delta", TimeStyle::Delta),
    ("mono", TimeStyle::Mono),
    ("none", TimeStyle::None),
];

#[derive(clap::Args)]
#[group(skip)]
pub(super) struct TimeArgs {
    #[arg(long, value_name = "TIME", help_heading = OUTPUT, value_parser = choice(TIMES),
        help = "Give live lines the time of day (wall), the seconds since the start (relative) or \
                since the line before (delta), those of the monotonic clock (mono), or no time \
                (none). Default: wall.")]
    time: Option<TimeStyle>,
}

impl TimeArgs {
    /// `format` is that of the records, if any are written.
    pub(super) fn check(&self, format: Option<OutputFormat>) -> Result<TimeStyle, UsageError> {
        match (self.time, format) {
            (Some(_), Some(OutputFormat::Json)) => Err(UsageError::message(
                "--time is for the lines of --format live: JSON records always have both `time` \
                 and `mono_ns`",
            )),
            (Some(_), None) => Err(UsageError::message(
                "--time is for the lines of --format live; give that, too",
            )),
            (time, _) => Ok(time.unwrap_or_default()),
        }
    }
}
