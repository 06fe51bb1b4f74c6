//! What would make the kernel refuse a built object, or make it slow, found before it is committed.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::{Context as _, Result};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget, Section,
    SectionIndex, SymbolKind, elf::R_BPF_64_32, read::File,
};

use crate::ebpf_flags::Folders;

/// Section of functions that Rust holds for cold: core's panics.
const COLD: &str = ".text.unlikely.";
/// aya-ebpf's byte loops.
const BYTE_LOOPS: [&str; 5] = ["memset", "memcpy", "memmove", "memcmp", "bcmp"];

/// One sentence for each thing wrong with the object; none if it is fit to be committed.
pub(crate) fn problems(object: &[u8], folders: &Folders) -> Result<Vec<String>> {
    let file = File::parse(object).context("the eBPF object is not an ELF file")?;
    let mut problems = Vec::new();
    for section in file.sections() {
        let place = section.name().context("a section has no name")?;
        for (offset, relocation) in section.relocations() {
            if relocation.flags()
                == (RelocationFlags::Elf {
                    r_type: R_BPF_64_32,
                })
            {
                let callee = callee(&file, &section, offset, relocation.target())?;
                problems.extend(complaint(place, &callee));
            }
        }
    }
    let cold = file
        .sections()
        .any(|section| section.name().is_ok_and(|name| name.starts_with(COLD)));
    if cold && problems.is_empty() {
        problems.push(format!(
            "section {COLD} is there: a panic is reachable from somewhere"
        ));
    }
    problems.extend(folder_leaks(object, folders));
    problems.sort();
    problems.dedup();
    Ok(problems)
}

/// What a call instruction calls.
#[derive(Debug, PartialEq, Eq)]
struct Callee {
    /// Section of the function, empty if it is not in the object.
    section: String,
    /// Demangled.
    function: String,
}

fn callee(file: &File, section: &Section, offset: u64, target: RelocationTarget) -> Result<Callee> {
    let RelocationTarget::Symbol(index) = target else {
        anyhow::bail!("a call in {} has no target", section.name()?);
    };
    let symbol = file
        .symbol_by_index(index)
        .context("a call's target is not in the symbol table")?;
    let Some(home) = symbol.section_index() else {
        return Ok(Callee {
            section: String::new(),
            function: demangle(symbol.name()?),
        });
    };
    // A call of a local function names its section; the instruction's immediate tells the place,
    // in instructions of 8 bytes after the next one.
    let address = if symbol.kind() == SymbolKind::Section {
        let instruction = section
            .data_range(offset, 8)?
            .context("a call is outside its section")?;
        let immediate = instruction
            .get(4..8)
            .and_then(|bytes| bytes.try_into().ok());
        let immediate = immediate
            .map(i32::from_le_bytes)
            .context("a call is cut short")?;
        (i64::from(immediate) + 1).wrapping_mul(8).cast_unsigned()
    } else {
        symbol.address()
    };
    let function = function_at(file, home, address).unwrap_or_else(|| format!("+{address:#x}"));
    Ok(Callee {
        section: file.section_by_index(home)?.name()?.to_owned(),
        function,
    })
}

fn function_at(file: &File, home: SectionIndex, address: u64) -> Option<String> {
    let mut functions = file
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text);
    let found = functions
        .find(|symbol| symbol.section_index() == Some(home) && symbol.address() == address)?;
    Some(demangle(found.name().ok()?))
}

fn demangle(name: &str) -> String {
    // The alternate form leaves the crate hashes out.
    format!("{:#}", rustc_demangle::demangle(name))
}

/// Why the function in `section` named `place` must not call `callee`, if it must not.
fn complaint(place: &str, callee: &Callee) -> Option<String> {
    let Callee { section, function } = callee;
    if section.starts_with(COLD) || function.contains("panic") {
        return Some(format!(
            "{place} calls {function}: a panic is reachable, and the kernel will refuse the program \
             (\"last insn is not an exit or jmp\"). Mask the index, use get(), or test the divisor"
        ));
    }
    if BYTE_LOOPS.contains(&&**function) {
        return Some(format!(
            "{place} calls {function}, a loop over single bytes: move less at once, or write the \
             fields one by one"
        ));
    }
    (section != ".text").then(|| {
        format!("{place} calls {function}, which is not in the object's .text: it cannot be loaded")
    })
}

fn folder_leaks(object: &[u8], folders: &Folders) -> Vec<String> {
    let contains = |folder: &&Path| {
        let name = folder.as_os_str().as_bytes();
        name.len() > 1 && object.windows(name.len()).any(|window| window == name)
    };
    let folders = [&*folders.source, &*folders.cargo_home, &*folders.rust_src];
    let text = |folder: &Path| {
        format!(
            "the folder {} is named in it: the object depends on the machine",
            folder.display()
        )
    };
    folders.into_iter().filter(contains).map(text).collect()
}

#[cfg(test)]
mod tests {
    use object::{
        Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolScope,
        write::{Object, Relocation, StandardSection, Symbol, SymbolSection},
    };

    use super::*;

    /// An object with a program of one call to the function `callee` in `section`, through the
    /// section's symbol as LLVM does for local functions, or by name.
    fn program_calling(section: &str, callee: &str, by_name: bool) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let program = object.add_section(vec![], b"tp_btf/state".to_vec(), SectionKind::Text);
        let home = match section {
            ".text" => object.section_id(StandardSection::Text),
            other => object.add_section(vec![], other.into(), SectionKind::Text),
        };
        // Another function before it, so that the place in the section matters.
        let mut function = 0;
        for name in ["another", callee] {
            function = object.append_section_data(home, &[0x95, 0, 0, 0, 0, 0, 0, 0], 8);
            object.add_symbol(text_symbol(name, function, home));
        }
        let symbol = if by_name {
            object.symbol_id(callee.as_bytes()).unwrap()
        } else {
            object.section_symbol(home)
        };
        let immediate = i32::try_from(function / 8).unwrap() - 1;
        let mut call = vec![0x85, 0x10, 0, 0];
        call.extend(immediate.to_le_bytes());
        let offset = object.append_section_data(program, &call, 8);
        let flags = RelocationFlags::Elf {
            r_type: R_BPF_64_32,
        };
        // The write side takes no implicit addend for BPF: the instruction has it already.
        object
            .add_relocation(
                program,
                Relocation {
                    offset,
                    symbol,
                    addend: 0,
                    flags,
                },
            )
            .unwrap();
        object.write().unwrap()
    }

    fn text_symbol(name: &str, value: u64, section: object::write::SectionId) -> Symbol {
        Symbol {
            name: name.into(),
            value,
            size: 8,
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        }
    }

    fn found(object: &[u8]) -> String {
        problems(object, &Folders::symbolic()).unwrap().join("\n")
    }

    #[test]
    fn a_call_of_an_own_subprogram_is_fine() {
        for by_name in [true, false] {
            let object = program_calling(".text", "_RNvCs1234_11tracer_ebpf6settle", by_name);
            assert_eq!(found(&object), "");
        }
    }

    #[test]
    fn a_reachable_panic_is_named_with_its_program() {
        let panic = "_RNvNtCs1234_4core9panicking18panic_bounds_check";
        for by_name in [true, false] {
            let text = found(&program_calling(".text.unlikely.", panic, by_name));
            let start =
                "tp_btf/state calls core::panicking::panic_bounds_check: a panic is reachable";
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn a_panic_in_the_usual_section_is_found_too() {
        let text = found(&program_calling(
            ".text",
            "_RNvNtCs1234_4core9panicking5panic",
            false,
        ));
        assert!(text.contains("core::panicking::panic:"), "{text}");
    }

    #[test]
    fn a_byte_loop_is_refused() {
        let text = found(&program_calling(".text", "memset", true));
        assert!(
            text.contains("calls memset, a loop over single bytes"),
            "{text}"
        );
    }

    #[test]
    fn a_function_outside_text_cannot_be_loaded() {
        let text = found(&program_calling("elsewhere", "helper", true));
        assert!(
            text.contains("helper, which is not in the object's .text"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_of_this_machine_in_the_object_is_found() {
        let object = program_calling(".text", "home_me_src", true);
        let folders = Folders {
            source: "home_me_src".into(),
            ..Folders::symbolic()
        };
        let text = problems(&object, &folders).unwrap().join("\n");
        assert!(
            text.contains("the folder home_me_src is named in it"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_elf_file_is_an_error_and_no_panic() {
        assert!(problems(b"not an object", &Folders::symbolic()).is_err());
        let object = program_calling(".text", "memset", true);
        for length in 0..object.len() {
            let _ = problems(&object[..length], &Folders::symbolic());
        }
    }
}
