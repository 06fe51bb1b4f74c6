//! Exit codes, a promise to scripts.

/// Clean: the run did what was asked.
pub const CLEAN: u8 = 0;
/// Failure: it could not start, could not write, or broke a promise of `--strict`.
pub const FAILURE: u8 = 1;
/// Usage: the command line is wrong.
pub const USAGE: u8 = 2;
