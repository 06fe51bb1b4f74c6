//! The tools that build the eBPF objects: what is there, which are used, and how they are called.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    cmd,
    tool_search::{debian, nightly},
};

/// The bpf-linker that the objects are linked with.
pub(crate) const BPF_LINKER: &str = "0.13.0";
/// Debian's rustc uses this LLVM; bpf-linker must be built with the same.
pub(crate) const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// aya-ebpf 0.2 needs it.
const OLDEST_RUSTC: (u32, u32) = (1, 87);

/// Versions that decide what the objects look like. llvm-strip is not among them: those of LLVM 14
/// and 22 wrote the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    pub(crate) rustc: String,
    pub(crate) rustc_commit: String,
    pub(crate) llvm: String,
    pub(crate) bpf_linker: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rustc,
            rustc_commit,
            llvm,
            bpf_linker,
        } = self;
        let commit = rustc_commit.get(..9).unwrap_or(rustc_commit);
        write!(
            f,
            "rustc {rustc} ({commit}, LLVM {llvm}), bpf-linker {bpf_linker}"
        )
    }
}

/// Whose compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Packages rustc-web, cargo-web, rust-web-src.
    Debian,
    /// `rustup run nightly` with the component rust-src.
    Nightly,
}

/// A compiler that has the sources of `core`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) release: String,
    pub(crate) commit: String,
    pub(crate) llvm: String,
    pub(crate) rust_src: PathBuf,
}

/// bpf-linker and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// What this machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) debian: Option<Compiler>,
    pub(crate) nightly: Option<Compiler>,
    pub(crate) linker: Option<Linker>,
    pub(crate) strip: Option<PathBuf>,
}

/// A complete set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    pub(crate) source: Source,
    pub(crate) compiler: Compiler,
    pub(crate) linker: Linker,
    pub(crate) strip: PathBuf,
}

/// Names of the tools that are not there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) Vec<&'static str>);

/// Debian's compiler where there is a choice: its version is the same for everybody on a release.
pub(crate) fn choose(found: Found) -> Result<Toolchain, Missing> {
    let usable = |compiler: &Compiler| version_pair(&compiler.release) >= Some(OLDEST_RUSTC);
    let debian = found
        .debian
        .filter(usable)
        .map(|compiler| (Source::Debian, compiler));
    let nightly = found
        .nightly
        .filter(usable)
        .map(|compiler| (Source::Nightly, compiler));
    match (debian.or(nightly), found.linker, found.strip) {
        (Some((source, compiler)), Some(linker), Some(strip)) => Ok(Toolchain {
            source,
            compiler,
            linker,
            strip,
        }),
        (compiler, linker, strip) => {
            let compiler = compiler
                .is_none()
                .then_some("a Rust compiler with the sources of core");
            let linker = linker.is_none().then_some("bpf-linker");
            let strip = strip.is_none().then_some("llvm-strip");
            Err(Missing(
                [compiler, linker, strip].into_iter().flatten().collect(),
            ))
        }
    }
}

impl Toolchain {
    pub(crate) fn versions(&self) -> Versions {
        Versions {
            rustc: self.compiler.release.clone(),
            rustc_commit: self.compiler.commit.clone(),
            llvm: self.compiler.llvm.clone(),
            bpf_linker: self.linker.version.clone(),
        }
    }

    /// This toolchain's cargo, free of what the cargo around us has set.
    pub(crate) fn cargo(&self) -> Result<Command> {
        let mut cargo = match self.source {
            Source::Debian => debian("cargo"),
            Source::Nightly => nightly("cargo"),
        };
        if self.source == Source::Debian {
            cargo
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1");
        }
        if cmd::in_path("bpf-linker").as_ref() != Some(&self.linker.path) {
            let path = env::var_os("PATH").unwrap_or_default();
            let dirs = self.linker.path.parent().map(Path::to_path_buf).into_iter();
            cargo.env(
                "PATH",
                env::join_paths(dirs.chain(env::split_paths(&path)))?,
            );
        }
        // Empty: no wrapper, whatever the user's cargo configuration says.
        cargo
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "");
        Ok(cargo)
    }
}

fn version_pair(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(release: &str) -> Compiler {
        Compiler {
            release: release.into(),
            commit: "ac68faa20c58".into(),
            llvm: "22.1.8".into(),
            rust_src: "/usr/lib/rustlib/src/rust".into(),
        }
    }

    fn all() -> Found {
        Found {
            debian: Some(compiler("1.96.0")),
            nightly: Some(compiler("1.97.0-nightly")),
            linker: Some(Linker {
                path: "/bin/bpf-linker".into(),
                version: BPF_LINKER.into(),
            }),
            strip: Some("/bin/llvm-strip".into()),
        }
    }

    #[test]
    fn debians_compiler_is_preferred() {
        assert_eq!(choose(all()).unwrap().source, Source::Debian);
    }

    #[test]
    fn nightly_is_used_where_debians_is_missing_or_too_old() {
        for debian in [None, Some(compiler("1.85.0"))] {
            let chosen = choose(Found { debian, ..all() }).unwrap();
            assert_eq!(
                (chosen.source, &*chosen.compiler.release),
                (Source::Nightly, "1.97.0-nightly")
            );
        }
    }

    #[test]
    fn every_missing_tool_is_named_at_once() {
        assert_eq!(
            choose(Found {
                strip: None,
                ..all()
            }),
            Err(Missing(vec!["llvm-strip"]))
        );
        assert_eq!(choose(Found::default()).unwrap_err().0.len(), 3);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version_pair("1.100.0") > version_pair("1.87.0-nightly"));
        assert_eq!(version_pair("nightly"), None);
    }
}
