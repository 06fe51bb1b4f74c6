//! The eBPF object: built ahead by `cargo xtask build-ebpf`, committed, and embedded here.

use object::{Object, ObjectSection, ObjectSymbol};
use tracer_common::{ABI_SYMBOL, ABI_VERSION};

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

/// The object with these maps preallocated: their entries exist from the start, and no memory is
/// taken while a program runs.
pub fn preallocated(maps: &[&str]) -> Result<Vec<u8>, ObjectError> {
    let broken = |reason: &str| ObjectError::Broken(reason.to_owned());
    let mut bytes = checked()?.to_vec();
    let file =
        object::File::parse(OBJECT).map_err(|error| ObjectError::Broken(error.to_string()))?;
    for name in maps {
        let symbol = file.symbol_by_name(name);
        let start = symbol.as_ref().and_then(|symbol| {
            let section = file.section_by_index(symbol.section_index()?).ok()?;
            usize::try_from(section.file_range()?.0 + symbol.address()).ok()
        });
        let flags = start
            .and_then(|start| bytes.get_mut(start + MAP_FLAGS..)?.first_chunk_mut::<4>())
            .ok_or_else(|| broken("a map is missing"))?;
        *flags = [0; 4];
    }
    Ok(bytes)
}

/// Offset of `map_flags` in a map's definition (`struct bpf_map_def`).
const MAP_FLAGS: usize = 16;

fn check_abi(bytes: &[u8]) -> Result<(), ObjectError> {
    let broken = |reason: &str| ObjectError::Broken(reason.to_owned());
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

    #[test]
    fn preallocation_changes_one_flag_a_map_and_nothing_else() {
        let maps = [tracer_common::map::CONNECTIONS, tracer_common::map::USERS];
        let changed = preallocated(&maps).unwrap();
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
        assert!(preallocated(&["NO_SUCH_MAP"]).is_err());
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
