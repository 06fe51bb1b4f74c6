//! Where a struct keeps a member.

use super::format::{MemberRecord, Type};
use super::{Btf, BtfError, Kind};

/// Types behind one another (typedef of const of typedef …); the kernel itself stops at 32.
const MAX_CHAIN: usize = 64;
/// Members looked at in one look-up. The largest kernel structs have some hundred, nested ones
/// included; only a damaged BTF, whose structs contain each other, has more.
const MAX_MEMBERS: usize = 1 << 16;
/// The kernels we run on are 64-bit.
const POINTER_SIZE: u64 = 8;

/// A member's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the beginning of the struct that was asked.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// What it is, behind typedefs and qualifiers.
    pub kind: Kind,
}

/// A struct by name: all definitions that bear it, since a kernel may have more than one.
#[derive(Clone, Debug)]
pub struct Struct<'b> {
    btf: &'b Btf<'b>,
    name: &'b str,
    ids: Vec<u32>,
}

impl Btf<'_> {
    /// The named structs, in the order of `names`, found in one pass.
    pub fn structs<'b>(&'b self, names: &[&'b str]) -> Vec<Result<Struct<'b>, BtfError>> {
        let found = self.find(Kind::Struct, names);
        let with_name = |(name, ids): (&&'b str, Vec<u32>)| {
            if ids.is_empty() {
                return Err(BtfError::NoStruct((*name).to_owned()));
            }
            Ok(Struct {
                btf: self,
                name,
                ids,
            })
        };
        names.iter().zip(found).map(with_name).collect()
    }

    /// One struct.
    #[cfg(test)]
    pub fn structure<'b>(&'b self, name: &'b str) -> Result<Struct<'b>, BtfError> {
        self.structs(&[name])
            .pop()
            .unwrap_or_else(|| Err(BtfError::NoStruct(name.to_owned())))
    }

    /// The type behind typedefs and qualifiers.
    fn unwrapped(&self, mut id: u32) -> Result<Option<Type<'_>>, BtfError> {
        for _ in 0..MAX_CHAIN {
            let ty = self.type_by_id(id)?;
            match ty.head.kind() {
                Some(
                    Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag,
                ) => id = ty.head.size_or_type.get(),
                _ => return Ok(Some(ty)),
            }
        }
        Ok(None)
    }

    /// Size in bytes; nothing for what has none and for types that contain themselves.
    fn size_of(&self, ty: Type<'_>) -> Result<Option<u64>, BtfError> {
        let mut ty = ty;
        let mut count = 1_u64;
        for _ in 0..MAX_CHAIN {
            let size = match ty.head.kind() {
                Some(Kind::Pointer) => POINTER_SIZE,
                Some(
                    Kind::Int
                    | Kind::Struct
                    | Kind::Union
                    | Kind::Enum
                    | Kind::Enum64
                    | Kind::Float,
                ) => u64::from(ty.head.size_or_type.get()),
                Some(Kind::Array) => {
                    let Some(array) = ty.array() else {
                        return Ok(None);
                    };
                    let Some(product) = count.checked_mul(array.count.get().into()) else {
                        return Ok(None);
                    };
                    count = product;
                    match self.unwrapped(array.element.get())? {
                        Some(element) => ty = element,
                        None => return Ok(None),
                    }
                    continue;
                }
                _ => return Ok(None),
            };
            return Ok(count.checked_mul(size));
        }
        Ok(None)
    }
}

impl Struct<'_> {
    /// Size in bytes.
    pub fn size(&self) -> Result<u32, BtfError> {
        self.agreed(
            self.ids
                .iter()
                .map(|id| Ok(self.btf.type_by_id(*id)?.head.size_or_type.get())),
        )
    }

    /// The member at a dotted path such as `ns.inum`. Unnamed structs and unions on the way are
    /// looked through, as in C; pointers are not followed.
    ///
    /// Bit-fields are an error, and so are definitions of the struct that disagree.
    pub fn member(&self, path: &str) -> Result<Member, BtfError> {
        let mut budget = MAX_MEMBERS;
        let lookups = self
            .ids
            .iter()
            .map(|id| self.member_of(*id, path, &mut budget));
        self.agreed(lookups)
    }

    /// The one answer of all definitions; those without the member do not count beside one with it.
    fn agreed<T: PartialEq>(
        &self,
        answers: impl Iterator<Item = Result<T, BtfError>>,
    ) -> Result<T, BtfError> {
        let mut agreed = None;
        let mut missing = None;
        for answer in answers {
            match answer {
                Ok(answer) if agreed.as_ref().is_some_and(|agreed| *agreed != answer) => {
                    return Err(BtfError::Ambiguous(self.name.to_owned()));
                }
                Ok(answer) => agreed = Some(answer),
                Err(error @ BtfError::NoMember { .. }) => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        agreed.ok_or_else(|| missing.unwrap_or_else(|| BtfError::NoStruct(self.name.to_owned())))
    }

    fn member_of(&self, id: u32, path: &str, budget: &mut usize) -> Result<Member, BtfError> {
        let mut outer = self.btf.type_by_id(id)?;
        let mut bit_offset = 0_u64;
        let mut found = None;
        for name in path.split('.') {
            let field = self
                .find_in(outer, name, budget)?
                .ok_or_else(|| BtfError::NoMember {
                    structure: self.name.to_owned(),
                    path: path.to_owned(),
                })?;
            bit_offset += field.bit_offset;
            found = Some(field);
            outer = field.ty;
        }
        let Some(Field { ty, size, bits, .. }) = found else {
            return Err(self.damaged("no path"));
        };
        if bits.is_some() || !bit_offset.is_multiple_of(8) {
            return Err(BtfError::BitField {
                structure: self.name.to_owned(),
                path: path.to_owned(),
                bit_offset,
                bits: bits.unwrap_or_else(|| u32::try_from(size * 8).unwrap_or(u32::MAX)),
            });
        }
        let (Ok(offset), Ok(size), Some(kind)) = (
            u32::try_from(bit_offset / 8),
            u32::try_from(size),
            ty.head.kind(),
        ) else {
            return Err(self.damaged("a member is too large"));
        };
        Ok(Member { offset, size, kind })
    }

    /// The member of `outer`, or of the unnamed structs and unions in it, that bears the name.
    fn find_in<'b>(
        &'b self,
        outer: Type<'b>,
        name: &str,
        budget: &mut usize,
    ) -> Result<Option<Field<'b>>, BtfError> {
        let mut unnamed = vec![(outer, 0_u64)];
        while let Some((inner, base)) = unnamed.pop() {
            if !matches!(inner.head.kind(), Some(Kind::Struct | Kind::Union)) {
                continue;
            }
            let members = inner
                .members()
                .ok_or_else(|| self.damaged("members are missing"))?;
            for member in members {
                *budget = budget
                    .checked_sub(1)
                    .ok_or_else(|| self.damaged("structs that contain themselves"))?;
                let is_unnamed = self.btf.is_named(member.name.get(), "");
                if !is_unnamed && !self.btf.is_named(member.name.get(), name) {
                    continue;
                }
                let Some(ty) = self.btf.unwrapped(member.ty.get())? else {
                    return Err(self.damaged("a typedef of itself"));
                };
                let (bit_offset, bits) = bit_place(inner, member);
                let bit_offset = base + u64::from(bit_offset);
                if is_unnamed {
                    unnamed.push((ty, bit_offset));
                    continue;
                }
                return self.field(outer, ty, bit_offset, bits).map(Some);
            }
        }
        Ok(None)
    }

    fn field<'b>(
        &self,
        outer: Type<'_>,
        ty: Type<'b>,
        bit_offset: u64,
        bits: Option<u32>,
    ) -> Result<Field<'b>, BtfError> {
        let size = self
            .btf
            .size_of(ty)?
            .ok_or_else(|| self.damaged("a member has no size"))?;
        // Kernels that predate the width in the member have it in the member's type.
        let bits = bits.or_else(|| match (ty.head.kind(), ty.int_bits()) {
            (Some(Kind::Int), Some((0, bits))) if u64::from(bits) == size * 8 => None,
            (Some(Kind::Int), Some((_, bits))) => Some(bits),
            _ => None,
        });
        let width = bits.map_or(size.checked_mul(8), |bits| Some(bits.into()));
        let end = width.and_then(|width| bit_offset.checked_add(width));
        let outer_bits = u64::from(outer.head.size_or_type.get()) * 8;
        if end.is_none_or(|end| end > outer_bits) {
            return Err(self.damaged("a member lies outside the struct"));
        }
        Ok(Field {
            ty,
            bit_offset,
            size,
            bits,
        })
    }

    fn damaged(&self, what: &'static str) -> BtfError {
        BtfError::Damaged {
            name: self.name.to_owned(),
            what,
        }
    }
}

/// One step of a path.
#[derive(Clone, Copy)]
struct Field<'b> {
    ty: Type<'b>,
    /// In the struct of this step.
    bit_offset: u64,
    /// Of the type, in bytes.
    size: u64,
    /// Width, if it is a bit-field.
    bits: Option<u32>,
}

/// Offset and, for a bit-field of a kernel that says so here, width.
fn bit_place(outer: Type<'_>, member: &MemberRecord) -> (u32, Option<u32>) {
    let offset = member.offset.get();
    if !outer.head.flag() {
        return (offset, None);
    }
    let bits = offset >> 24;
    (offset & 0x00ff_ffff, (bits != 0).then_some(bits))
}
