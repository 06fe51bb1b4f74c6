//! The kernel modules that the tests need, with what those need.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{elf, kernel::Kernel};

/// What the tests need and a cloud kernel does not have built in.
const WANTED: [&str; 1] = ["veth"];

/// The same for what not every kernel has at all: TLS by the kernel, with AES in Galois counter mode
/// (the kernel would ask a `modprobe` for its parts).
const WISHED: [&str; 4] = ["tls", "gcm", "ghash_generic", "ctr"];

/// A module, uncompressed: the kernels do it in different ways.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// All modules to load, in the order to load them.
pub(crate) fn collect(kernel: &Kernel) -> Result<Vec<Module>> {
    // A package that only boots with others has it made when it is installed.
    let builtin = kernel.modules.join("modules.builtin");
    let builtin = fs::read_to_string(builtin).unwrap_or_default();
    let files = files(&kernel.modules.join("kernel"))?;
    let mut modules = Vec::new();
    let exists = |name: &&str| {
        let named = |path: &PathBuf| module_name(path).is_some_and(|found| found == *name);
        files.iter().any(named)
    };
    for name in WANTED.into_iter().chain(WISHED.into_iter().filter(exists)) {
        add(name, &files, &builtin, &mut modules)
            .with_context(|| format!("cannot get the module {name} of Linux {}", kernel.version))?;
    }
    Ok(modules)
}

fn add(name: &str, files: &[PathBuf], builtin: &str, modules: &mut Vec<Module>) -> Result<()> {
    let known = |path: &Path| module_name(path).is_some_and(|found| found == name);
    if modules.iter().any(|module| module.name == name)
        || builtin.lines().any(|line| known(Path::new(line)))
    {
        return Ok(());
    }
    let Some(path) = files.iter().find(|path| known(path)) else {
        bail!("there is no module {name}");
    };
    let bytes = read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let depends = elf::module_depends(&bytes)
        .with_context(|| format!("cannot read what {} needs", path.display()))?;
    for needed in depends {
        add(&needed, files, builtin, modules)?;
    }
    let name = name.to_owned();
    modules.push(Module { name, bytes });
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let packed = fs::read(path)?;
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(packed);
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut lzma_rust2::XzReader::new(&*packed, true), &mut bytes)?;
    Ok(bytes)
}

/// The name of the module in a file `NAME.ko` or `NAME.ko.xz`, which may have `-` for `_`.
fn module_name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let context = || format!("cannot read {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            if entry.file_type().with_context(context)?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_name_is_its_files() {
        let name = |path| module_name(Path::new(path));
        assert_eq!(name("net/veth.ko").as_deref(), Some("veth"));
        assert_eq!(name("net/nf-log.ko.xz").as_deref(), Some("nf_log"));
        assert_eq!(name("modules.dep"), None);
    }
}
