//! Log lines of the kernel side, for `--debug`.

use log::Record;

use crate::say::say;

/// Says every line.
#[derive(Clone, Copy, Debug)]
pub struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        say(&format!("debug: kernel side: {}", record.args()));
    }

    fn flush(&self) {}
}
