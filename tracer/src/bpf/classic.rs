//! Whether the records of classic tracepoints are what the programs take them for.

use tracer_common::classic::FIELDS;

use super::btf::Btf;

/// Compares every field with the kernel's types; the reason if one differs.
pub(super) fn check(types: &Btf<'_>) -> Result<(), String> {
    let records = FIELDS.map(|field| field.record);
    for (field, record) in FIELDS.iter().zip(types.structs(&records)) {
        let member = record.and_then(|record| record.member(field.name));
        let offset = member.map_err(|error| error.to_string())?.offset;
        if offset as usize != field.offset {
            return Err(format!(
                "{}.{} is at byte {offset}, not {}",
                field.record, field.name, field.offset
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracer_common::classic::Field;

    use super::super::btf::builder::{Builder, Part};
    use super::*;

    /// The types of a kernel whose records have these fields.
    fn kernel(fields: &[Field]) -> Vec<u8> {
        let mut types = Builder::new();
        let int = types.int("int", 4);
        let mut records: BTreeMap<&str, Vec<Part<'_>>> = BTreeMap::new();
        for field in fields {
            let bits = u32::try_from(field.offset).unwrap() * 8;
            let parts = records.entry(field.record).or_default();
            parts.push((field.name, int, bits, None));
        }
        for (name, parts) in &records {
            types.structure(name, 64, parts);
        }
        types.bytes()
    }

    #[test]
    fn the_records_we_know_pass() {
        let bytes = kernel(&FIELDS);
        assert_eq!(check(&Btf::parse(&bytes).unwrap()), Ok(()));
    }

    #[test]
    fn a_field_that_has_moved_or_gone_is_named() {
        for place in 0..FIELDS.len() {
            let mut fields = FIELDS.to_vec();
            fields[place].offset += 8;
            let moved = kernel(&fields);
            let reason = check(&Btf::parse(&moved).unwrap()).unwrap_err();
            assert!(reason.contains(FIELDS[place].name), "{reason}");
            fields.remove(place);
            let gone = kernel(&fields);
            let reason = check(&Btf::parse(&gone).unwrap()).unwrap_err();
            assert!(reason.contains(FIELDS[place].record), "{reason}");
        }
    }

    #[test]
    fn the_records_of_this_kernel_pass() {
        if let Ok(bytes) = std::fs::read(super::super::btf::KERNEL_BTF) {
            assert_eq!(check(&Btf::parse(&bytes).unwrap()), Ok(()));
        }
    }
}
