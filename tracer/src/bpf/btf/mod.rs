//! A reader for the running kernel's own type information, `/sys/kernel/btf/vmlinux`.
//!
//! Own code, because `aya-obj` keeps struct members private and `btf-rs`, the crate that shows
//! them, is LGPL-2.1 and so not for a static binary under MIT or Apache-2.0.
//!
//! The bytes are not trusted: every read is checked, chains and nesting have a limit, and memory
//! is bounded by the input's size. Only a whole BTF is read, not the split BTF of a module.

mod error;
mod format;
mod member;
mod only;

#[cfg(test)]
pub(crate) mod builder;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod tests;

pub use error::BtfError;
pub use format::Kind;
pub use member::{Member, Struct};

use format::{Header, Layout, MAGIC, Section, Type, TypeHead, VERSION};
use zerocopy::FromBytes;

/// Where the kernel shows its BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// An indexed BTF. Indexing is one pass; looking up names is one more pass for each call.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where each type begins in `types`; numbers count from 1, number 0 is `void`.
    starts: Vec<u32>,
}

impl<'a> Btf<'a> {
    /// Checks the header and indexes the types.
    ///
    /// Fails on anything that is not a whole BTF of this machine's byte order, and on a type of
    /// unknown kind whose length the BTF does not tell itself (that of newer kernels does).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| BtfError::CutOff("header"))?;
        match header.magic.get() {
            MAGIC => {}
            magic if magic == MAGIC.swap_bytes() => return Err(BtfError::ByteOrder),
            magic => return Err(BtfError::Magic(magic)),
        }
        if header.version != VERSION {
            return Err(BtfError::Version(header.version));
        }
        let header_len = header.len.get() as usize;
        if header_len < size_of::<Header>() {
            return Err(BtfError::CutOff("header"));
        }
        let body = bytes.get(header_len..).ok_or(BtfError::CutOff("header"))?;
        let types = section(body, &header.types).ok_or(BtfError::CutOff("type section"))?;
        let strings = section(body, &header.strings)
            .filter(|strings| strings.first() == Some(&0) && strings.last() == Some(&0))
            .ok_or(BtfError::CutOff("string section"))?;
        let layouts = layouts(bytes, header_len, body)?;
        Ok(Self {
            types,
            strings,
            starts: index(types, layouts)?,
        })
    }

    /// The numbers of all types of a kind that bear one of the names, in the order of `names`.
    fn find(&self, kind: Kind, names: &[&str]) -> Vec<Vec<u32>> {
        let mut found = vec![Vec::new(); names.len()];
        for (id, start) in (1..).zip(&self.starts) {
            let Some(ty) = Type::at(self.types, *start) else {
                continue;
            };
            if ty.head.kind() != Some(kind) {
                continue;
            }
            for (name, ids) in names.iter().zip(&mut found) {
                if self.is_named(ty.head.name.get(), name) {
                    ids.push(id);
                }
            }
        }
        found
    }

    fn type_by_id(&self, id: u32) -> Result<Type<'a>, BtfError> {
        let start = (id as usize)
            .checked_sub(1)
            .and_then(|index| self.starts.get(index));
        start
            .and_then(|start| Type::at(self.types, *start))
            .ok_or(BtfError::NoType(id))
    }

    /// Compares without looking for the end of the string first.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        self.strings
            .get(offset as usize..)
            .and_then(|string| string.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

fn section<'a>(body: &'a [u8], place: &Section) -> Option<&'a [u8]> {
    body.get(place.offset.get() as usize..)?
        .get(..place.len.get() as usize)
}

/// The lengths of each kind's records, for kinds that are newer than this program.
fn layouts<'a>(
    bytes: &'a [u8],
    header_len: usize,
    body: &'a [u8],
) -> Result<&'a [Layout], BtfError> {
    if header_len < size_of::<Header>() + size_of::<Section>() {
        return Ok(&[]);
    }
    bytes
        .get(size_of::<Header>()..)
        .and_then(|rest| Section::ref_from_prefix(rest).ok())
        .and_then(|(place, _)| section(body, place))
        .and_then(|bytes| <[Layout]>::ref_from_bytes(bytes).ok())
        .ok_or(BtfError::CutOff("layout section"))
}

fn index(types: &[u8], layouts: &[Layout]) -> Result<Vec<u32>, BtfError> {
    let mut starts = Vec::new();
    let mut start = 0_u32;
    let mut rest = types;
    while !rest.is_empty() {
        let (head, tail) =
            TypeHead::ref_from_prefix(rest).map_err(|_| BtfError::CutOff("type section"))?;
        starts.push(start);
        let unknown = BtfError::UnknownKind {
            id: starts.len(),
            kind: head.kind_number(),
        };
        let extra = head.extra_len(layouts).ok_or(unknown)?;
        rest = tail.get(extra..).ok_or(BtfError::CutOff("type section"))?;
        // The section's length is a u32.
        start = u32::try_from(types.len() - rest.len()).unwrap_or(u32::MAX);
    }
    Ok(starts)
}
