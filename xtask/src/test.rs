//! `cargo xtask test`: every test, each with what it needs.

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;

use crate::{cmd, workspace};

/// `1` in CI: a test that cannot run here is then a failure, not a skip.
const MUST_RUN: &str = "CONNTRACER_TESTS_MUST_RUN";

/// `args` go to each test binary.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let built = workspace::build_release(&[
        ("tracer", "conntracer"),
        ("tests", "load"),
        ("tests", "workload"),
    ])?;
    if !rustix::process::geteuid().is_root()
        && std::env::var_os(MUST_RUN).is_none_or(|value| value != "1")
    {
        cmd::say("not root: the tests that load eBPF programs will be skipped");
    }
    let needs_nothing = ["--workspace", "--exclude", "tests"];
    let needs_kernel = ["--package", "tests"];
    for packages in [&needs_nothing[..], &needs_kernel[..]] {
        let mut test = workspace::cargo()?;
        test.args(["test", "--locked", "--no-fail-fast"])
            .args(packages);
        test.env("CONNTRACER_BIN", &built["conntracer"]);
        test.env("CONNTRACER_LOAD", &built["load"]);
        test.env("CONNTRACER_WORKLOAD", &built["workload"]);
        test.arg("--").args(args);
        cmd::run(&mut test)?;
    }
    Ok(ExitCode::SUCCESS)
}
