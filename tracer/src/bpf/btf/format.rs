//! The records of the file, as `include/uapi/linux/btf.h` defines them.

use zerocopy::native_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(super) const MAGIC: u16 = 0xeb9f;
pub(super) const VERSION: u8 = 1;
/// Of a header without the sections that newer kernels append.
const HEADER_LEN: u32 = 24;
const _: () = assert!(HEADER_LEN as usize == size_of::<Header>());

#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: U16,
    pub(super) version: u8,
    flags: u8,
    pub(super) len: U32,
    pub(super) types: Section,
    pub(super) strings: Section,
}

impl Header {
    /// Of types and, behind them, strings of these lengths.
    pub(super) fn of(types: usize, strings: usize) -> Self {
        // Both are shorter than the sections that they come from.
        let [types, strings] = [types, strings].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
        let section = |offset: u32, len: u32| Section {
            offset: offset.into(),
            len: len.into(),
        };
        Self {
            magic: MAGIC.into(),
            version: VERSION,
            flags: 0,
            len: HEADER_LEN.into(),
            types: section(0, types),
            strings: section(types, strings),
        }
    }
}

/// Where a section is, counted from the header's end.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Section {
    pub(super) offset: U32,
    pub(super) len: U32,
}

/// Lengths of one kind's records behind their [`TypeHead`].
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Layout {
    once: u8,
    each: u8,
    flags: U16,
}

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are C's")]
pub enum Kind {
    Int,
    Pointer,
    Array,
    Struct,
    Union,
    Enum,
    Forward,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Function,
    Prototype,
    Variable,
    DataSection,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

/// In the order of their numbers, which begin at 1.
const KINDS: [Kind; 19] = [
    Kind::Int,
    Kind::Pointer,
    Kind::Array,
    Kind::Struct,
    Kind::Union,
    Kind::Enum,
    Kind::Forward,
    Kind::Typedef,
    Kind::Volatile,
    Kind::Const,
    Kind::Restrict,
    Kind::Function,
    Kind::Prototype,
    Kind::Variable,
    Kind::DataSection,
    Kind::Float,
    Kind::DeclTag,
    Kind::TypeTag,
    Kind::Enum64,
];

impl Kind {
    /// Bytes behind the head: once, and for each of its members, values or parameters.
    const fn lengths(self) -> (usize, usize) {
        match self {
            Self::Pointer
            | Self::Forward
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Function
            | Self::Float
            | Self::TypeTag => (0, 0),
            Self::Int | Self::Variable | Self::DeclTag => (4, 0),
            Self::Array => (size_of::<Array>(), 0),
            Self::Struct | Self::Union => (0, size_of::<MemberRecord>()),
            Self::Prototype | Self::Enum => (0, 8),
            Self::DataSection | Self::Enum64 => (0, 12),
        }
    }
}

/// What every type begins with.
#[derive(FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct TypeHead {
    pub(super) name: U32,
    /// Count in bits 0-23, kind in 24-30, flag in 31; older kernels leave the higher bits of count
    /// and kind zero.
    info: U32,
    /// Size in bytes or number of another type, as the kind says.
    pub(super) size_or_type: U32,
}

impl TypeHead {
    pub(super) fn kind_number(&self) -> u32 {
        self.info.get() >> 24 & 0x7f
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        KINDS
            .get((self.kind_number() as usize).wrapping_sub(1))
            .copied()
    }

    /// Number of members, values or parameters.
    pub(super) fn count(&self) -> usize {
        (self.info.get() & 0x00ff_ffff) as usize
    }

    /// In structs and unions: member offsets carry a bit-field width.
    pub(super) fn flag(&self) -> bool {
        self.info.get() >> 31 == 1
    }

    /// The same with its name elsewhere, and referring to nothing.
    pub(super) fn renamed(&self, name: usize) -> Self {
        Self {
            name: u32::try_from(name).unwrap_or(u32::MAX).into(),
            info: self.info,
            size_or_type: 0.into(),
        }
    }

    pub(super) fn extra_len(&self, layouts: &[Layout]) -> Option<usize> {
        let (once, each) = match self.kind() {
            Some(kind) => kind.lengths(),
            None => layouts
                .get(self.kind_number() as usize)
                .map(|layout| (usize::from(layout.once), usize::from(layout.each)))?,
        };
        Some(once + each * self.count())
    }
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Array {
    pub(super) element: U32,
    index: U32,
    pub(super) count: U32,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct MemberRecord {
    pub(super) name: U32,
    pub(super) ty: U32,
    pub(super) offset: U32,
}

/// A type's head and the bytes behind it.
#[derive(Clone, Copy)]
pub(super) struct Type<'a> {
    pub(super) head: &'a TypeHead,
    rest: &'a [u8],
}

impl<'a> Type<'a> {
    pub(super) fn at(types: &'a [u8], start: u32) -> Option<Self> {
        let (head, rest) = TypeHead::ref_from_prefix(types.get(start as usize..)?).ok()?;
        Some(Self { head, rest })
    }

    /// Members of a struct or union.
    pub(super) fn members(self) -> Option<&'a [MemberRecord]> {
        let (members, _) =
            <[MemberRecord]>::ref_from_prefix_with_elems(self.rest, self.head.count()).ok()?;
        Some(members)
    }

    /// Element and length of an array.
    pub(super) fn array(self) -> Option<&'a Array> {
        Array::ref_from_prefix(self.rest)
            .ok()
            .map(|(array, _)| array)
    }

    /// Of an int: offset in its storage and width, in bits.
    pub(super) fn int_bits(self) -> Option<(u32, u32)> {
        let (data, _) = U32::ref_from_prefix(self.rest).ok()?;
        Some((data.get() >> 16 & 0xff, data.get() & 0xff))
    }
}
