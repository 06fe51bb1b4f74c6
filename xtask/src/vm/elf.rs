//! What an ELF file says it needs: shared libraries of a program, other modules of a module.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use object::{
    Endianness, Object as _, ObjectSection as _,
    elf::{DT_NEEDED, FileHeader64, PT_INTERP},
    read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _},
};

/// The loader and all libraries that these programs need, as `(place, file)`.
///
/// `root` is where their system is: `/`, or the folder of another architecture's.
pub(crate) fn libraries(root: &Path, programs: &[PathBuf]) -> Result<BTreeSet<(String, PathBuf)>> {
    let folders = library_folders(root);
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut files = programs.to_vec();
    while let Some(file) = files.pop() {
        let context = || format!("cannot read what {} needs", file.display());
        let bytes = fs::read(&file).with_context(context)?;
        let (loader, needed) = needs(&bytes).with_context(context)?;
        let mut wanted: Vec<(String, PathBuf)> = Vec::new();
        if let Some(place) = loader {
            // A package of a merged /usr does not have the link /lib to it.
            let file = [inside(root, &place), inside(&root.join("usr"), &place)]
                .into_iter()
                .find(|file| file.exists());
            let file = file.with_context(|| format!("there is no {place}"))?;
            wanted.push((place, file));
        }
        for name in needed {
            let mut places = folders
                .iter()
                .map(|folder| inside(root, folder).join(&name));
            let place = places.find(|place| place.exists()).with_context(|| {
                let folders = folders.join(", ");
                format!(
                    "{} needs the library {name}, which is not in {folders}",
                    file.display()
                )
            })?;
            // Where every loader looks, whatever its distribution.
            wanted.push((format!("/lib/{name}"), place));
        }
        for (place, library) in wanted {
            if seen.insert(place.clone()) {
                files.push(library.clone());
                found.insert((place, library));
            }
        }
    }
    Ok(found)
}

/// Modules that a kernel module needs, as its `.modinfo` lists them.
pub(crate) fn module_depends(module: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(module).context("it is no ELF file")?;
    let info = file
        .section_by_name(".modinfo")
        .context("it has no section .modinfo")?
        .data()?;
    let depends = info
        .split(|byte| *byte == 0)
        .find_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix("depends="));
    let names = depends.unwrap_or_default().split(',');
    Ok(names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

/// The loader and the needed libraries of a program or library.
fn needs(bytes: &[u8]) -> Result<(Option<String>, Vec<String>)> {
    let header = FileHeader64::<Endianness>::parse(bytes).context("it is no 64-bit ELF file")?;
    let endian = header.endian()?;
    let mut loader = None;
    for segment in header.program_headers(endian, bytes)? {
        if segment.p_type(endian) == PT_INTERP {
            let path = segment
                .data(endian, bytes)
                .ok()
                .context("its loader is not named")?;
            let path = path.strip_suffix(&[0]).unwrap_or(path);
            loader = Some(String::from_utf8(path.to_vec())?);
        }
    }
    let sections = header.sections(endian, bytes)?;
    let mut needed = Vec::new();
    if let Some((dynamic, strings)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, strings)?;
        for entry in dynamic {
            if entry.tag32(endian) == Some(DT_NEEDED) {
                let name = entry.string(endian, strings)?;
                needed.push(String::from_utf8(name.to_vec())?);
            }
        }
    }
    Ok((loader, needed))
}

/// Folders with libraries, as seen in `root`.
fn library_folders(root: &Path) -> Vec<String> {
    let triplets = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let nested = triplets
        .iter()
        .flat_map(|triplet| [format!("/lib/{triplet}"), format!("/usr/lib/{triplet}")]);
    let flat = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned);
    nested
        .chain(flat)
        .filter(|folder| inside(root, folder).is_dir())
        .collect()
}

/// `root` followed by an absolute path.
pub(crate) fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
