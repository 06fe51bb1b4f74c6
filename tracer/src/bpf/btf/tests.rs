use super::builder::Builder;
use super::*;

/// One type of every kind, with members, values and parameters where it can have them.
pub(super) fn every_kind() -> Builder {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    let pointer = btf.pointer(int);
    let array = btf.array(int, 3);
    let inner = btf.structure("inner", 8, &[("x", int, 0, None), ("y", int, 32, None)]);
    let union = btf.union("either", 8, &[("i", int, 0, None), ("p", pointer, 0, None)]);
    let one = btf.name("ONE");
    let number = btf.add("number", (6, false, 2), 4, &[one, 1, one, 2]);
    btf.add("elsewhere", (7, false, 0), 0, &[]);
    let typedef = btf.typedef("inner_t", inner);
    let volatile = btf.add("", (9, false, 0), typedef, &[]);
    let constant = btf.add("", (10, false, 0), volatile, &[]);
    let restrict = btf.add("", (11, false, 0), pointer, &[]);
    let variable = btf.add("total", (14, false, 0), int, &[1]);
    btf.add(".data", (15, false, 1), 4, &[variable, 0, 4]);
    let float = btf.add("double", (16, false, 0), 8, &[]);
    btf.add("note", (17, false, 0), inner, &[u32::MAX]);
    let tagged = btf.add("user", (18, false, 0), constant, &[]);
    let big = btf.add("big", (19, false, 1), 8, &[one, 1, 1]);
    btf.structure(
        "all",
        80,
        &[
            ("int", int, 0, None),
            ("array", array, 32, None),
            ("inner", tagged, 128, None),
            ("union", union, 192, None),
            ("number", number, 256, None),
            ("pointer", restrict, 320, None),
            ("float", float, 384, None),
            ("big", big, 448, None),
        ],
    );
    btf
}

pub(super) fn member(
    bytes: &[u8],
    structure: &str,
    path: &str,
) -> Result<(u32, u32, Kind), BtfError> {
    let btf = Btf::parse(bytes)?;
    let member = btf.structure(structure)?.member(path)?;
    Ok((member.offset, member.size, member.kind))
}

#[test]
fn members_of_every_kind_have_their_offset_and_size() {
    let bytes = every_kind().bytes();
    for (path, expected) in [
        ("int", (0, 4, Kind::Int)),
        ("array", (4, 12, Kind::Array)),
        ("inner", (16, 8, Kind::Struct)),
        ("inner.y", (20, 4, Kind::Int)),
        ("union", (24, 8, Kind::Union)),
        ("union.p", (24, 8, Kind::Pointer)),
        ("number", (32, 4, Kind::Enum)),
        ("pointer", (40, 8, Kind::Pointer)),
        ("float", (48, 8, Kind::Float)),
        ("big", (56, 8, Kind::Enum64)),
    ] {
        assert_eq!(member(&bytes, "all", path), Ok(expected), "{path}");
    }
    let btf = Btf::parse(&bytes).unwrap();
    assert_eq!(btf.structure("all").unwrap().size(), Ok(80));
}

#[test]
fn unnamed_structs_and_unions_are_looked_through() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    let pair = btf.structure("", 8, &[("left", int, 0, None), ("right", int, 32, None)]);
    let either = btf.union("", 8, &[("whole", int, 0, None), ("", pair, 0, None)]);
    let named = btf.structure(
        "named",
        12,
        &[("pad", int, 0, None), ("", either, 32, None)],
    );
    btf.structure(
        "outer",
        16,
        &[("first", int, 0, None), ("named", named, 32, None)],
    );
    btf.structure("flat", 20, &[("", either, 0, None), ("", named, 64, None)]);
    let bytes = btf.bytes();
    assert_eq!(
        member(&bytes, "outer", "named.right"),
        Ok((12, 4, Kind::Int))
    );
    assert_eq!(
        member(&bytes, "outer", "named.whole"),
        Ok((8, 4, Kind::Int))
    );
    assert_eq!(member(&bytes, "flat", "pad"), Ok((8, 4, Kind::Int)));
    let missing = |path: &str| {
        Err(BtfError::NoMember {
            structure: "outer".to_owned(),
            path: path.to_owned(),
        })
    };
    assert_eq!(member(&bytes, "outer", "right"), missing("right"));
    assert_eq!(
        member(&bytes, "outer", "first.right"),
        missing("first.right")
    );
    assert_eq!(member(&bytes, "outer", ""), missing(""));
}

#[test]
fn bit_fields_are_refused_in_both_encodings() {
    let mut btf = Builder::new();
    let int = btf.int("unsigned int", 4);
    let nibble = btf.int_of_bits("unsigned int", 4, 4);
    btf.structure(
        "new",
        8,
        &[("plain", int, 0, None), ("wide", int, 32, Some(8))],
    );
    btf.structure(
        "old",
        8,
        &[("plain", int, 0, None), ("narrow", nibble, 36, None)],
    );
    btf.structure(
        "odd",
        8,
        &[("plain", int, 0, None), ("shifted", int, 3, None)],
    );
    let bytes = btf.bytes();
    for (structure, path, bit_offset, bits) in [
        ("new", "wide", 32, 8),
        ("old", "narrow", 36, 4),
        ("odd", "shifted", 3, 32),
    ] {
        let (name, field) = (structure.to_owned(), path.to_owned());
        let error = BtfError::BitField {
            structure: name,
            path: field,
            bit_offset,
            bits,
        };
        assert_eq!(member(&bytes, structure, path), Err(error));
        assert_eq!(member(&bytes, structure, "plain"), Ok((0, 4, Kind::Int)));
    }
}

#[test]
fn names_are_compared_whole() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    btf.structure(
        "sock",
        8,
        &[("sk", int, 0, None), ("sk_err", int, 32, None)],
    );
    let bytes = btf.bytes();
    assert_eq!(member(&bytes, "sock", "sk_err"), Ok((4, 4, Kind::Int)));
    assert!(matches!(
        member(&bytes, "sock", "sk_er"),
        Err(BtfError::NoMember { .. })
    ));
    for absent in ["soc", "socks", "int"] {
        assert_eq!(
            member(&bytes, absent, "sk"),
            Err(BtfError::NoStruct(absent.to_owned()))
        );
    }
}

#[test]
fn definitions_that_share_a_name_must_agree() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    btf.structure(
        "twice",
        8,
        &[("same", int, 0, None), ("moved", int, 32, None)],
    );
    btf.structure(
        "twice",
        8,
        &[("moved", int, 0, None), ("extra", int, 32, None)],
    );
    btf.structure(
        "twice",
        8,
        &[("same", int, 0, None), ("flag", int, 32, Some(1))],
    );
    let bytes = btf.bytes();
    assert_eq!(member(&bytes, "twice", "same"), Ok((0, 4, Kind::Int)));
    assert_eq!(member(&bytes, "twice", "extra"), Ok((4, 4, Kind::Int)));
    assert_eq!(
        member(&bytes, "twice", "moved"),
        Err(BtfError::Ambiguous("twice".to_owned()))
    );
    assert!(matches!(
        member(&bytes, "twice", "flag"),
        Err(BtfError::BitField { .. })
    ));
}

#[test]
fn structs_come_in_the_order_asked_for() {
    let bytes = every_kind().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let sizes = |names| -> Vec<_> {
        btf.structs(names)
            .into_iter()
            .map(|found| found.and_then(|found| found.size()))
            .collect()
    };
    let absent = Err(BtfError::NoStruct("absent".to_owned()));
    assert_eq!(sizes(&["all", "absent", "inner"]), [Ok(80), absent, Ok(8)]);
}

#[test]
fn a_kind_from_the_future_is_skipped_if_the_file_tells_its_length() {
    let mut layouts = vec![[0, 0]; 20];
    layouts.push([4, 8]);
    let mut known = Builder::with_layouts(layouts.clone());
    layouts.pop();
    let mut unknown = Builder::with_layouts(layouts);
    let mut older = Builder::new();
    for btf in [&mut known, &mut unknown, &mut older] {
        btf.add("", (20, false, 2), 0, &[0; 5]);
        let int = btf.int("int", 4);
        btf.structure("after", 4, &[("x", int, 0, None)]);
    }
    assert_eq!(member(&known.bytes(), "after", "x"), Ok((0, 4, Kind::Int)));
    let error = BtfError::UnknownKind { id: 1, kind: 20 };
    assert_eq!(member(&unknown.bytes(), "after", "x"), Err(error.clone()));
    assert_eq!(member(&older.bytes(), "after", "x"), Err(error));
}

#[test]
fn a_struct_of_more_than_65535_members_is_read() {
    let mut btf = Builder::new();
    let nothing = btf.structure("nothing", 0, &[]);
    let many = vec![("x", nothing, 0, None); 0x1_0001];
    btf.structure("many", 0, &many);
    let int = btf.int("int", 4);
    btf.structure("after", 4, &[("x", int, 0, None)]);
    assert_eq!(member(&btf.bytes(), "after", "x"), Ok((0, 4, Kind::Int)));
}
