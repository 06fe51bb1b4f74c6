//! The options of a trace that keep and show its map.

use std::path::PathBuf;
use std::time::Duration;

use super::map::{FORMATS, VIEWS};
use super::{UsageError, choice, file, one};
use crate::map::options::{Format, Limits, Live, MAX_MAX_RELATIONS, Report, Shape, View};
use crate::options::values::{ValueError, parse_count, parse_duration};

pub(super) const MAP: &str = "Map";

#[derive(clap::Args)]
#[group(skip)]
pub(super) struct Args {
    #[arg(long, value_name = "FILE", help_heading = MAP,
        help = "Keep who used which service in this file, over any number of runs; see `conntracer \
                map`. It is made if it is missing, readable by its owner only. Default: no map is \
                kept.")]
    state: Option<PathBuf>,

    #[arg(long, value_name = "TIME", help_heading = MAP, allow_hyphen_values = true,
        default_value = "30s", requires = "state",
        help = "Save the map that often, and at the end; a crash costs what came since.")]
    save_every: String,

    #[command(flatten)]
    limits: LimitArgs,

    #[arg(long, value_name = "FILE", help_heading = MAP, group = "report_file",
        help = "Show the map in this file, which each report replaces as a whole; in the format of \
                its ending (.txt, .json, .csv, .dot, .mmd). Default: no report.")]
    report: Option<PathBuf>,

    #[arg(long, value_name = "FILE", help_heading = MAP, group = "report_file",
        help = "Likewise, but add each report to the file, with its date. Default: no report.")]
    report_append: Option<PathBuf>,

    #[arg(long, value_name = "TIME", help_heading = MAP, allow_hyphen_values = true,
        default_value = "30s", requires = "report_file",
        help = "Write a report that often, at the start and at the end.")]
    every: String,

    #[arg(long, value_name = "FORMAT", help_heading = MAP, value_parser = choice(FORMATS),
        requires = "report_file",
        help = "Write reports in this format. Default: by the file's ending, or else table.")]
    report_format: Option<Format>,

    #[arg(long, value_name = "VIEW", help_heading = MAP, value_parser = choice(VIEWS),
        default_value = "one-to-many", requires = "report_file",
        help = "Group reports by service, or report each relation on its own.")]
    report_view: View,

    #[arg(long, help_heading = MAP, requires = "report_file",
        help = "Show loopback and unspecified addresses in reports. Default: they are left out.")]
    report_loopback: bool,
}

impl Args {
    pub(super) fn check(self) -> Result<Live, UsageError> {
        let limits = self.limits.check()?;
        let every = time("--every", &self.every)?;
        let save_every = time("--save-every", &self.save_every)?;
        let replaced = file("--report", self.report)?.map(|path| (path, false));
        let appended = file("--report-append", self.report_append)?.map(|path| (path, true));
        let report = replaced.or(appended).map(|(path, append)| {
            let by_ending = || {
                let ending = path.extension().and_then(|ending| ending.to_str());
                ending.and_then(Format::of_extension)
            };
            let format = self.report_format.or_else(by_ending);
            Report {
                append,
                every,
                shape: Shape {
                    format: format.unwrap_or(Format::Table),
                    view: self.report_view,
                },
                loopback: self.report_loopback,
                path,
            }
        });
        if let Some(report) = &report
            && report.append
            && report.shape.format == Format::IpJson
        {
            return Err(UsageError::message(
                "--report-append with --report-format ip-json: an array has no place for a date; \
                 take json or list",
            ));
        }
        Ok(Live {
            state: file("--state", self.state)?,
            save_every,
            limits,
            report,
        })
    }
}

/// The bounds of a map.
#[derive(clap::Args)]
#[group(skip)]
pub(super) struct LimitArgs {
    #[arg(long, value_name = "N", help_heading = MAP, allow_hyphen_values = true,
        default_value = "1000000",
        help = "Keep at most this many relations in the map, each of about 200 bytes; beyond, \
                those that were not seen for longest are forgotten and counted.")]
    map_max: String,

    #[arg(long, value_name = "TIME", help_heading = MAP, allow_hyphen_values = true,
        help = "Forget relations that were not seen for this long, as in 90d, and count them. \
                Default: none is forgotten for its age.")]
    forget: Option<String>,
}

impl LimitArgs {
    pub(super) fn check(&self) -> Result<Limits, UsageError> {
        Ok(Limits {
            max_relations: one("--map-max", &self.map_max, |n| {
                parse_count(n, 1, MAX_MAX_RELATIONS)
            })?,
            forget: self
                .forget
                .as_ref()
                .map(|text| time("--forget", text))
                .transpose()?,
        })
    }
}

fn time(option: &str, text: &str) -> Result<Duration, UsageError> {
    parse_duration(text).map_err(|problem| match problem {
        ValueError::NoTime => UsageError::invalid(option, text, &"it must be longer than zero"),
        problem => UsageError::invalid(option, text, &problem),
    })
}
