//! Makes BTF for tests, record by record.

use std::collections::HashMap;

/// A member: name, type, offset in bits, and width in bits for a bit-field.
pub(crate) type Part<'a> = (&'a str, u32, u32, Option<u32>);

/// Collects types; each method returns the number of the type it adds.
#[derive(Clone)]
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    names: HashMap<String, u32>,
    count: u32,
    /// Appended to the header: the section of record lengths, one for each kind number.
    layouts: Option<Vec<[u8; 2]>>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            names: HashMap::from([(String::new(), 0)]),
            count: 0,
            layouts: None,
        }
    }

    pub(crate) fn with_layouts(layouts: Vec<[u8; 2]>) -> Self {
        Self {
            layouts: Some(layouts),
            ..Self::new()
        }
    }

    /// The number the next type will get, for types that refer to themselves.
    pub(crate) fn next(&self) -> u32 {
        self.count + 1
    }

    pub(crate) fn name(&mut self, name: &str) -> u32 {
        if let Some(offset) = self.names.get(name) {
            return *offset;
        }
        let offset = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(name.bytes().chain([0]));
        self.names.insert(name.to_owned(), offset);
        offset
    }

    pub(crate) fn add(
        &mut self,
        name: &str,
        (kind, flag, count): (u32, bool, usize),
        size_or_type: u32,
        extra: &[u32],
    ) -> u32 {
        let info = kind << 24 | u32::from(flag) << 31 | u32::try_from(count).unwrap();
        let name = self.name(name);
        let words = [name, info, size_or_type]
            .into_iter()
            .chain(extra.iter().copied());
        self.types.extend(words.flat_map(u32::to_ne_bytes));
        self.count += 1;
        self.count
    }

    pub(crate) fn int(&mut self, name: &str, size: u32) -> u32 {
        self.int_of_bits(name, size, size * 8)
    }

    pub(crate) fn int_of_bits(&mut self, name: &str, size: u32, bits: u32) -> u32 {
        self.add(name, (1, false, 0), size, &[bits])
    }

    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.add("", (2, false, 0), to, &[])
    }

    pub(crate) fn array(&mut self, element: u32, count: u32) -> u32 {
        self.add("", (3, false, 0), 0, &[element, element, count])
    }

    pub(crate) fn structure(&mut self, name: &str, size: u32, parts: &[Part<'_>]) -> u32 {
        self.aggregate(4, name, size, parts)
    }

    pub(crate) fn union(&mut self, name: &str, size: u32, parts: &[Part<'_>]) -> u32 {
        self.aggregate(5, name, size, parts)
    }

    fn aggregate(&mut self, kind: u32, name: &str, size: u32, parts: &[Part<'_>]) -> u32 {
        let flag = parts.iter().any(|(.., bits)| bits.is_some());
        let mut extra = Vec::new();
        for (name, ty, offset, bits) in parts {
            extra.extend([self.name(name), *ty, offset | bits.unwrap_or(0) << 24]);
        }
        self.add(name, (kind, flag, parts.len()), size, &extra)
    }

    pub(crate) fn typedef(&mut self, name: &str, to: u32) -> u32 {
        self.add(name, (8, false, 0), to, &[])
    }

    pub(crate) fn prototype(&mut self, parameters: &[(&str, u32)]) -> u32 {
        let mut extra = Vec::new();
        for (name, ty) in parameters {
            extra.extend([self.name(name), *ty]);
        }
        self.add("", (13, false, parameters.len()), 0, &extra)
    }

    pub(crate) fn function(&mut self, name: &str, parameters: &[(&str, u32)]) -> u32 {
        let prototype = self.prototype(parameters);
        self.add(name, (12, false, 0), prototype, &[])
    }

    /// The file: header, types, strings, record lengths.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let layouts: Vec<u8> = self
            .layouts
            .iter()
            .flatten()
            .flat_map(|[once, each]| [*once, *each, 0, 0])
            .collect();
        let [types, strings, layouts_len] = [self.types.len(), self.strings.len(), layouts.len()]
            .map(|len| u32::try_from(len).unwrap());
        let mut words = vec![0, types, types, strings];
        if self.layouts.is_some() {
            words.extend([types + strings, layouts_len]);
        }
        let header_len = u32::try_from(8 + words.len() * 4).unwrap();
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend(header_len.to_ne_bytes());
        bytes.extend(words.into_iter().flat_map(u32::to_ne_bytes));
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes.extend(layouts);
        bytes
    }
}
