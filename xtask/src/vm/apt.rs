//! Debian packages of any release, by the machine's apt and mirror but with own lists: the
//! machine's package sources stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::arch::Arch;
use crate::cmd;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Kernels come out every few weeks.
const LISTS_AGE: Duration = Duration::from_hours(24);

/// The package lists of one release for one architecture.
#[derive(Debug)]
pub(crate) struct Apt {
    root: PathBuf,
    arch: Arch,
}

/// A package as the lists have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Names of what it depends on, of alternatives the first.
    pub(crate) depends: Vec<String>,
}

impl Apt {
    /// The lists of `release` with its security updates, not older than a day.
    pub(crate) fn open(cache: &Path, release: &str, arch: Arch) -> Result<Self> {
        if cmd::in_path("apt-get").is_none() || !Path::new(KEYRING).exists() {
            bail!(
                "the kernels are Debian's, and fetched by apt-get with {KEYRING}; one of them is \
                 not here: run this on Debian, with the package debian-archive-keyring"
            );
        }
        let root = cache
            .join("apt")
            .join(format!("{release}-{}", arch.debian()));
        let apt = Self { root, arch };
        let sources = apt.root.join("etc/sources.list");
        let wanted = sources_list(&machine_sources()?, release, arch)?;
        let stamp = apt.root.join("updated");
        let fresh = fs::metadata(&stamp)
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < LISTS_AGE));
        if fresh && fs::read_to_string(&sources).is_ok_and(|text| text == wanted) {
            return Ok(apt);
        }
        for folder in [
            "etc/preferences.d",
            "state/lists/partial",
            "cache/archives/partial",
        ] {
            let folder = apt.root.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        write(&sources, wanted)?;
        // Without it, lists that could not be fetched are a warning.
        let mut update = apt.command("apt-get");
        cmd::run(update.args([
            "--option=APT::Update::Error-Mode=any",
            "--quiet=2",
            "update",
        ]))
        .with_context(|| format!("cannot fetch the package lists of Debian {release}"))?;
        write(&stamp, String::new())?;
        Ok(apt)
    }

    /// The newest version of a package.
    pub(crate) fn newest(&self, package: &str) -> Result<Package> {
        let mut show = self.command("apt-cache");
        let text = cmd::stdout(show.args(["show", "--no-all-versions", package]))?;
        parse(&text).with_context(|| format!("`{}` is not understood", cmd::shell(&show)))
    }

    /// Fetches packages, whose checksums apt compares with the signed lists, and unpacks them.
    pub(crate) fn unpack(&self, packages: &[Package], into: &Path) -> Result<()> {
        let folder = tempfile::tempdir_in(&self.root).context("no place for packages")?;
        let mut download = self.command("apt-get");
        download
            .current_dir(&folder)
            .args(["--quiet=2", "download"]);
        download.args(packages.iter().map(|p| format!("{}={}", p.name, p.version)));
        cmd::run(&mut download)?;
        extract(folder.path(), into)
    }

    /// The same for packages of the newest version and all that they depend on.
    pub(crate) fn unpack_with_depends(&self, packages: &[&str], into: &Path) -> Result<()> {
        let folder = tempfile::tempdir_in(&self.root).context("no place for packages")?;
        fs::create_dir(folder.path().join("partial"))?;
        write(&self.root.join("state/status"), String::new())?;
        let mut install = self.command("apt-get");
        install.arg(format!(
            "--option=Dir::Cache::Archives={}",
            folder.path().display()
        ));
        // Into a system without a single package, as the private list of installed ones says.
        install.args([
            "--quiet=2",
            "--yes",
            "--no-install-recommends",
            "--download-only",
        ]);
        cmd::run(install.arg("install").args(packages))?;
        extract(folder.path(), into)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (option, place) in [
            ("Dir::Etc", "etc"),
            ("Dir::Etc::SourceParts", "etc/none"),
            ("Dir::State", "state"),
            ("Dir::State::Status", "state/status"),
            ("Dir::Cache", "cache"),
        ] {
            let place = self.root.join(place);
            command.arg(format!("--option={option}={}", place.display()));
        }
        let arch = self.arch.debian();
        command.arg(format!("--option=APT::Architecture={arch}"));
        command.arg(format!("--option=APT::Architectures={arch}"));
        // Root's apt would give its rights up, and then not reach a folder in root's home.
        command.arg("--option=APT::Sandbox::User=root");
        command
    }
}

/// Unpacks all packages in a folder.
fn extract(packages: &Path, into: &Path) -> Result<()> {
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let mut unpack = Command::new("dpkg-deb");
            cmd::run(unpack.arg("--extract").arg(path).arg(into))?;
        }
    }
    Ok(())
}

/// A line for each of the machine's package sources: release, component, address.
fn machine_sources() -> Result<String> {
    let format = "$(RELEASE) $(COMPONENT) $(REPO_URI)";
    let mut targets = Command::new("apt-get");
    cmd::stdout(targets.args(["indextargets", "--format", format, "Created-By: Packages"]))
}

/// The private sources.list, on the mirror that the machine uses for its own release.
fn sources_list(machine: &str, release: &str, arch: Arch) -> Result<String> {
    let mirror = |security: bool| {
        machine.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let (own, component, uri) = (fields.next()?, fields.next()?, fields.next()?);
            let (name, pocket) = own.split_once('-').unwrap_or((own, ""));
            let fits = if security {
                pocket == "security"
            } else {
                pocket.is_empty()
            };
            // Other publishers have other components, or releases of other names.
            (fits && component == "main" && RELEASES.contains(&name)).then_some(uri)
        })
    };
    let Some(archive) = mirror(false) else {
        bail!(
            "no Debian mirror is among this machine's package sources (`apt-get indextargets`): \
             the kernels are fetched from there; run this on Debian"
        );
    };
    // An archived release is signed with an end of its validity.
    let options = format!(
        "[target=Packages lang=none check-valid-until=no arch={} signed-by={KEYRING}]",
        arch.debian()
    );
    let archive = format!("deb {options} {archive} {release} main\n");
    // There is no such thing for sid.
    let security = mirror(true).filter(|_| release != "sid");
    let security = security.map(|uri| format!("deb {options} {uri} {release}-security main\n"));
    Ok(archive + &security.unwrap_or_default())
}

const RELEASES: [&str; 10] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

fn parse(text: &str) -> Option<Package> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let depends = field("Depends").unwrap_or_default();
    Some(Package {
        name: field("Package")?.to_owned(),
        version: field("Version")?.to_owned(),
        depends: depends
            .split(',')
            .filter_map(|one| one.split_whitespace().next())
            .map(str::to_owned)
            .collect(),
    })
}

fn write(path: &Path, text: String) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "nodistro main https://node.example/\n\
                           bookworm stable https://docker.example/debian/\n\
                           bookworm main http://mirror.example/debian/\n\
                           bookworm-updates main http://mirror.example/debian/\n\
                           bookworm-security main http://mirror.example/security/\n";

    #[test]
    fn the_machines_own_mirror_is_used() {
        let list = sources_list(MACHINE, "trixie", Arch::Aarch64).unwrap();
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with("] http://mirror.example/debian/ trixie main"));
        assert!(lines[1].ends_with("] http://mirror.example/security/ trixie-security main"));
        assert!(list.contains("arch=arm64"));
        let list = sources_list(MACHINE, "sid", Arch::X86_64).unwrap();
        assert_eq!(list.lines().count(), 1);
    }

    #[test]
    fn a_machine_without_a_debian_mirror_is_told_so() {
        let error = sources_list("noble main http://ubuntu.example/", "sid", Arch::X86_64);
        assert!(error.unwrap_err().to_string().contains("no Debian mirror"));
    }

    #[test]
    fn a_package_is_read_from_the_lists() {
        let text = "Package: linux-image-7\nVersion: 7.2-1\n\
                    Depends: dracut | initramfs-tools (>= 1), linux-modules-7 (= 7.2-1)\n";
        let package = parse(text).unwrap();
        assert_eq!(package.version, "7.2-1");
        assert_eq!(package.depends, ["dracut", "linux-modules-7"]);
        assert_eq!(parse("N: Unable to locate package"), None);
    }
}
