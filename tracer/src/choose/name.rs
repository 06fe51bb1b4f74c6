//! Names of processes and network devices, as the kernel keeps them. Pure.

use compact_str::CompactString;
use tracer_common::connection::NAME_LEN;

use crate::names;

/// Bytes of a name that the kernel keeps; the last one of its 16 ends it.
const LONGEST: usize = NAME_LEN - 1;

/// A name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name([u8; NAME_LEN]);

/// Why a name is refused; each text completes "`--option value`: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("an empty name; write names such as nginx, with commas between them")]
    Empty,
    /// Longer than the kernel keeps.
    #[error(
        "`{}` is longer than the {LONGEST} bytes that the kernel keeps of a name; write `{}`, or \
         choose by --exe",
        .given.escape_debug(), .kept.escape_debug()
    )]
    TooLong {
        /// What was given.
        given: String,
        /// Its beginning, as the kernel has it.
        kept: String,
    },
    /// No device is called so.
    #[error(
        "`{}` is no name of a network device, which has 1 to {LONGEST} bytes and no space, slash or \
         colon; `ip link` lists them",
        .0.escape_debug()
    )]
    NotADevice(String),
}

impl Name {
    /// A name that fits.
    fn of(text: &str) -> Option<Self> {
        let mut name = [0; NAME_LEN];
        let room = name.get_mut(..text.len().min(NAME_LEN))?;
        if text.len() > LONGEST {
            return None;
        }
        room.copy_from_slice(text.as_bytes());
        Some(Self(name))
    }

    /// The kernel's: what follows its first NUL does not count.
    pub fn of_kernel(bytes: &[u8; NAME_LEN]) -> Self {
        let mut name = *bytes;
        let length = bytes.iter().position(|byte| *byte == 0);
        name[length.unwrap_or(NAME_LEN)..].fill(0);
        Self(name)
    }

    /// Filled up with NULs.
    pub const fn bytes(self) -> [u8; NAME_LEN] {
        self.0
    }

    /// As records have it.
    pub fn text(self) -> CompactString {
        names::escape(&self.0)
    }
}

/// A comma-separated list of names of processes.
pub fn parse_comms(list: &str) -> Result<Vec<Name>, NameError> {
    list.split(',').map(comm).collect()
}

fn comm(text: &str) -> Result<Name, NameError> {
    // A NUL ends a name, and no argument has one.
    if text.is_empty() || text.contains('\0') {
        return Err(NameError::Empty);
    }
    Name::of(text).ok_or_else(|| NameError::TooLong {
        given: text.to_owned(),
        kept: text
            .get(..text.floor_char_boundary(LONGEST))
            .unwrap_or_default()
            .to_owned(),
    })
}

/// A comma-separated list of names of network devices.
pub fn parse_interfaces(list: &str) -> Result<Vec<Name>, NameError> {
    list.split(',').map(interface).collect()
}

fn interface(text: &str) -> Result<Name, NameError> {
    let text = text.trim();
    let is_never = |c: char| c.is_whitespace() || matches!(c, '/' | ':' | '\0');
    if matches!(text, "" | "." | "..") || text.contains(is_never) {
        return Err(NameError::NotADevice(text.to_owned()));
    }
    Name::of(text).ok_or_else(|| NameError::NotADevice(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[Name]) -> Vec<CompactString> {
        names.iter().map(|name| name.text()).collect()
    }

    #[test]
    fn names_come_in_lists_and_may_have_spaces() {
        let names = parse_comms("nginx,Web Content,123456789012345").unwrap();
        assert_eq!(texts(&names), ["nginx", "Web Content", "123456789012345"]);
        assert_eq!(texts(&parse_comms("a\nb").unwrap()), ["a\\nb"]);
        assert_eq!(
            texts(&parse_interfaces("lo, eth0.7").unwrap()),
            ["lo", "eth0.7"]
        );
    }

    #[test]
    fn a_name_that_the_kernel_cuts_is_refused_with_what_it_keeps() {
        let error = parse_comms("systemd-resolved").unwrap_err().to_string();
        assert!(error.contains("write `systemd-resolve`"), "{error}");
        // Not in the middle of a character.
        let error = parse_comms("ääääääää").unwrap_err().to_string();
        assert!(error.contains("write `äääääää`"), "{error}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for list in ["", ",", "nginx,", ",nginx"] {
            assert_eq!(parse_comms(list), Err(NameError::Empty), "{list:?}");
        }
        for list in [
            "",
            "eth0,",
            "a/b",
            "..",
            "eth0:1",
            "a b",
            "1234567890123456",
        ] {
            let error = parse_interfaces(list).unwrap_err();
            assert!(matches!(error, NameError::NotADevice(_)), "{list:?}");
        }
    }

    #[test]
    fn what_is_left_of_a_longer_name_does_not_count() {
        let name = Name::of_kernel(b"bash\0md-journald");
        assert_eq!(Some(name), Name::of("bash"));
        assert_eq!(Name::of_kernel(&[b'x'; 16]).bytes(), [b'x'; 16]);
    }
}
