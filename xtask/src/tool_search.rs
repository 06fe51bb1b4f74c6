//! Finding the eBPF build tools on this machine.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    cmd,
    toolchain::{Compiler, Found, LLVM_PREFIX, Linker},
    workspace,
};

/// Looks at this machine.
pub(crate) fn find() -> Result<Found> {
    Ok(Found {
        debian: compiler(debian),
        nightly: compiler(nightly),
        linker: linker()?,
        strip: strip(),
    })
}

/// `tool` makes a command of the compiler's tool of that name.
fn compiler(tool: impl Fn(&str) -> Command) -> Option<Compiler> {
    cmd::probe(tool("cargo").arg("-V"))?;
    let version = cmd::probe(tool("rustc").arg("-vV"))?;
    let sysroot = cmd::probe(tool("rustc").args(["--print", "sysroot"]))?;
    let rust_src = Path::new(sysroot.trim_end()).join("lib/rustlib/src/rust");
    if !rust_src.join("library/core/Cargo.toml").is_file() {
        return None;
    }
    parse_compiler(&version, rust_src)
}

/// `version` is what `rustc -vV` prints.
fn parse_compiler(version: &str, rust_src: PathBuf) -> Option<Compiler> {
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name));
    Some(Compiler {
        release: field("release: ")?.to_owned(),
        commit: field("commit-hash: ")?.to_owned(),
        llvm: field("LLVM version: ")?.to_owned(),
        rust_src,
    })
}

fn linker() -> Result<Option<Linker>> {
    let installed = workspace::cargo_home()?.join("bin/bpf-linker");
    // Where setup-ebpf puts it, before an older one elsewhere.
    let found = Some(installed).filter(|path| cmd::is_program(path));
    let found = found.or_else(|| cmd::in_path("bpf-linker"));
    Ok(found.and_then(|path| {
        let printed = cmd::probe(Command::new(&path).arg("--version"))?;
        let version = printed.trim().strip_prefix("bpf-linker ")?.to_owned();
        Some(Linker { path, version })
    }))
}

fn strip() -> Option<PathBuf> {
    let prefix = env::var_os("LLVM_PREFIX").map(PathBuf::from);
    let prefixes = prefix.into_iter().chain([PathBuf::from(LLVM_PREFIX)]);
    let mut places = prefixes.map(|prefix| prefix.join("bin/llvm-strip"));
    places
        .find(|file| cmd::is_program(file))
        .or_else(|| cmd::in_path("llvm-strip"))
}

/// A tool of Debian's compiler.
pub(crate) fn debian(tool: &str) -> Command {
    clean(Command::new(Path::new("/usr/bin").join(tool)))
}

/// A tool of the nightly compiler.
pub(crate) fn nightly(tool: &str) -> Command {
    let mut command = clean(Command::new("rustup"));
    // A question about nightly must not download one.
    command
        .env("RUSTUP_AUTO_INSTALL", "0")
        .args(["run", "nightly", tool]);
    command
}

/// Both are called free of what the cargo around us has set.
fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(leaks) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether a variable would carry settings of the stable build around us into the eBPF build.
fn leaks(name: &str) -> bool {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const DROPPED: [&str; 6] = [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "AYA_BPF_TARGET_ARCH",
    ];
    // `cargo run` puts the stable toolchain's libraries, with another LLVM, into LD_LIBRARY_PATH.
    name == "LD_LIBRARY_PATH"
        || DROPPED.iter().any(|prefix| name.starts_with(prefix))
            && !KEPT.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compilers_own_words_are_understood() {
        let printed = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                       binary: rustc\ncommit-hash: ac68faa20c58\nhost: x86_64-unknown-linux-gnu\n\
                       release: 1.96.0\nLLVM version: 22.1.8\n";
        let expected = Compiler {
            release: "1.96.0".into(),
            commit: "ac68faa20c58".into(),
            llvm: "22.1.8".into(),
            rust_src: "/usr/lib/rustlib/src/rust".into(),
        };
        let src = PathBuf::from("/usr/lib/rustlib/src/rust");
        assert_eq!(parse_compiler(printed, src.clone()), Some(expected));
        assert_eq!(parse_compiler("rustc 1.96.0", src), None);
    }

    #[test]
    fn the_stable_builds_variables_stay_out_and_network_settings_pass() {
        for name in [
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_TARGET_DIR",
            "LD_LIBRARY_PATH",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(leaks(name), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "HOME",
            "PATH",
            "RUSTUP_HOME",
        ] {
            assert!(!leaks(name), "{name}");
        }
    }
}
