//! The text of a name that came by DNS: any bytes that whoever owns the address chose. Pure.

use compact_str::CompactString;

use crate::names::escape;

/// Letters of a name at most. Real ones have no more, and nothing in them is escaped.
const MAX_LENGTH: usize = 253;

/// The labels as one text; `None` for the root, and for what is longer than any name.
pub(super) fn text<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<CompactString> {
    let mut out = CompactString::default();
    for label in labels {
        if !out.is_empty() {
            out.push('.');
        }
        // A zero would end the text, and a dot inside a label would look like one between two.
        for (index, part) in label.split(|byte| *byte == 0).enumerate() {
            out.push_str(if index > 0 { r"\x00" } else { "" });
            out.push_str(&escape(part).replace('.', r"\x2e").replace(' ', r"\x20"));
        }
        if out.len() > MAX_LENGTH {
            return None;
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(labels: &[&[u8]]) -> Option<String> {
        text(labels.iter().copied()).map(Into::into)
    }

    #[test]
    fn a_name_is_its_labels_and_punycode_stays() {
        let name: &[&[u8]] = &[b"xn--bcher-kva", b"_dmarc", b"Example", b"org"];
        assert_eq!(shown(name).unwrap(), "xn--bcher-kva._dmarc.Example.org");
        assert_eq!(shown(&[]), None);
    }

    #[test]
    fn nothing_in_a_name_reaches_a_terminal_or_looks_like_another_name() {
        for (label, expected) in [
            (&b"\x1b]0;owned\x07"[..], r"\x1b]0;owned\x07.evil"),
            (b"a\nb", r"a\nb.evil"),
            (b"good.example\0", r"good\x2eexample\x00.evil"),
            (b"two words", r"two\x20words.evil"),
            (b"\\x2e", r"\\x2e.evil"),
            (b"\xff\xc3", r"\xff\xc3.evil"),
            ("\u{202e}gpj".as_bytes(), r"\u{202e}gpj.evil"),
        ] {
            assert_eq!(shown(&[label, b"evil"]).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_longer_than_any_name_is_none() {
        let label: &[u8] = &[b'a'; 63];
        assert_eq!(shown(&[label; 3]).unwrap().len(), 191);
        assert_eq!(shown(&[label; 4]), None);
        let label_of_escapes: &[u8] = &[1; 63];
        assert_eq!(shown(&[label_of_escapes; 2]), None);
    }
}
