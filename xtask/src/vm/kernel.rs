//! Debian's kernels: fetched once a version, unpacked in the cache.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use super::{
    apt::{Apt, Package},
    arch::Arch,
    target,
};

/// A Debian release; its kernel is what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Release {
    /// Linux 5.10
    Bullseye,
    /// Linux 6.1
    Bookworm,
    /// Linux 6.12
    Trixie,
    /// The newest Linux
    Sid,
}

impl Release {
    pub(crate) const ALL: [Self; 4] = [Self::Bullseye, Self::Bookworm, Self::Trixie, Self::Sid];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// An unpacked kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) release: Release,
    /// Of the package, such as `6.1.176-1`.
    pub(crate) version: String,
    /// What boots.
    pub(crate) image: PathBuf,
    /// The folder of its modules.
    pub(crate) modules: PathBuf,
}

impl Kernel {
    /// The newest kernel of a release: from the cache, or fetched into it.
    pub(crate) fn fetch(cache: &Path, release: Release, arch: Arch) -> Result<Self> {
        let why = || format!("cannot fetch the kernel of Debian {}", release.name());
        let apt = Apt::open(cache, release.name(), arch).with_context(why)?;
        let newest = apt
            .newest(&format!("linux-image-cloud-{}", arch.debian()))
            .with_context(why)?;
        let folder = cache
            .join("kernels")
            .join(format!("{}-{}", newest.version, arch.debian()));
        if !folder.exists() {
            let packages = parts(&apt, newest.clone()).with_context(why)?;
            target::complete(&folder, |into| apt.unpack(&packages, into)).with_context(why)?;
        }
        Self::open(&folder, release, newest.version)
    }

    fn open(folder: &Path, release: Release, version: String) -> Result<Self> {
        // Merged /usr came between bookworm and trixie; sid has the image beside the modules.
        let modules = ["lib/modules", "usr/lib/modules"]
            .iter()
            .find_map(|place| only_entry(&folder.join(place), ""))
            .with_context(|| format!("there are no modules in {}", folder.display()))?;
        let image = only_entry(&folder.join("boot"), "vmlinuz-")
            .or_else(|| Some(modules.join("vmlinuz")).filter(|path| path.exists()))
            .with_context(|| format!("there is no vmlinuz in {}", folder.display()))?;
        Ok(Self {
            release,
            version,
            image,
            modules,
        })
    }

    /// The first number of its version.
    pub(crate) fn major(&self) -> u32 {
        let first = self.version.split('.').next();
        first.and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// The packages with the image and the modules: one, or on sid several that depend on each other.
fn parts(apt: &Apt, meta: Package) -> Result<Vec<Package>> {
    let is_part = |name: &str| {
        ["linux-image-", "linux-binary-", "linux-modules-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    let mut parts: Vec<Package> = Vec::new();
    let mut wanted = meta.depends;
    while let Some(name) = wanted.pop() {
        if is_part(&name) && parts.iter().all(|part| part.name != name) {
            let part = apt.newest(&name)?;
            wanted.extend(part.depends.iter().cloned());
            parts.push(part);
        }
    }
    if parts.is_empty() {
        bail!(
            "the package {} {} depends on no kernel",
            meta.name,
            meta.version
        );
    }
    Ok(parts)
}

fn only_entry(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let mut fitting =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    Some(fitting.next()?.path())
}
