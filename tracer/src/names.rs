//! Text from processes: a name may hold any byte, and must not break a line, a terminal or a reader.

use compact_str::{CompactString, format_compact};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Turns bytes that a process chose (its `comm`, a path) into one line of visible text.
///
/// Stops at the first NUL. Printable Unicode is kept. A backslash is doubled, a byte that is not
/// UTF-8 and an ASCII control become `\xNN` (`\n`, `\r`, `\t` by name), any other character that is
/// invisible, reorders or splits text becomes `\u{202e}`. Different input gives different output.
/// Text of up to 24 bytes is not allocated.
pub fn escape(bytes: &[u8]) -> CompactString {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    visible(bytes, Backslash::Doubled)
}

/// The same for text that others say is escaped already, as in recorded files: what [`escape`] made
/// stays as it is, anything that it would not have let through is escaped.
pub fn tidy(text: &str) -> CompactString {
    visible(text.as_bytes(), Backslash::Kept)
}

/// What becomes of a backslash: part of a name, or the start of an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    Doubled,
    Kept,
}

fn visible(bytes: &[u8], backslash: Backslash) -> CompactString {
    if let Some(plain) = plain(bytes, backslash) {
        return plain.into();
    }
    let mut out = CompactString::default();
    // A combining mark shows on the character before it: at the start, or after an escape, it would
    // change a character that is not part of the name.
    let mut carries_marks = false;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let group = c.general_category_group();
            carries_marks = match group {
                _ if c == '\\' => {
                    let doubled = backslash == Backslash::Doubled;
                    push(&mut out, if doubled { "\\\\" } else { "\\" }, false)
                }
                _ if is_invisible(c) => push_escaped(&mut out, c),
                GeneralCategoryGroup::Mark if !carries_marks => push_escaped(&mut out, c),
                GeneralCategoryGroup::Letter
                | GeneralCategoryGroup::Mark
                | GeneralCategoryGroup::Number
                | GeneralCategoryGroup::Punctuation
                | GeneralCategoryGroup::Symbol => push(&mut out, c.encode_utf8(&mut [0; 4]), true),
                _ if c == ' ' => push(&mut out, " ", false),
                _ => push_escaped(&mut out, c),
            };
        }
        for byte in chunk.invalid() {
            carries_marks = push(&mut out, &format_compact!("\\x{byte:02x}"), false);
        }
    }
    out
}

/// Names that need nothing done, which nearly all are: printable ASCII without a backslash.
fn plain(bytes: &[u8], backslash: Backslash) -> Option<&str> {
    let is_plain =
        |byte: &u8| matches!(byte, b' '..=b'~') && (*byte != b'\\' || backslash == Backslash::Kept);
    let text = bytes.iter().all(is_plain).then_some(bytes)?;
    std::str::from_utf8(text).ok()
}

/// Appends `text`; returns whether a combining mark may follow.
fn push(out: &mut CompactString, text: &str, carries_marks: bool) -> bool {
    out.push_str(text);
    carries_marks
}

fn push_escaped(out: &mut CompactString, c: char) -> bool {
    match c {
        '\n' => push(out, "\\n", false),
        '\r' => push(out, "\\r", false),
        '\t' => push(out, "\\t", false),
        c if c.is_ascii() => push(out, &format_compact!("\\x{:02x}", u32::from(c)), false),
        c => push(out, &format_compact!("\\u{{{:x}}}", u32::from(c)), false),
    }
}

/// Letters, marks and symbols that show nothing (Unicode's `Default_Ignorable_Code_Point` outside the
/// format category, and the blank Braille pattern).
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What must never leave, listed by hand so that the test does not lean on the table that the
    /// code uses: controls, separators, bidi controls, zero-width and other format characters.
    fn is_dangerous(c: char) -> bool {
        c.is_control()
            || (c.is_whitespace() && c != ' ')
            || matches!(c,
                '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
                | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}' | '\u{e000}'..='\u{f8ff}')
    }

    /// The inverse of `escape`; `None` when the text is ambiguous or malformed.
    fn unescape(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            let utf8 = |c: char| c.to_string().into_bytes();
            match (c, if c == '\\' { rest.next()? } else { ' ' }) {
                ('\\', '\\') => out.push(b'\\'),
                ('\\', 'n') => out.push(b'\n'),
                ('\\', 'r') => out.push(b'\r'),
                ('\\', 't') => out.push(b'\t'),
                ('\\', 'x') => {
                    let digits: String = rest.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&digits, 16).ok()?);
                }
                ('\\', 'u') => {
                    let digits: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    out.extend(utf8(char::from_u32(
                        u32::from_str_radix(&digits, 16).ok()?,
                    )?));
                }
                ('\\', _) => return None,
                (c, _) => out.extend(utf8(c)),
            }
        }
        Some(out)
    }

    fn assert_safe_and_reversible(bytes: &[u8]) {
        let text = escape(bytes);
        assert!(
            !text.chars().any(is_dangerous),
            "{bytes:x?} became {text:?}"
        );
        let kept = bytes.split(|byte| *byte == 0).next().unwrap();
        assert_eq!(unescape(&text).as_deref(), Some(kept), "{text:?}");
        assert_eq!(tidy(&text), text, "what is escaped stays as it is");
        let raw = tidy(&String::from_utf8_lossy(bytes));
        assert!(!raw.chars().any(is_dangerous), "{bytes:x?} became {raw:?}");
    }

    #[test]
    fn plain_names_stay_as_they_are_without_an_allocation() {
        let longest = "abcdefghijklmnopqrstuvwx";
        assert_eq!(longest.len(), 24);
        for name in ["nginx", "kworker/0:1-eve", "tokio runtime w", "", longest] {
            let text = escape(name.as_bytes());
            assert_eq!(text, name);
            assert!(!text.is_heap_allocated());
        }
    }

    #[test]
    fn a_kernel_comm_ends_at_its_first_nul() {
        assert_eq!(escape(b"curl\0\0stale\nrest"), "curl");
        assert_eq!(escape(b"\0"), "");
    }

    #[test]
    fn printable_text_of_any_script_is_kept() {
        for name in [
            "größe",
            "日本語",
            "हिन्दी",
            "e\u{301}t",
            "עברית",
            "µ-server",
            "🦀",
        ] {
            assert_eq!(escape(name.as_bytes()), name);
        }
    }

    #[test]
    fn what_is_not_text_is_written_as_an_escape() {
        for (bytes, text) in [
            (&b"a\nb\tc\rd"[..], r"a\nb\tc\rd"),
            (b"\x1b[31mred\x07\x7f", r"\x1b[31mred\x07\x7f"),
            (b"back\\slash", r"back\\slash"),
            (b"\xff\xc3(\xe2\x82", r"\xff\xc3(\xe2\x82"),
            (
                "\u{202e}gpj\u{85}\u{9b}".as_bytes(),
                r"\u{202e}gpj\u{85}\u{9b}",
            ),
            (
                "a\u{200b}b\u{2028}c\u{feff}".as_bytes(),
                r"a\u{200b}b\u{2028}c\u{feff}",
            ),
            ("x\u{a0}y\u{e000}".as_bytes(), r"x\u{a0}y\u{e000}"),
            ("\u{301}a \u{301}".as_bytes(), r"\u{301}a \u{301}"),
        ] {
            assert_eq!(escape(bytes), text);
        }
    }

    #[test]
    fn every_character_at_the_start_and_after_a_letter_is_safe_and_reversible() {
        // All planes that hold characters, and the edges of those that hold none.
        let planes = ('\0'..='\u{33fff}').chain('\u{e0000}'..='\u{e0fff}');
        for c in planes.chain([
            '\u{dffff}',
            '\u{f0000}',
            '\u{ffffd}',
            '\u{10fffd}',
            char::MAX,
        ]) {
            assert_safe_and_reversible(format!("{c}a{c}").as_bytes());
        }
    }

    #[test]
    fn random_bytes_are_safe_and_reversible() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        // Pieces that make almost-valid sequences likely, which uniform bytes hardly ever are.
        let pieces: [&[u8]; 10] = [
            b"\\",
            b"\\x41",
            b"\xe2\x80",
            b"\xae",
            b"\xf0\x9f",
            b"\n",
            b"a",
            b"\xcc\x81",
            b"\xc2",
            b" ",
        ];
        for _ in 0..50_000 {
            let mut name = Vec::new();
            while name.len() < 16 {
                let pick = next();
                match pieces.get(usize::try_from(pick % 20).unwrap()) {
                    Some(piece) => name.extend_from_slice(piece),
                    None => name.push(pick.to_le_bytes()[7]),
                }
            }
            assert_safe_and_reversible(&name);
        }
    }
}
