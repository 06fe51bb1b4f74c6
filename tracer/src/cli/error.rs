//! What is wrong with a command line.

use std::fmt::Display;

use clap::error::ErrorKind;

use crate::exit;

/// What is wrong with the command line, or the help or version text that was asked for.
#[derive(Debug)]
pub struct UsageError(clap::Error);

impl UsageError {
    pub(super) fn invalid(option: &str, value: &str, problem: &dyn Display) -> Self {
        let value = if value.is_empty() {
            "''".to_owned()
        } else {
            value.escape_debug().to_string()
        };
        Self::message(&format!("{option} {value}: {problem}"))
    }

    pub(super) fn message(text: &str) -> Self {
        Self(clap::Error::raw(
            ErrorKind::ValueValidation,
            format!("{text}\n"),
        ))
    }

    /// [`exit::USAGE`], or [`exit::CLEAN`] for help and version.
    pub fn exit_code(&self) -> u8 {
        if self.0.use_stderr() {
            exit::USAGE
        } else {
            exit::CLEAN
        }
    }

    /// Prints it, help and version to stdout, and ends the process.
    pub fn exit(&self) -> ! {
        // A closed stream leaves nobody to tell.
        let _ = self.0.print();
        std::process::exit(self.exit_code().into())
    }
}

impl Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for UsageError {}

impl From<clap::Error> for UsageError {
    fn from(error: clap::Error) -> Self {
        Self(error)
    }
}
