//! What a file is that is no MMDB database, and what to do about it. Pure.

use std::path::Path;

/// Marks the metadata, which are at the end of a database.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Bytes of the start and of the end of a file that are looked at: within the last ones the format
/// has its metadata.
pub(super) const HEAD: usize = 512;
pub(super) const TAIL: usize = 128 << 10;

/// How files of other formats begin.
const MAGIC: &[(&[u8], &str)] = &[
    (
        b"\x1f\x8b",
        "compressed by gzip; unpack it (gunzip, or tar -xzf a .tar.gz) and give the .mmdb file",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed by zstd; unpack it (unzstd) and give the .mmdb file",
    ),
    (
        b"\xfd7zXZ\0",
        "compressed by xz; unpack it (unxz) and give the .mmdb file",
    ),
    (
        b"BZh",
        "compressed by bzip2; unpack it (bunzip2) and give the .mmdb file",
    ),
    (
        b"PK\x03\x04",
        "a ZIP archive; unpack it (unzip) and give an .mmdb file. Archives of CSV have none",
    ),
];

/// Completes "FILE is …"; `None` for what has the metadata of a database.
pub(super) fn what(path: &Path, head: &[u8], tail: &[u8]) -> Option<&'static str> {
    if contains(tail, MARKER) {
        return None;
    }
    let magic = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    let ends_in = |ending: &str| {
        let extension = path.extension();
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
    };
    Some(if head.is_empty() {
        "empty; download it again"
    } else if let Some((_, what)) = magic {
        what
    } else if head.get(257..262) == Some(b"ustar") {
        "a tar archive; unpack it (tar -xf) and give the .mmdb file"
    } else if is_legacy(tail) || ends_in("dat") {
        "a database of the old GeoIP Legacy format (.dat), which nobody updates any more; give an \
         .mmdb file, as of GeoLite2, DB-IP or IPinfo"
    } else if ends_in("bin") {
        "no MMDB database, perhaps one of IP2Location's BIN format; give the .mmdb file, which \
         they have, too"
    } else if is_page(head) {
        "a web page, so the download went wrong; download it again"
    } else if is_text(head) {
        "text, perhaps CSV; give the .mmdb file, which the usual makers have, too"
    } else {
        "no MMDB database, or was cut short: the metadata at its end are missing; download it again"
    })
}

/// Legacy databases have no magic number. They end in a structure info (three bytes of 255, then the
/// type of the database), and those of their maker have a notice before it.
fn is_legacy(tail: &[u8]) -> bool {
    let end = &tail[tail.len().saturating_sub(20)..];
    let notice = &tail[tail.len().saturating_sub(1024)..];
    contains(end, &[255; 3]) || contains(notice, b"GEO-") && contains(notice, b"MaxMind")
}

fn is_page(head: &[u8]) -> bool {
    let start = head.trim_ascii_start();
    [&b"<!doctype"[..], b"<html", b"<?xml"].iter().any(|tag| {
        let start = start.get(..tag.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(tag))
    })
}

fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last letter may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let control = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t');
    !text.contains(control)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, bytes: &[u8]) -> &'static str {
        let head = &bytes[..bytes.len().min(HEAD)];
        let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
        what(Path::new(name), head, tail).unwrap_or("a database")
    }

    #[test]
    fn every_usual_mistake_has_its_own_advice() {
        let mut tar = vec![b'x'; 600];
        tar[257..262].copy_from_slice(b"ustar");
        let legacy = [&[1, 0, 0, 2, 0, 0][..], &[255, 255, 255, 106]].concat();
        let notice = b"\x01\x02GEO-106FREE 20180327 Copyright (c) 2018 MaxMind Inc\x00";
        let binary: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        for (name, bytes, word) in [
            ("a.mmdb", &b""[..], "empty"),
            ("a.mmdb.gz", b"\x1f\x8b\x08\0", "gunzip"),
            ("a.zip", b"PK\x03\x04", "unzip"),
            ("a.mmdb.zst", b"\x28\xb5\x2f\xfd", "unzstd"),
            ("a.tar", &tar, "tar -xf"),
            ("GeoIP.dat", &binary, "GeoIP Legacy"),
            ("GeoIP", &legacy, "GeoIP Legacy"),
            ("GeoIP", notice, "GeoIP Legacy"),
            ("DB3.BIN", &binary, "IP2Location"),
            ("a.mmdb", b"\n<!DOCTYPE html><html>", "web page"),
            ("a.csv", "network,city\n1.0.0.0/24,Köln\n".as_bytes(), "CSV"),
            ("a.mmdb", &binary, "cut short"),
            ("a.mmdb", b"\xab\xcd\xefMaxMind.com", "a database"),
            ("a.dat", b"\xab\xcd\xefMaxMind.com", "a database"),
        ] {
            let said = said(name, bytes);
            assert!(said.contains(word), "{name}: {said}");
        }
    }

    #[test]
    fn text_whose_last_letter_is_cut_is_text() {
        let text = "ä".repeat(HEAD);
        assert!(is_text(&text.as_bytes()[..HEAD - 1]));
        assert!(!is_text(b"a\xffb"));
        assert!(!is_text(b"a\0b"));
    }
}
