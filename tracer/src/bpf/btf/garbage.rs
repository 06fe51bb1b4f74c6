//! Damaged and hostile input.

use super::builder::Builder;
use super::tests::{every_kind, member};
use super::*;

#[test]
fn files_that_are_not_btf_of_this_machine_are_refused_by_name() {
    let good = every_kind().bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        Btf::parse(&bad).map(|_| ())
    };
    assert_eq!(
        with(0, &0xeb9f_u16.swap_bytes().to_ne_bytes()),
        Err(BtfError::ByteOrder)
    );
    assert_eq!(
        with(0, &0x457f_u16.to_ne_bytes()),
        Err(BtfError::Magic(0x457f))
    );
    assert_eq!(with(2, &[2]), Err(BtfError::Version(2)));
    for len in [0, 23, u32::MAX] {
        assert_eq!(
            with(4, &len.to_ne_bytes()),
            Err(BtfError::CutOff("header")),
            "{len}"
        );
    }
    for at in [8, 12] {
        assert_eq!(
            with(at, &u32::MAX.to_ne_bytes()),
            Err(BtfError::CutOff("type section"))
        );
    }
    for at in [16, 20] {
        assert_eq!(
            with(at, &u32::MAX.to_ne_bytes()),
            Err(BtfError::CutOff("string section"))
        );
    }
    assert_eq!(
        with(good.len() - 1, b"x"),
        Err(BtfError::CutOff("string section"))
    );
}

#[test]
fn types_that_contain_themselves_end_in_an_error() {
    let mut btf = Builder::new();
    let itself = btf.next();
    let around = btf.typedef("around", itself);
    let to_back = btf.next() + 1;
    let forth = btf.typedef("forth", to_back);
    btf.typedef("back", forth);
    let itself = btf.next();
    let array = btf.array(itself, 2);
    let itself = btf.next();
    btf.structure("nest", 8, &[("", itself, 0, None), ("", itself, 32, None)]);
    btf.structure(
        "loops",
        8,
        &[
            ("around", around, 0, None),
            ("forth", forth, 0, None),
            ("array", array, 0, None),
        ],
    );
    let bytes = btf.bytes();
    for path in ["around", "forth", "array"] {
        assert!(
            matches!(member(&bytes, "loops", path), Err(BtfError::Damaged { .. })),
            "{path}"
        );
    }
    assert!(matches!(
        member(&bytes, "nest", "x"),
        Err(BtfError::Damaged { .. })
    ));
}

#[test]
fn nonsense_in_a_struct_is_refused() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4);
    let huge = btf.array(int, u32::MAX);
    let vast = btf.array(huge, u32::MAX);
    let past = btf.array(vast, u32::MAX);
    let function = btf.function("f", &[]);
    btf.structure(
        "bad",
        8,
        &[
            ("late", int, 40, None),
            ("huge", huge, 0, None),
            ("vast", vast, 0, None),
            ("past", past, 0, None),
            ("function", function, 0, None),
            ("nothing", 0, 0, None),
            ("nowhere", 1000, 0, None),
        ],
    );
    let bytes = btf.bytes();
    for path in ["late", "huge", "vast", "past", "function"] {
        assert!(
            matches!(member(&bytes, "bad", path), Err(BtfError::Damaged { .. })),
            "{path}"
        );
    }
    assert_eq!(member(&bytes, "bad", "nothing"), Err(BtfError::NoType(0)));
    assert_eq!(
        member(&bytes, "bad", "nowhere"),
        Err(BtfError::NoType(1000))
    );
}

/// Everything a caller can ask.
fn ask_everything(bytes: &[u8]) -> Result<(), BtfError> {
    let btf = Btf::parse(bytes)?;
    for found in btf.structs(&["all", "inner", "absent"]) {
        let Ok(found) = found else { continue };
        let _ = found.size();
        for path in [
            "int", "array", "inner.y", "union.p", "number", "pointer", "big", "absent",
        ] {
            let _ = found.member(path);
        }
    }
    Ok(())
}

#[test]
fn every_cut_is_refused() {
    let plain = every_kind().bytes();
    let mut layouts = Builder::with_layouts(vec![[0, 0]; 3]);
    layouts.int("int", 4);
    for whole in [plain, layouts.bytes()] {
        assert_eq!(ask_everything(&whole), Ok(()));
        for len in 0..whole.len() {
            assert!(
                matches!(ask_everything(&whole[..len]), Err(BtfError::CutOff(_))),
                "{len}"
            );
        }
    }
}

#[test]
fn no_single_wrong_byte_makes_a_panic_or_a_loop() {
    let good = every_kind().bytes();
    let mut answered = 0;
    for at in 0..good.len() {
        let mut bad = good.clone();
        for value in (0..8).map(|bit| good[at] ^ 1 << bit).chain([0, 0xff]) {
            bad[at] = value;
            answered += u32::from(ask_everything(&bad).is_ok());
        }
    }
    assert!(answered > 0, "no corruption got past the header");
}

#[test]
fn no_random_bytes_make_a_panic_or_a_loop() {
    // xorshift64, so that a failure can be repeated.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good = every_kind().bytes();
    for round in 0..20_000 {
        let mut bad = good.clone();
        // Mostly behind the header, so that much is read before it is refused.
        let from = if round % 8 == 0 { 0 } else { 24 };
        for _ in 0..=random() % 16 {
            let at = from + usize::try_from(random()).unwrap() % (bad.len() - from);
            bad[at] = random().to_ne_bytes()[0];
        }
        let _ = ask_everything(&bad);
    }
}
