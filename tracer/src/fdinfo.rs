//! What `/proc/PID/fdinfo/N` tells of an open file descriptor.

use rustix::fs::OFlags;

/// The lines that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdInfo {
    /// Access mode and `O_CLOEXEC`, among others.
    pub flags: OFlags,
    /// Of the master side of a pseudo-terminal: its number, `N` in `/dev/pts/N`.
    pub tty_index: Option<u32>,
}

impl FdInfo {
    /// Reads the file's text; `None` without a `flags:` line.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .map(str::trim)
        };
        let flags = u32::from_str_radix(value("flags:")?, 8).ok()?;
        Some(Self {
            flags: OFlags::from_bits_retain(flags),
            tty_index: value("tty-index:").and_then(|index| index.parse().ok()),
        })
    }

    /// Whether the descriptor can be read from.
    pub fn reads(&self) -> bool {
        self.flags & OFlags::RWMODE != OFlags::WRONLY
    }

    /// Whether the descriptor can be written to.
    pub fn writes(&self) -> bool {
        self.flags & OFlags::RWMODE != OFlags::RDONLY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_octal_and_the_terminal_number_is_optional() {
        let pipe = FdInfo::parse("pos:\t0\nflags:\t0100001\nmnt_id:\t15\nino:\t11022\n").unwrap();
        assert!(pipe.writes() && !pipe.reads());
        assert_eq!(pipe.tty_index, None);
        let master =
            FdInfo::parse("pos:\t0\nflags:\t02100002\nmnt_id:\t27\ntty-index:\t12\n").unwrap();
        assert!(master.writes() && master.reads() && master.flags.contains(OFlags::CLOEXEC));
        assert_eq!(master.tty_index, Some(12));
        let input = FdInfo::parse("flags:\t0100000\n").unwrap();
        assert!(input.reads() && !input.writes() && !input.flags.contains(OFlags::CLOEXEC));
    }

    #[test]
    fn text_without_flags_is_nothing() {
        for text in ["", "flags:", "flags:\tx\n", "pos:\t0\n"] {
            assert_eq!(FdInfo::parse(text), None, "{text:?}");
        }
    }
}
