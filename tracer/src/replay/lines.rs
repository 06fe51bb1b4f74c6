//! Lines of a stream, none longer than a limit.

use std::io::{self, BufRead, Read};

/// Bytes of a line at most. A record has some hundred; one with a thousand users has some 100 KiB.
pub const MAX_LINE: usize = 1 << 20;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A line, without its end.
    Line,
    /// The last line, whose end is missing.
    Unended,
    /// A line longer than [`MAX_LINE`], which was passed over.
    TooLong,
    /// Nothing more.
    End,
}

/// Reads the next line into `line`. After an error there is in it what was read before.
pub fn next(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Next> {
    line.clear();
    let mut limited = source.by_ref().take(MAX_LINE as u64 + 1);
    limited.read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Next::Line);
    }
    if line.len() <= MAX_LINE {
        return Ok(if line.is_empty() {
            Next::End
        } else {
            Next::Unended
        });
    }
    line.clear();
    source.skip_until(b'\n')?;
    Ok(Next::TooLong)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all(text: &[u8], buffer: usize) -> Vec<(Next, Vec<u8>)> {
        let mut source = BufReader::with_capacity(buffer, text);
        let mut line = Vec::new();
        let mut found = Vec::new();
        loop {
            let next = next(&mut source, &mut line).unwrap();
            if next == Next::End {
                return found;
            }
            found.push((next, line.clone()));
        }
    }

    #[test]
    fn lines_are_whole_and_the_last_one_may_have_no_end() {
        for buffer in [1, 2, 3, 64] {
            let lines = all(b"ab\n\nc\r\nd", buffer);
            let expected = [
                (Next::Line, &b"ab"[..]),
                (Next::Line, b""),
                (Next::Line, b"c\r"),
                (Next::Unended, b"d"),
            ];
            assert_eq!(lines, expected.map(|(next, line)| (next, line.to_vec())));
        }
        assert_eq!(all(b"", 8), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_takes_no_memory() {
        let longest = vec![b'x'; MAX_LINE];
        for (end, last) in [(&b"\n"[..], Next::Line), (b"", Next::Unended)] {
            let text = [&longest, end].concat();
            assert_eq!(all(&text, 4096), [(last, longest.clone())]);
        }
        let huge = vec![b'x'; 3 * MAX_LINE];
        let text = [&longest[..], b"x\n", b"a\n", &huge, b"\n", b"b\n", &huge].concat();
        let lines = all(&text, 4096);
        let kinds: Vec<_> = lines.iter().map(|(next, _)| next).collect();
        assert_eq!(
            kinds,
            [
                &Next::TooLong,
                &Next::Line,
                &Next::TooLong,
                &Next::Line,
                &Next::TooLong
            ]
        );
        assert_eq!((&*lines[1].1, &*lines[3].1), (&b"a"[..], &b"b"[..]));
    }
}
