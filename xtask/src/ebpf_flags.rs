//! The compiler flags of the eBPF objects.

use std::path::{Path, PathBuf};

/// The objects' target triple; what differs by CPU is only the register layout that kprobes read.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// A CPU that conntracer runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The name that aya-ebpf's `bpf_target_arch` and Rust's `target_arch` share.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

/// A binary of the crate `tracer-ebpf`, which becomes one object for each CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Conntracer,
    /// What the benchmark measures conntracer's programs against.
    Floor,
}

impl Binary {
    pub(crate) const ALL: [Self; 2] = [Self::Conntracer, Self::Floor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conntracer => "conntracer",
            Self::Floor => "floor",
        }
    }

    /// File name of a committed object.
    pub(crate) fn object(self, arch: Arch) -> String {
        format!("{}.{}.o", self.name(), arch.name())
    }

    /// The folder of the committed objects, below the project's.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Conntracer => "tracer/bpf",
            Self::Floor => "tests/bpf",
        }
    }
}

/// All objects.
pub(crate) fn objects() -> impl Iterator<Item = (Binary, Arch)> {
    let each = |arch| Binary::ALL.map(|binary| (binary, arch));
    Arch::ALL.into_iter().flat_map(each)
}

/// The folders of this machine whose names must not get into an object.
pub(crate) struct Folders {
    pub(crate) source: PathBuf,
    pub(crate) cargo_home: PathBuf,
    /// Where this toolchain keeps the sources of `core`.
    pub(crate) rust_src: PathBuf,
}

impl Folders {
    /// Stand-ins, for a text that is the same on every machine.
    pub(crate) fn symbolic() -> Self {
        Self {
            source: "SOURCE".into(),
            cargo_home: "CARGO_HOME".into(),
            rust_src: "RUST_SRC".into(),
        }
    }
}

/// rustc's flags for one object.
pub(crate) fn rustc_flags(arch: Arch, folders: &Folders) -> Vec<String> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    vec![
        // Debug information is where bpf-linker takes the BTF from; it is stripped afterwards.
        "-Cdebuginfo=2".into(),
        "-Ctarget-cpu=v3".into(),
        "-Clink-arg=--btf".into(),
        // bpf-linker's default turns every zeroing of more than 8 bytes into a call of a byte loop:
        // 980 verified instructions for 200 bytes instead of 35.
        "-Clink-arg=--disable-expand-memcpy-in-order".into(),
        // .BTF.ext keeps source paths even in a stripped object. rustc takes the last match.
        // CARGO_HOME may be inside the source folder, hence after it.
        remap(&folders.source, "/conntracer"),
        remap(&folders.rust_src, "/rust"),
        remap(&folders.cargo_home, "/cargo"),
        format!("--cfg=bpf_target_arch=\"{}\"", arch.name()),
    ]
}

/// cargo's arguments for one object.
pub(crate) const CARGO_ARGS: &[&str] = &[
    "build",
    "--release",
    "--locked",
    "-Zbuild-std=core",
    "--target",
    TARGET,
];

/// What llvm-strip removes. aya needs no relocations of the BTF sections: they are half of the rest.
pub(crate) const STRIP_ARGS: &[&str] = &[
    "--strip-debug",
    "--remove-section=.rel.BTF",
    "--remove-section=.rel.BTF.ext",
];

/// Every flag of every object, the same on every machine: part of the inputs' hash.
pub(crate) fn description() -> String {
    let mut lines = vec![CARGO_ARGS.join(" "), STRIP_ARGS.join(" ")];
    lines.extend(Arch::ALL.map(|arch| rustc_flags(arch, &Folders::symbolic()).join(" ")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_name_the_cpu_and_hide_the_folders() {
        let folders = Folders {
            source: "/home/me/src".into(),
            cargo_home: "/home/me/.cargo".into(),
            rust_src: "/usr/lib/rustlib/src/rust".into(),
        };
        let flags = rustc_flags(Arch::Aarch64, &folders);
        assert!(flags.contains(&"--cfg=bpf_target_arch=\"aarch64\"".to_owned()));
        assert!(flags.contains(&"--remap-path-prefix=/home/me/src=/conntracer".to_owned()));
        assert!(flags.contains(&"--remap-path-prefix=/home/me/.cargo=/cargo".to_owned()));
        assert!(flags.contains(&"-Clink-arg=--disable-expand-memcpy-in-order".to_owned()));
    }

    #[test]
    fn the_linker_is_not_given_the_cpu_a_second_time() {
        // rustc passes --cpu itself, and bpf-linker refuses two.
        let flags = rustc_flags(Arch::X86_64, &Folders::symbolic());
        assert!(
            !flags.iter().any(|flag| flag.contains("link-arg=--cpu")),
            "{flags:?}"
        );
    }

    #[test]
    fn the_description_has_both_cpus_and_no_folder_of_this_machine() {
        let text = description();
        assert!(text.contains("x86_64") && text.contains("aarch64"));
        assert!(!text.contains(env!("CARGO_MANIFEST_DIR")));
    }
}
