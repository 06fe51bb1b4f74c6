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
    /// Only shown.
    Text,
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
        ("text", "") => Kind::Text,
        ("awk" | "python" | "json", name) if !name.is_empty() => Kind::File(name.to_owned()),
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
    let mut out = text.as_bytes().to_vec();
    for at in 0..out.len() {
        let end = (at + DAY.len()).min(out.len());
        if is_like(&out[at..end], DAY.as_bytes()) {
            out[at..end].copy_from_slice(DAY.as_bytes());
        }
    }
    String::from_utf8(out).expect("digits are replaced by digits")
}

/// What stands in a page for a time of day, a port that the kernel chose, and milliseconds.
const CLOCK: &str = "12:00:00.123";
/// And for a date without a time of day.
const DATE: &str = "2026-01-31";
const PORT: &str = "40122";
const MILLISECONDS: &str = "1.234";
/// The ports that it chooses among.
const CHOSEN: Range<u16> = 32_768..61_000;
/// Columns that a process id has at least, in tables and lines.
const PID: usize = 5;

/// The same whoever printed it, and when: dates, times of day, ports that the kernel chose, milliseconds,
/// and the ids of these processes, each with the five digits that stand for it.
pub fn nameless(text: &str, pids: &[(String, String)]) -> String {
    let mut excess = 0;
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("PID ") {
            excess = (indent + "PID".len()).saturating_sub(PID);
        } else if line.trim().is_empty() {
            excess = 0;
        }
        // A table is as wide as its widest process id.
        let is_narrow = pids
            .iter()
            .all(|(pid, _)| !line.trim_start().starts_with(pid));
        let line = if is_narrow {
            line.get(excess.min(indent)..).unwrap_or(line)
        } else {
            line
        };
        out += &nameless_line(line, pids);
    }
    // An interval over midnight ends on another day.
    out.replace(&format!(" to {DATE} {CLOCK}"), &format!(" to {CLOCK}"))
}

fn nameless_line(line: &str, pids: &[(String, String)]) -> String {
    let mut out = String::new();
    for word in line.split_inclusive(' ') {
        let (bare, end) = match word.find(|c: char| c.is_whitespace()) {
            Some(end) => word.split_at(end),
            None => (word, ""),
        };
        let stand_in = pids.iter().find(|(pid, _)| pid == bare);
        if let Some((_, stand_in)) = stand_in {
            // In a column, spaces stand for the digits that it has less.
            let spaces = out.len() - out.trim_end_matches(' ').len();
            let gap = usize::from(out.len() > spaces);
            let missing = PID.saturating_sub(bare.len());
            if spaces >= gap + missing {
                out.truncate(out.len() - missing);
            }
            out += stand_in;
            out += end;
        } else {
            out += &anonymous(bare);
            out += end;
        }
    }
    out
}

/// Whether a word differs from `shape` in nothing but its digits.
fn is_like(word: &[u8], shape: &[u8]) -> bool {
    word.len() == shape.len()
        && word.iter().zip(shape).all(|(byte, shape)| {
            if shape.is_ascii_digit() {
                byte.is_ascii_digit()
            } else {
                byte == shape
            }
        })
}

fn anonymous(word: &str) -> String {
    // How long an interval took.
    if let Some(rest) = word.strip_prefix('(') {
        return format!("({}", anonymous(rest));
    }
    if let Some(stand_in) = [CLOCK, DATE]
        .into_iter()
        .find(|it| is_like(word.as_bytes(), it.as_bytes()))
    {
        return stand_in.to_owned();
    }
    let is_number = word.len() == MILLISECONDS.len()
        && word.bytes().filter(|byte| *byte == b'.').count() == 1
        && word
            .bytes()
            .all(|byte| byte == b'.' || byte.is_ascii_digit());
    if is_number {
        return MILLISECONDS.to_owned();
    }
    match word.rsplit_once(':') {
        Some((ip, port)) if port.parse().is_ok_and(|port| CHOSEN.contains(&port)) => {
            format!("{ip}:{PORT}")
        }
        _ => word.to_owned(),
    }
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
    fn who_and_when_are_always_the_same() {
        let page = |pad: &str, pid: &str, rest: &str| {
            let row = format!("{pid:>5}  shop");
            let line = format!("accept  {pid:>5} shop  192.0.2.1:80 <- 192.0.2.9:{rest}");
            format!("{pad}  PID  NAME\n{row}\n{pad}total     3\n\n{line}\nshop {pid}\n")
        };
        let expected =
            page("", "14711", "40122 300 1.234").replace("accept", "12:00:00.123 accept");
        for (pad, pid, rest) in [
            ("", "812", "50001 300 12.34"),
            ("", "54321", "60999 300 9.999"),
            ("  ", "1234567", "32768 300 0.001"),
        ] {
            let text = page(pad, pid, rest).replace("accept", "23:59:07.001 accept");
            let pids = [(pid.to_owned(), "14711".to_owned())];
            assert_eq!(nameless(&text, &pids), expected);
        }
        let took = |seconds: &str| format!("({seconds} s)\n 1.25  15.7\n");
        assert_eq!(nameless(&took("0.254"), &[]), took("1.234"));
        let head = |date: &str| format!("{date} 12:00:00.123 to 12:00:00.123 192.0.2.1\n");
        let over_midnight = "2030-12-31 23:59:58.123 to 2031-01-01 00:00:03.123 192.0.2.1\n";
        assert_eq!(nameless(over_midnight, &[]), head("2026-01-31"));
        assert_eq!(nameless(&head("2031-12-09"), &[]), head("2026-01-31"));
        assert_eq!(
            nameless("2031-12-9 31-12-09\n", &[]),
            "2031-12-9 31-12-09\n"
        );
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
