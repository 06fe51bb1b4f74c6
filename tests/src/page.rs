//! A page whose fenced blocks are carried out: files, commands, what they print, and the traffic
//! between them. Pure; docs/replaces/README.md describes the blocks.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// What stands in a page for any time of day, whatever it is.
const DAY: &str = "2026-01-31 12:00";

/// What a block is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of this name.
    File(String),
    /// Commands, one a line.
    Console,
    /// What they print.
    Output,
    /// Connections; see `stage`.
    Traffic,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// What it is for.
    pub kind: Kind,
    /// What is in it.
    pub text: String,
    /// Where that is in the page.
    place: Range<usize>,
}

/// The blocks of a page, in their order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(Kind, usize)> = None;
    let mut at = 0;
    for line in page.split_inclusive('\n') {
        let end = at + line.len();
        if let Some(words) = line.strip_prefix("```") {
            open = match open.take() {
                None => Some((kind(words.trim()), end)),
                Some((kind, start)) => {
                    blocks.push(Block {
                        kind,
                        text: page[start..at].to_owned(),
                        place: start..at,
                    });
                    None
                }
            };
        }
        at = end;
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

fn kind(words: &str) -> Kind {
    match words.split_once(' ').unwrap_or((words, "")) {
        ("console", "") => Kind::Console,
        ("output", "") => Kind::Output,
        ("traffic", "") => Kind::Traffic,
        ("python" | "json", name) if !name.is_empty() => Kind::File(name.to_owned()),
        _ => panic!("a block of no known kind: {words:?}"),
    }
}

/// The commands of a console block, without their prompts.
pub fn commands(text: &str) -> Vec<&str> {
    let command = |line| {
        let prompts = ["$ ", "# "];
        let command = prompts
            .iter()
            .find_map(|prompt| str::strip_prefix(line, *prompt));
        command.unwrap_or_else(|| panic!("no prompt before {line:?}"))
    };
    text.lines().map(command).collect()
}

/// The page with what its commands printed, in the order of its output blocks.
pub fn with_outputs(page: &str, blocks: &[Block], outputs: &[String]) -> String {
    let mut written = String::new();
    let mut at = 0;
    let places = blocks.iter().filter(|block| block.kind == Kind::Output);
    for (block, output) in places.zip(outputs) {
        written += &page[at..block.place.start];
        written += output;
        at = block.place.end;
    }
    written + &page[at..]
}

/// The same whenever it was printed: every date with hour and minute is one and the same. Nothing
/// else in the outputs changes from run to run.
pub fn timeless(text: &str) -> String {
    let is_day = |text: &[u8]| {
        text.len() == DAY.len()
            && text.iter().zip(DAY.bytes()).all(|(&byte, shape)| {
                if shape.is_ascii_digit() {
                    byte.is_ascii_digit()
                } else {
                    byte == shape
                }
            })
    };
    let mut out = text.as_bytes().to_vec();
    for at in 0..out.len() {
        let end = (at + DAY.len()).min(out.len());
        if is_day(&out[at..end]) {
            out[at..end].copy_from_slice(DAY.as_bytes());
        }
    }
    String::from_utf8(out).expect("digits are replaced by digits")
}

/// The addresses in a text, with or without a port, but for loopback.
pub fn addresses(text: &str) -> BTreeSet<IpAddr> {
    let address = |word: &str| {
        // A heading ends with a colon, and an IPv6 address may begin with one.
        let word = word.trim_matches('"').trim_end_matches(':');
        let socket = word.parse::<SocketAddr>().map(|socket| socket.ip());
        socket.or_else(|_| word.parse::<IpAddr>()).ok()
    };
    // A JSON array may be without spaces.
    let spaced = text
        .replace(',', " ")
        .replace("[\"", " ")
        .replace("\"]", " ");
    spaced
        .split_whitespace()
        .filter_map(address)
        .map(|ip| ip.to_canonical())
        .filter(|ip| !ip.is_loopback())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n```json a.json\n[]\n```\n\n```console\n$ a\n# b c\n```\nsays\n\n```output\nold\n```\nend\n";

    #[test]
    fn blocks_come_in_order_and_outputs_can_be_replaced() {
        let blocks = blocks(PAGE);
        let kinds: Vec<_> = blocks.iter().map(|block| block.kind.clone()).collect();
        let file = Kind::File("a.json".to_owned());
        assert_eq!(kinds, [file, Kind::Console, Kind::Output]);
        assert_eq!(blocks[0].text, "[]\n");
        assert_eq!(commands(&blocks[1].text), ["a", "b c"]);
        let new = with_outputs(PAGE, &blocks, &["new\nnewer\n".to_owned()]);
        assert_eq!(new, PAGE.replace("old\n", "new\nnewer\n"));
        assert_eq!(with_outputs(PAGE, &blocks, &["old\n".to_owned()]), PAGE);
    }

    #[test]
    #[should_panic(expected = "no known kind")]
    fn a_block_that_would_not_be_carried_out_is_refused() {
        blocks("```sh\nrm\n```\n");
    }

    #[test]
    fn times_are_all_the_same() {
        let text = "at 2031-12-01 23:59 and 2031-12-01 23:59é, 192.0.2.1";
        let expected = "at 2026-01-31 12:00 and 2026-01-31 12:00é, 192.0.2.1";
        assert_eq!(timeless(text), expected);
        assert_eq!(timeless("2031-12-01 23:5"), "2031-12-01 23:5");
    }

    #[test]
    fn addresses_are_found_in_texts_and_arrays() {
        let text = "[2001:db8::1]:80: 2 clients 192.0.2.1:80\n127.0.0.1 x\n";
        let expected = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().expect("an address"));
        assert_eq!(addresses(text), expected.into());
        let arrays = [
            "[\"192.0.2.1\",\"2001:db8::1\"]",
            "[\n \"::ffff:192.0.2.1\",\n \"2001:db8::1\"\n]",
        ];
        for text in arrays {
            assert_eq!(addresses(text), expected.into(), "{text}");
        }
    }
}
