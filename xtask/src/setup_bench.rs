//! `cargo xtask setup-bench`: installs the tools that `bench` measures beside conntracer.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{cmd, debian};

/// The tools, and what starts them.
pub(crate) const PACKAGES: [&str; 6] = [
    "iproute2",
    "libbpf-tools",
    "nethogs",
    "strace",
    "tcpdump",
    "util-linux",
];

pub(crate) fn run() -> Result<ExitCode> {
    if cmd::in_path("apt-get").is_none() {
        bail!(
            "this system has no apt-get: install {} by hand; `cargo xtask bench` says what it \
             does not find",
            PACKAGES.join(", ")
        );
    }
    debian::install(&PACKAGES)?;
    Ok(ExitCode::SUCCESS)
}
