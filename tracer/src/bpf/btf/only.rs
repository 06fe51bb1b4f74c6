//! A BTF for aya, whose reader makes an object of every type and takes 20 ms for a kernel's.

use hashbrown::HashSet;
use zerocopy::IntoBytes;

use super::format::{Header, Type, TypeHead};
use super::{Btf, Kind};

impl Btf<'_> {
    /// The bytes of a BTF with these functions and type definitions only, each under the number that
    /// it has here; the numbers of all others are of no kind. Of several with the same name it has
    /// the first; a name that is not here is not there.
    pub fn only(&self, wanted: &[(Kind, String)]) -> Vec<u8> {
        let mut missing: HashSet<(Kind, &[u8])> = wanted
            .iter()
            .map(|(kind, name)| (*kind, name.as_bytes()))
            .collect();
        let (mut types, mut strings) = (Vec::new(), vec![0]);
        for (before, start) in self.starts.iter().enumerate() {
            if missing.is_empty() {
                break;
            }
            let Some(Type { head, .. }) = Type::at(self.types, *start) else {
                continue;
            };
            // Nothing is behind the heads of these.
            let Some(kind @ (Kind::Function | Kind::Typedef)) = head.kind() else {
                continue;
            };
            let Some(name) = self.name(head.name.get()) else {
                continue;
            };
            if !missing.remove(&(kind, name)) {
                continue;
            }
            types.resize(before * size_of::<TypeHead>(), 0);
            types.extend(head.renamed(strings.len()).as_bytes());
            strings.extend(name);
            strings.push(0);
        }
        let header = Header::of(types.len(), strings.len());
        [header.as_bytes(), &types, &strings].concat()
    }

    /// Without its end.
    fn name(&self, offset: u32) -> Option<&[u8]> {
        let name = self.strings.get(offset as usize..)?;
        name.split(|byte| *byte == 0).next()
    }
}

#[cfg(test)]
mod tests {
    use super::super::KERNEL_BTF;
    use super::super::builder::Builder;
    use super::*;

    fn of(kind: Kind, name: &str) -> (Kind, String) {
        (kind, name.to_owned())
    }

    #[test]
    fn wanted_types_keep_their_numbers_and_others_are_gone() {
        let mut whole = Builder::new();
        let int = whole.int("twice", 4);
        whole.structure("pair", 8, &[("x", int, 0, None), ("y", int, 32, None)]);
        let function = whole.function("twice", &[("x", int)]);
        whole.function("other", &[]);
        whole.function("twice", &[]);
        let typedef = whole.typedef("twice", int);
        whole.typedef("number", int);
        let bytes = whole.bytes();
        let wanted = [
            of(Kind::Typedef, "twice"),
            of(Kind::Function, "twice"),
            of(Kind::Function, "number"),
        ];
        let bytes = Btf::parse(&bytes).unwrap().only(&wanted);
        let header = size_of::<Header>();
        let (types, names) = bytes[header..].split_at(size_of::<TypeHead>() * typedef as usize);
        assert_eq!(names, b"\0twice\0twice\0");
        let heads = types.chunks(size_of::<TypeHead>());
        let ids: Vec<_> = (1..)
            .zip(heads)
            .filter(|(_, head)| head.iter().any(|byte| *byte != 0))
            .map(|(id, _)| id)
            .collect();
        assert_eq!(ids, [function, typedef]);
    }

    #[test]
    fn aya_finds_every_type_of_this_kernel_where_it_finds_it_in_all() {
        use aya_obj::btf::{Btf as Aya, BtfKind};

        let Ok(whole) = std::fs::read(KERNEL_BTF) else {
            return;
        };
        let wanted = super::super::super::programs::types();
        let only = Btf::parse(&whole).unwrap().only(&wanted);
        let [whole, only] =
            [&whole, &only].map(|bytes| Aya::parse(bytes, aya::Endianness::default()).unwrap());
        let none = [of(Kind::Function, "no_such"), of(Kind::Typedef, "no_such")];
        for (kind, name) in wanted.iter().chain(&none) {
            let kind = match kind {
                Kind::Typedef => BtfKind::Typedef,
                _ => BtfKind::Func,
            };
            let [whole, only] = [&whole, &only].map(|btf| {
                btf.id_by_type_name_kind(name, kind)
                    .map_err(|error| error.to_string())
            });
            assert_eq!(whole, only, "{name}");
        }
    }
}
