//! The end of a run: where the tables go, and the exit code.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use bytes::BytesMut;

use crate::exit;
use crate::options::{Options, OutputFormat};
use crate::publish::StreamEnd;
use crate::reconcile::Reconciliation;
use crate::report;
use crate::report::text::Style;
use crate::say::say;
use crate::sink::file::SummaryFile;
use crate::sink::writer::Finished;
use crate::summary::Summary;
use crate::terminal;

/// What the exit code depends on beside the tables.
#[derive(Debug)]
pub struct Outcome {
    /// What ended the run early; the tables hold what was seen until then.
    pub error: Option<io::Error>,
    /// How the record stream ended.
    pub stream: StreamEnd,
    /// Whether something that the run would have used is not attached.
    pub hooks_missing: bool,
    /// What of the map could not be saved or shown.
    pub map_errors: Vec<String>,
}

/// Writes the tables and gives the exit code.
pub fn conclude(
    options: &Options,
    summary: &Summary,
    file: Option<SummaryFile>,
    outcome: &Outcome,
) -> u8 {
    let mut errors = Vec::new();
    if let Some(Finished::Failed { error, records }) = &outcome.stream.finished {
        let stream = if options.has_stdout() {
            "stdout"
        } else {
            "stderr"
        };
        let place = options
            .output
            .as_ref()
            .map_or_else(|| stream.to_owned(), |path| path.display().to_string());
        errors.push(format!(
            "cannot write to {place}: {error}; {records} records are missing"
        ));
    }
    if let Some(file) = file
        && let Err(error) = file.write(&for_file(options.summary.as_deref(), options.top, summary))
    {
        errors.push(format!("--summary: {error}"));
    }
    let flushed = matches!(outcome.stream.finished, None | Some(Finished::Flushed));
    let on_stdout = options.has_stdout()
        && options.format == OutputFormat::Live
        && (flushed || options.output.is_some());
    if let Err(error) = print(summary, on_stdout, options.top)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        errors.push(format!("cannot print the summary: {error}"));
    }
    if let Some(error) = &outcome.error {
        errors.push(format!(
            "the kernel side cannot be read any more: {error}; the tables end there"
        ));
    }
    errors.extend(outcome.map_errors.iter().cloned());
    if options.strict && summary.loss.is_some_and(|loss| loss.is_lossy()) {
        errors.push("--strict: something was lost, see the loss lines".to_owned());
    }
    if options.strict
        && summary
            .kernel
            .as_ref()
            .is_some_and(Reconciliation::is_short)
    {
        errors.push("--strict: the kernel counted more, see the kernel lines".to_owned());
    }
    if options.strict && outcome.hooks_missing {
        errors.push("--strict: not every hook is attached, see the notes at the start".to_owned());
    }
    code(&errors)
}

/// Says what went wrong, and gives the exit code.
pub fn code(errors: &[String]) -> u8 {
    for error in errors {
        say(&format!("error: {error}"));
    }
    if errors.is_empty() {
        exit::CLEAN
    } else {
        exit::FAILURE
    }
}

/// The tables as `--summary` of this name has them.
pub fn for_file(path: Option<&Path>, top: usize, summary: &Summary) -> Vec<u8> {
    let is_json = path
        .and_then(Path::extension)
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_json {
        let mut json = BytesMut::new();
        report::json::write(summary, &mut json);
        json.to_vec()
    } else {
        let style = Style {
            width: terminal::UNLIMITED,
            colour: false,
            top,
        };
        text(summary, &style).into_bytes()
    }
}

/// Prints the tables to stdout or stderr.
pub fn print(summary: &Summary, on_stdout: bool, top: usize) -> io::Result<()> {
    if on_stdout {
        let mut stdout = io::stdout().lock();
        let style = Style {
            width: terminal::width(&stdout),
            colour: terminal::wants_colour(&stdout),
            top,
        };
        stdout.write_all(after_live_lines(stdout.is_terminal()).as_bytes())?;
        stdout.write_all(text(summary, &style).as_bytes())?;
        stdout.flush()
    } else {
        let mut stderr = io::stderr().lock();
        let style = Style {
            width: terminal::width(&stderr),
            colour: terminal::wants_colour(&stderr),
            top,
        };
        stderr.write_all(after_live_lines(stderr.is_terminal()).as_bytes())?;
        stderr.write_all(text(summary, &style).as_bytes())
    }
}

/// The terminal shows `^C` where the cursor stands.
fn after_live_lines(is_terminal: bool) -> &'static str {
    if is_terminal { "\n" } else { "" }
}

fn text(summary: &Summary, style: &Style) -> String {
    let mut text = String::new();
    report::text::write(summary, style, &mut text);
    text
}
