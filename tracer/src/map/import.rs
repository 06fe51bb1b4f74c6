//! Addresses from a list: a JSON array of texts, or one address a line. All or nothing. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::names::escape;

/// Bytes of the longest list: a million IPv6 addresses, twice over.
pub const MAX_BYTES: u64 = 100_000_000;
/// Bytes of a wrong item that are shown.
const SHOWN: usize = 50;

/// Why a list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not JSON, though it begins like it.
    #[error("line {line}, column {column}: not a JSON array of addresses ({problem})")]
    NotJson {
        /// Where,
        line: usize,
        /// and where in it.
        column: usize,
        /// What the reader says.
        problem: String,
    },
    /// An item that is no address.
    #[error("item {number}: {shown} is not an IP address")]
    NotAnAddress {
        /// Counted from 1.
        number: usize,
        /// The item.
        shown: String,
    },
    /// A line that is no address.
    #[error("line {number}: {shown} is not an IP address")]
    NotAnAddressLine {
        /// Counted from 1.
        number: usize,
        /// The line.
        shown: String,
    },
    /// Nothing in it.
    #[error("there is no address in it")]
    Empty,
}

/// The addresses of a list, each once, sorted.
pub fn parse(text: &[u8]) -> Result<Vec<IpAddr>, ImportError> {
    let is_json = text.trim_ascii_start().starts_with(b"[");
    let addresses = if is_json { array(text) } else { lines(text) }?;
    Ok(addresses.into_iter().collect())
}

fn array(text: &[u8]) -> Result<BTreeSet<IpAddr>, ImportError> {
    let items: Vec<serde_json::Value> =
        serde_json::from_slice(text).map_err(|error| ImportError::NotJson {
            line: error.line(),
            column: error.column(),
            problem: problem(&error),
        })?;
    let item = |(index, value): (usize, &serde_json::Value)| {
        let address = value.as_str().and_then(address);
        address.ok_or_else(|| ImportError::NotAnAddress {
            number: index + 1,
            shown: shown(value.to_string().as_bytes()),
        })
    };
    // An empty set is a set.
    items.iter().enumerate().map(item).collect()
}

fn lines(text: &[u8]) -> Result<BTreeSet<IpAddr>, ImportError> {
    let mut addresses = BTreeSet::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let found = std::str::from_utf8(line).ok().and_then(address);
        addresses.insert(found.ok_or_else(|| ImportError::NotAnAddressLine {
            number: index + 1,
            shown: shown(line),
        })?);
    }
    if addresses.is_empty() {
        return Err(ImportError::Empty);
    }
    Ok(addresses)
}

fn address(text: &str) -> Option<IpAddr> {
    let ip: IpAddr = text.trim().parse().ok()?;
    Some(ip.to_canonical())
}

/// What the reader says, without the place it repeats.
fn problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    escape(text.as_bytes()).to_string()
}

fn shown(item: &[u8]) -> String {
    let cut = &item[..item.len().min(SHOWN)];
    let dots = if cut.len() < item.len() { "…" } else { "" };
    format!("{}{dots}", escape(cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<String> {
        let parsed = parse(text.as_bytes()).unwrap();
        parsed.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrays_and_lines_give_sorted_addresses_each_once() {
        let expected = ["9.0.0.1", "10.0.0.9", "2001:db8::1"];
        for text in [
            r#" ["10.0.0.9", "2001:DB8::1", "9.0.0.1", "::ffff:9.0.0.1"] "#,
            "10.0.0.9\n2001:db8::1\r\n\n# old ones\n 9.0.0.1 \n9.0.0.1",
        ] {
            assert_eq!(addresses(text), expected, "{text}");
        }
        assert!(addresses("[]").is_empty());
    }

    #[test]
    fn garbage_is_refused_with_its_place() {
        for (text, expected) in [
            ("", "there is no address in it"),
            ("# nothing\n", "there is no address in it"),
            ("10.0.0.1\n10.0.0\n", "line 2: 10.0.0 is not an IP address"),
            ("\x1b[2J", r"line 1: \x1b[2J is not an IP address"),
            (
                r#"["10.0.0.1", "web"]"#,
                r#"item 2: "web" is not an IP address"#,
            ),
            (r"[1]", "item 1: 1 is not an IP address"),
            (
                "[\"10.0.0.1\",\n\"10.0.",
                "line 2, column 6: not a JSON array of addresses (EOF while parsing a string)",
            ),
            (
                r#"["10.0.0.1"] x"#,
                "line 1, column 14: not a JSON array of addresses (trailing characters)",
            ),
            (
                r#"{"ips": []}"#,
                r#"line 1: {"ips": []} is not an IP address"#,
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, expected, "{text:?}");
        }
        let long = parse("x".repeat(1000).as_bytes()).unwrap_err();
        assert!(long.to_string().len() < 100, "{long}");
        assert!(parse(b"\xff\xfe").is_err());
    }
}
