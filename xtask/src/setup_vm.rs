//! `cargo xtask setup-vm`: installs what `vm` needs.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{
    cmd, debian,
    vm::{Arch, CROSS_PACKAGES},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Architectures of the VMs
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Arch::X86_64])]
    arch: Vec<Arch>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let wanted = packages(&args.arch);
    if cmd::in_path("apt-get").is_none() {
        bail!(
            "this system has no apt-get, with which `cargo xtask vm` also fetches the kernels: \
             run both on Debian"
        );
    }
    // All of them are asked for: apt knows best which are there.
    debian::install(&wanted)?;
    Ok(ExitCode::SUCCESS)
}

fn packages(archs: &[Arch]) -> Vec<&'static str> {
    let mut packages = vec!["debian-archive-keyring", "iproute2"];
    for arch in archs {
        packages.push(arch.qemu().1);
        if !arch.is_host() {
            packages.extend(CROSS_PACKAGES);
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_architectures_need_is_installed() {
        let host = if Arch::X86_64.is_host() {
            Arch::X86_64
        } else {
            Arch::Aarch64
        };
        let native = packages(&[host]);
        assert!(native.contains(&host.qemu().1) && !native.contains(&CROSS_PACKAGES[0]));
        let both = packages(&[Arch::X86_64, Arch::Aarch64]);
        assert!(both.contains(&"qemu-system-arm") && both.contains(&CROSS_PACKAGES[0]));
    }
}
