//! How the binaries for a VM are built: by the host's toolchain, or across architectures by
//! Debian's compiler with Debian's standard library of the other one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{
    apt::{Apt, Package},
    arch::Arch,
};
use crate::{cmd, workspace};

const RUSTC: &str = "/usr/bin/rustc";
const LIBSTD: &str = "libstd-rust-web-dev";
/// What cross-building needs on this machine.
pub(crate) const CROSS_PACKAGES: [&str; 4] = [
    "rustc-web",
    LIBSTD,
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
];
/// What the tests call, with all libraries, in the VM's architecture.
const USERLAND: [&str; 4] = ["iproute2", "util-linux", "coreutils", "libgcc-s1"];

/// Builds for one architecture.
pub(crate) struct Target {
    /// The system with the programs that the tests call, and the libraries.
    pub(crate) root: PathBuf,
    cross: Option<Cross>,
}

struct Cross {
    triple: String,
    linker: String,
    sysroot: PathBuf,
}

impl Target {
    pub(crate) fn new(cache: &Path, arch: Arch) -> Result<Self> {
        if arch.is_host() {
            let root = "/".into();
            return Ok(Self { root, cross: None });
        }
        if arch != Arch::Aarch64 {
            bail!(
                "programs for {} can only be built on such a machine",
                arch.name()
            );
        }
        let linker = format!("{}-linux-gnu-gcc", arch.name());
        if !cmd::is_program(Path::new(RUSTC)) || cmd::in_path(&linker).is_none() {
            bail!(
                "building for {} needs {RUSTC} and {linker}: `cargo xtask setup-vm --arch {}`, or \
                 on Debian `apt-get install --no-install-recommends {}`",
                arch.name(),
                arch.name(),
                CROSS_PACKAGES.join(" ")
            );
        }
        let (library, userland) = fetch(cache, arch)?;
        let cross = Cross {
            triple: format!("{}-unknown-linux-gnu", arch.name()),
            linker,
            sysroot: library.join("usr"),
        };
        Ok(Self {
            root: userland,
            cross: Some(cross),
        })
    }

    /// The project's cargo with a verb.
    pub(crate) fn cargo(&self, verb: &str) -> Result<Command> {
        let mut cargo = workspace::cargo()?;
        cargo.arg(verb);
        if let Some(cross) = &self.cross {
            let variable = cross.triple.replace('-', "_").to_uppercase();
            cargo.args(["--target", &cross.triple]).env("RUSTC", RUSTC);
            cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), &cross.linker);
            // Only the target's libraries are there: those of the host stay where they are.
            let flags = format!("--sysroot={}", cross.sysroot.display());
            cargo.env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), flags);
            // A folder of its own: the compiler is not the one of all other builds.
            cargo.env("CARGO_TARGET_DIR", workspace::target_dir()?.join("vm"));
        }
        Ok(cargo)
    }

    /// The program that strips the target's binaries; it comes with the linker.
    pub(crate) fn strip(&self) -> String {
        let linker = self.cross.as_ref().map_or("gcc", |cross| &cross.linker);
        linker.strip_suffix("gcc").unwrap_or_default().to_owned() + "strip"
    }
}

/// The standard library and the userland of another architecture: from the cache, or into it.
fn fetch(cache: &Path, arch: Arch) -> Result<(PathBuf, PathBuf)> {
    let version = installed(LIBSTD)?;
    let release = own_release()?;
    let apt = Apt::open(cache, &release, arch)?;
    let folder = |name: &str| cache.join(format!("{name}-{}", arch.debian()));
    let library = folder(&format!("{LIBSTD}-{version}"));
    if !library.exists() {
        // The compiler takes only a library that it has built itself.
        let package = Package {
            name: LIBSTD.into(),
            version,
            depends: Vec::new(),
        };
        let unpack = |into: &Path| apt.unpack(&[package], into);
        complete(&library, unpack)?;
    }
    let userland = folder(&format!("userland-{release}"));
    if !userland.exists() {
        complete(&userland, |into| apt.unpack_with_depends(&USERLAND, into))?;
    }
    Ok((library, userland))
}

/// Makes a folder by `fill`; it gets its name only when it is complete.
pub(crate) fn complete(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = folder.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let unfinished = tempfile::tempdir_in(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    fill(unfinished.path())?;
    fs::rename(unfinished.keep(), folder)
        .with_context(|| format!("cannot rename a folder to {}", folder.display()))
}

fn installed(package: &str) -> Result<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${Version}", package]);
    cmd::stdout(&mut query)
}

/// The Debian release of this machine.
fn own_release() -> Result<String> {
    let path = "/etc/os-release";
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.map(|name| name.trim_matches('"').to_owned());
    name.with_context(|| format!("{path} does not name the Debian release"))
}
