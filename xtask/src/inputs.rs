//! What goes into the eBPF objects, as one hash.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// SHA-256 in hexadecimal over the sorted sources of `tracer-ebpf` and `tracer-common` below `root`
/// and over `flags`. It does not depend on where `root` is.
pub(crate) fn hash(root: &Path, flags: &str) -> Result<String> {
    let mut hash = Sha256::new();
    // Lengths keep a byte that moves from one field to the next from going unseen.
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(flags.as_bytes());
    for path in files(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path);
        add(name.to_string_lossy().as_bytes());
        add(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(hex(&hash.finalize()))
}

/// SHA-256 of `bytes` in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.join("tracer-common/Cargo.toml")];
    collect(&root.join("tracer-common/src"), &mut found)?;
    collect(&root.join("tracer-ebpf"), &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = || format!("cannot list {}", dir.display());
    for entry in fs::read_dir(dir).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        // The type of the entry itself: tracer-ebpf has a symbolic link to tracer-common.
        let kind = entry.file_type().with_context(unreadable)?;
        let path = entry.path();
        if kind.is_dir() && entry.file_name() != "target" {
            collect(&path, found)?;
        } else if kind.is_file() && is_source(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_source(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ext| ext == "rs" || ext == "toml" || ext == "lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for (name, text) in [
            ("tracer-common/Cargo.toml", "[package]"),
            ("tracer-common/src/lib.rs", "pub const N: u32 = 1;"),
            ("tracer-ebpf/Cargo.toml", "[workspace]"),
            ("tracer-ebpf/Cargo.lock", "version = 4"),
            ("tracer-ebpf/.cargo/config.toml", "[build]"),
            ("tracer-ebpf/src/hooks/accept.rs", "fn accept() {}"),
        ] {
            write(root, name, text);
        }
        dir
    }

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn equal_sources_in_two_folders_have_one_hash() {
        let (one, two) = (project(), project());
        assert_ne!(one.path(), two.path());
        assert_eq!(
            hash(one.path(), "-O").unwrap(),
            hash(two.path(), "-O").unwrap()
        );
    }

    #[test]
    fn every_source_and_the_flags_change_the_hash() {
        let unchanged = hash(project().path(), "-O").unwrap();
        assert_ne!(hash(project().path(), "-O2").unwrap(), unchanged);
        for name in [
            "tracer-common/Cargo.toml",
            "tracer-common/src/lib.rs",
            "tracer-ebpf/Cargo.lock",
            "tracer-ebpf/.cargo/config.toml",
            "tracer-ebpf/src/hooks/accept.rs",
            "tracer-ebpf/src/hooks/new.rs",
        ] {
            let dir = project();
            write(dir.path(), name, "changed");
            assert_ne!(hash(dir.path(), "-O").unwrap(), unchanged, "{name}");
        }
    }

    #[test]
    fn what_is_no_source_leaves_the_hash_alone() {
        let dir = project();
        let unchanged = hash(dir.path(), "-O").unwrap();
        write(dir.path(), "tracer-ebpf/target/debug/build.rs", "");
        write(dir.path(), "tracer-ebpf/src/main.rs.swp", "");
        std::os::unix::fs::symlink(
            "../tracer-common",
            dir.path().join("tracer-ebpf/tracer-common"),
        )
        .unwrap();
        assert_eq!(hash(dir.path(), "-O").unwrap(), unchanged);
    }

    #[test]
    fn moving_text_from_one_file_to_the_next_changes_the_hash() {
        let (one, two) = (project(), project());
        write(one.path(), "tracer-ebpf/src/a.rs", "xy");
        write(one.path(), "tracer-ebpf/src/b.rs", "z");
        write(two.path(), "tracer-ebpf/src/a.rs", "x");
        write(two.path(), "tracer-ebpf/src/b.rs", "yz");
        assert_ne!(hash(one.path(), "").unwrap(), hash(two.path(), "").unwrap());
    }
}
