//! `cargo xtask check`: what CI demands of the sources.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{build_ebpf, cmd, workspace};

pub(crate) fn run() -> Result<ExitCode> {
    cmd::run(workspace::cargo()?.args(["fmt", "--all", "--check"]))?;
    cmd::run(ebpf_cargo()?.args(["fmt", "--package", "tracer-ebpf", "--check"]))?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-Dwarnings",
    ];
    cmd::run(workspace::cargo()?.args(clippy))?;
    cmd::run(&mut ebpf_clippy()?)?;
    let doc = ["doc", "--workspace", "--no-deps", "--locked"];
    cmd::run(
        workspace::cargo()?
            .args(doc)
            .env("RUSTDOCFLAGS", "-Dwarnings"),
    )?;
    build_ebpf::check(build_ebpf::Warnings::Deny)
}

/// Debian's eBPF toolchain has no clippy, so the stable one reads the eBPF sources as if for the
/// host. Their nightly features need the bootstrap switch; nothing is linked or run.
fn ebpf_clippy() -> Result<Command> {
    let mut clippy = ebpf_cargo()?;
    clippy.args(["clippy", "--locked", "--", "-Dwarnings"]);
    clippy.env("RUSTC_BOOTSTRAP", "1");
    clippy.env(
        "CARGO_TARGET_DIR",
        workspace::target_dir()?.join("ebpf/clippy"),
    );
    Ok(clippy)
}

fn ebpf_cargo() -> Result<Command> {
    let mut cargo = workspace::cargo()?;
    cargo.current_dir(workspace::root()?.join("tracer-ebpf"));
    Ok(cargo)
}
