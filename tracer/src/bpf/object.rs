//! The eBPF object: built ahead by `cargo xtask build-ebpf`, committed, and embedded here.

use object::{Object, ObjectSection, ObjectSymbol};
use tracer_common::{ABI_SYMBOL, ABI_VERSION};

use super::programs::PROGRAMS;

#[cfg(target_arch = "x86_64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/conntracer.x86_64.o");
#[cfg(target_arch = "aarch64")]
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/conntracer.aarch64.o");
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("conntracer's eBPF objects are built for x86_64 and aarch64 only");

/// Why the embedded object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Not an ELF file, or without the version symbol.
    #[error(
        "the embedded eBPF object is not usable ({0}); rebuild it with `cargo xtask build-ebpf`"
    )]
    Broken(String),
    /// Built from other layouts.
    #[error(
        "the embedded eBPF object has layout version {found}, this program needs {ABI_VERSION}; \
         rebuild it with `cargo xtask build-ebpf`"
    )]
    Abi {
        /// The object's version.
        found: u32,
    },
}

/// The object, checked to speak this program's layouts.
pub fn checked() -> Result<&'static [u8], ObjectError> {
    check_abi(OBJECT)?;
    Ok(OBJECT)
}

/// The object with these programs only, and these maps preallocated: their entries exist from the
/// start, and no memory is taken while a program runs.
///
/// aya copies all the functions that a program calls behind it, for every program that it finds.
pub fn cut(programs: &[&str], preallocated: &[&str]) -> Result<Vec<u8>, ObjectError> {
    let mut bytes = checked()?.to_vec();
    let file =
        object::File::parse(OBJECT).map_err(|error| ObjectError::Broken(error.to_string()))?;
    for name in preallocated {
        let flags = map_at(&file, name)
            .and_then(|start| bytes.get_mut(start + MAP_FLAGS..)?.first_chunk_mut::<4>())
            .ok_or_else(|| broken("a map is missing"))?;
        *flags = [0; 4];
    }
    let unwanted = PROGRAMS
        .iter()
        .filter(|spec| !programs.contains(&spec.name));
    for spec in unwanted {
        let info = symbol_at(&file, spec.name)
            .and_then(|start| bytes.get_mut(start + SYMBOL_INFO))
            .ok_or_else(|| broken("a program is missing"))?;
        // What is no function is no program; the binding is in the other half.
        *info &= !SYMBOL_TYPE;
    }
    Ok(bytes)
}

/// Offset of `map_flags` in a map's definition (`struct bpf_map_def`).
const MAP_FLAGS: usize = 16;
/// Length of an `Elf64_Sym`, and offset of its `st_info`.
const SYMBOL_LEN: usize = 24;
const SYMBOL_INFO: usize = 4;
const SYMBOL_TYPE: u8 = 0xf;

/// Where a map's definition is in the file.
fn map_at(file: &object::File<'_>, name: &str) -> Option<usize> {
    let symbol = file.symbol_by_name(name)?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    usize::try_from(section.file_range()?.0 + symbol.address()).ok()
}

/// Where a symbol is in the file.
fn symbol_at(file: &object::File<'_>, name: &str) -> Option<usize> {
    let symbol = file.symbol_by_name(name)?;
    let table = file.section_by_name(".symtab")?;
    Some(usize::try_from(table.file_range()?.0).ok()? + symbol.index().0 * SYMBOL_LEN)
}

fn broken(reason: &str) -> ObjectError {
    ObjectError::Broken(reason.to_owned())
}

fn check_abi(bytes: &[u8]) -> Result<(), ObjectError> {
    let file = object::File::parse(bytes).map_err(|error| broken(&error.to_string()))?;
    let symbol = file
        .symbol_by_name(ABI_SYMBOL)
        .ok_or_else(|| broken("no layout version symbol"))?;
    let found = symbol
        .section_index()
        .and_then(|index| file.section_by_index(index).ok())
        .and_then(|section| section.data_range(symbol.address(), 4).ok().flatten())
        .and_then(|data| data.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or_else(|| broken("no layout version"))?;
    if found == ABI_VERSION {
        Ok(())
    } else {
        Err(ObjectError::Abi { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_object_speaks_our_layouts() {
        checked().unwrap();
    }

    #[test]
    fn an_object_of_another_version_is_refused() {
        let mut other = OBJECT.to_vec();
        let file = object::File::parse(OBJECT).unwrap();
        let symbol = file.symbol_by_name(ABI_SYMBOL).unwrap();
        let section = file
            .section_by_index(symbol.section_index().unwrap())
            .unwrap();
        let (start, _) = section.file_range().unwrap();
        let at = usize::try_from(start + symbol.address()).unwrap();
        other[at] ^= 0xff;
        assert!(matches!(check_abi(&other), Err(ObjectError::Abi { .. })));
    }

    fn all() -> Vec<&'static str> {
        PROGRAMS.iter().map(|spec| spec.name).collect()
    }

    #[test]
    fn preallocation_changes_one_flag_a_map_and_nothing_else() {
        let maps = [tracer_common::map::CONNECTIONS, tracer_common::map::USERS];
        let changed = cut(&all(), &maps).unwrap();
        let differing: Vec<_> = (0..OBJECT.len())
            .filter(|at| OBJECT[*at] != changed[*at])
            .collect();
        // BPF_F_NO_PREALLOC is the lowest bit of the flags.
        assert_eq!(differing.len(), maps.len());
        assert!(
            differing
                .iter()
                .all(|at| (OBJECT[*at], changed[*at]) == (1, 0))
        );
        assert!(cut(&all(), &["NO_SUCH_MAP"]).is_err());
    }

    #[test]
    fn a_cut_has_the_wanted_programs_with_all_they_call() {
        let [whole, cut] =
            [OBJECT, &cut(&["set_state", "connect_exit"], &[]).unwrap()].map(|bytes| {
                let mut object = aya_obj::Object::parse(bytes).unwrap();
                // As the loader does.
                let text = object.functions.keys().map(|(section, _)| *section);
                let text = text.collect();
                object.relocate_calls(&text).unwrap();
                object
            });
        let mut names: Vec<_> = cut.programs.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["connect_exit", "set_state"]);
        for (name, program) in &cut.programs {
            let [ours, theirs] = [&cut, &whole].map(|object| {
                let function = &object.functions[&program.function_key()];
                function.instructions.len()
            });
            assert_eq!(ours, theirs, "{name}");
        }
        assert_eq!(cut.maps.len(), whole.maps.len());
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        assert!(matches!(
            check_abi(b"#!/bin/sh"),
            Err(ObjectError::Broken(_))
        ));
        assert!(matches!(
            check_abi(&OBJECT[..OBJECT.len() / 2]),
            Err(ObjectError::Broken(_))
        ));
    }
}
