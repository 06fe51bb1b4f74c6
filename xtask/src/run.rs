//! `cargo xtask run`: one command from a clone to a running tracer.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Result, anyhow};

use crate::{cmd, workspace};

/// Builds the release binary and replaces this process by it, so that Ctrl-C and the exit code are
/// the program's own. Returns only if that fails.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let built = workspace::build_release(&[("tracer", "conntracer")])?;
    let mut program = cmd::as_root(&built["conntracer"], "conntracer")?;
    program.args(args);
    let error = program.exec();
    Err(anyhow!(error).context(format!("cannot run `{}`", cmd::shell(&program))))
}
