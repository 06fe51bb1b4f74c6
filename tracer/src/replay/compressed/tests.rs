use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

/// What comes before the end or the error.
fn read(file: &[u8]) -> (Vec<u8>, Option<io::Error>) {
    let mut out = Vec::new();
    let error = text(Cursor::new(file.to_vec()))
        .unwrap()
        .read_to_end(&mut out);
    (out, error.err())
}

fn lines(from: u32, to: u32) -> Vec<u8> {
    (from..to)
        .flat_map(|line| format!("line {line}\n").into_bytes())
        .collect()
}

#[test]
fn plain_and_compressed_files_are_the_same_text_and_all_members_are_read() {
    let (one, two) = (lines(0, 70_000), lines(70_000, 100_000));
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let whole = [&one[..], &two].concat();
    for file in [
        whole.clone(),
        gzip(&whole),
        [gzip(&one), gzip(&[]), gzip(&two)].concat(),
        zstd(&whole),
        [
            &skippable[..],
            &zstd(&one),
            &skippable,
            &zstd(&[]),
            &zstd(&two),
            &skippable,
        ]
        .concat(),
    ] {
        let (text, error) = read(&file);
        assert!(error.is_none(), "{error:?}");
        assert!(text == whole);
    }
    assert!(read(b"").0.is_empty() && read(b"\x1f").0 == b"\x1f");
}

#[test]
fn a_file_cut_short_gives_what_came_before_and_says_that_it_ends_early() {
    let whole = lines(0, 100_000);
    for file in [gzip(&whole), zstd(&whole)] {
        for end in [7, 11, file.len() / 2, file.len() - 1] {
            let (text, error) = read(&file[..end]);
            assert!(whole.starts_with(&text));
            let error = error.expect("it ends early");
            assert!(ends_early(&error), "{end} of {}: {error:?}", file.len());
        }
        let (text, _) = read(&file[..file.len() / 2]);
        assert!(text.len() > whole.len() / 10, "{}", text.len());
    }
    let skippable = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1];
    assert!(ends_early(&read(&skippable).1.unwrap()));
}

#[test]
fn garbage_is_an_error_and_never_more() {
    let whole = lines(0, 3_000);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 20).unwrap() % below
    };
    for file in [gzip(&whole), zstd(&whole)] {
        let mut refused = 0;
        for _ in 0..300 {
            let mut broken = file.clone();
            for _ in 0..=random(4) {
                // The first bytes tell the kind.
                let place = 4 + random(broken.len() - 4);
                broken[place] ^= 1 << random(8);
            }
            let (text, error) = read(&broken);
            // A frame may say that it is of any size, but not be.
            assert!(text.len() <= 200 << 20);
            refused += u32::from(error.is_some());
        }
        assert!(refused > 250, "{refused}");
        let trailing = [&file[..], b"more"].concat();
        let (text, error) = read(&trailing);
        assert!(text == whole && error.is_some());
    }
}

#[test]
fn a_window_that_takes_too_much_memory_is_refused() {
    // A frame header with a window of 2 GiB, and an empty last block.
    let file = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    let error = read(&file).1.unwrap();
    assert!(
        error.to_string().to_lowercase().contains("window"),
        "{error}"
    );
}

#[test]
fn other_compressions_are_named_with_what_unpacks_them() {
    for (head, name, command) in [
        (&b"\xfd7zXZ\0"[..], "xz", "`xz -dc FILE |"),
        (b"BZh91AY&SY", "bzip2", "`bzip2 -dc FILE |"),
        (b"\x04\x22\x4d\x18dd", "lz4", "`lz4 -dc FILE |"),
        (b"PK\x03\x04..", "zip", "`unzip -p FILE |"),
    ] {
        let error = text(head).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains(command), "{error}");
    }
}
