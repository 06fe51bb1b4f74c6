//! The end of a run: where the tables go, and the exit code.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use bytes::BytesMut;

use crate::exit;
use crate::options::{Options, OutputFormat};
use crate::report;
use crate::report::text::Style;
use crate::say::say;
use crate::sink::file::SummaryFile;
use crate::sink::writer::{Finished, Output, State};
use crate::stop::Stop;
use crate::summary::Summary;
use crate::terminal;

/// How long the end of the run waits for a slow consumer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the record stream ended.
#[derive(Debug)]
pub struct StreamEnd {
    /// `None` without a stream, or when a second signal cut the waiting short.
    pub finished: Option<Finished>,
    /// Whether stdout can still be written to.
    pub readable: bool,
    /// Records that were not written.
    pub dropped: u64,
}

/// Waits for the consumer to take what is queued, but not past its patience, and not past a second
/// signal.
pub async fn finish_stream(output: Option<Output>, stop: &mut Stop) -> StreamEnd {
    let Some(output) = output else {
        return StreamEnd {
            finished: None,
            readable: true,
            dropped: 0,
        };
    };
    let dropped = output.dropped();
    let waiting = output.unwritten();
    let finished = if matches!(output.state(), State::Running) {
        let finishing = tokio::task::spawn_blocking(move || output.finish(PATIENCE));
        tokio::select! {
            biased;
            finished = finishing => finished.ok(),
            () = stop.requested() => None,
        }
    } else {
        // It ended by itself: there is nothing to wait for, and no signal may hide why.
        Some(output.finish(Duration::ZERO))
    };
    let unwritten = match &finished {
        Some(Finished::Flushed) => 0,
        Some(
            Finished::Stalled { records }
            | Finished::Closed { records }
            | Finished::Failed { records, .. },
        ) => *records,
        None => waiting,
    };
    let readable = matches!(finished, Some(Finished::Flushed));
    StreamEnd {
        finished,
        readable,
        dropped: dropped + unwritten,
    }
}

/// Writes the tables and gives the exit code.
pub fn conclude(
    options: &Options,
    summary: &Summary,
    file: Option<SummaryFile>,
    stream: &StreamEnd,
) -> u8 {
    let mut code = exit::CLEAN;
    if let Some(Finished::Failed { error, records }) = &stream.finished {
        let place = options
            .output
            .as_ref()
            .map_or_else(|| "stdout".to_owned(), |path| path.display().to_string());
        say(&format!(
            "error: cannot write to {place}: {error}; {records} records are missing"
        ));
        code = exit::FAILURE;
    }
    if let Some(file) = file
        && let Err(error) = file.write(&for_file(options, summary))
    {
        say(&format!("error: --summary: {error}"));
        code = exit::FAILURE;
    }
    let on_stdout =
        options.format == OutputFormat::Live && (stream.readable || options.output.is_some());
    if let Err(error) = print(summary, on_stdout, options.top)
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        say(&format!("error: cannot print the summary: {error}"));
        code = exit::FAILURE;
    }
    if options.strict && summary.loss.is_lossy() {
        say("error: --strict: something was lost, see the loss lines above");
        code = exit::FAILURE;
    }
    code
}

fn for_file(options: &Options, summary: &Summary) -> Vec<u8> {
    let is_json = options
        .summary
        .as_ref()
        .and_then(|path| path.extension())
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_json {
        let mut json = BytesMut::new();
        report::json::write(summary, &mut json);
        json.to_vec()
    } else {
        let style = Style {
            width: terminal::UNLIMITED,
            colour: false,
            top: options.top,
        };
        text(summary, &style).into_bytes()
    }
}

fn print(summary: &Summary, on_stdout: bool, top: usize) -> io::Result<()> {
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
