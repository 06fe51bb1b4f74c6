//! What the kernel side tells of a process. Pure.

use tracer_common::process::{self, LONG_TEXT, SHORT_TEXT, WithText};
use zerocopy::FromBytes;

use crate::names::escape;
use crate::record::ProcessName;

/// A process, by the kernel side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Start, nanoseconds since boot.
    pub start_ns: u64,
    /// Who started it, or took it over.
    pub parent: Option<ProcessName>,
    /// Its process id in its own pid namespace, where that is another one.
    pub ns_pid: Option<u32>,
    /// Its command line as the kernel keeps it, a NUL after each argument.
    pub command: Vec<u8>,
    /// There was more of it.
    pub command_cut: bool,
    /// Path of its program; `None` if that is too long or too deep.
    pub exe: Option<Vec<u8>>,
}

impl Told {
    /// Reads a ring record; `None` if it is none of these.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        const SIZES: [usize; 2] = [
            size_of::<WithText<{ SHORT_TEXT as usize }>>(),
            size_of::<WithText<{ LONG_TEXT as usize }>>(),
        ];
        if !SIZES.contains(&bytes.len()) {
            return None;
        }
        let (told, text) = process::Told::read_from_prefix(bytes).ok()?;
        let (command, rest) = text.split_at_checked(told.command_len as usize)?;
        let path = rest.get(..told.path_len as usize)?;
        let parent = (told.parent != 0).then(|| ProcessName {
            pid: told.parent,
            name: escape(&told.parent_name),
        });
        Some(Self {
            pid: told.tgid,
            start_ns: told.start_ns,
            parent,
            ns_pid: (told.ns_level != 0).then_some(told.ns_pid),
            command: command.to_vec(),
            command_cut: told.command_len < told.command_size,
            exe: whole_path(path),
        })
    }

    /// Memory that it takes beside the struct itself.
    pub fn bytes(&self) -> usize {
        self.command.len() + self.exe.as_ref().map_or(0, Vec::len)
    }
}

/// The path whose components are `text`, the last one first, each with its NUL; `None` if there are
/// none.
fn whole_path(text: &[u8]) -> Option<Vec<u8>> {
    let components = text.strip_suffix(&[0])?.split(|byte| *byte == 0);
    let mut path = Vec::with_capacity(text.len());
    for component in components.rev() {
        path.push(b'/');
        path.extend_from_slice(component);
    }
    Some(path)
}

/// The arguments of a command line, each of which ends with a NUL; the last one may have been cut, or
/// overwritten by the process itself.
pub fn arguments(command: &[u8]) -> impl Iterator<Item = &[u8]> {
    let command = command.strip_suffix(&[0]).unwrap_or(command);
    let none = command.is_empty();
    command.split(|byte| *byte == 0).filter(move |_| !none)
}

#[cfg(test)]
mod tests {
    use tracer_common::event::kind;
    use zerocopy::IntoBytes;

    use super::*;

    fn record(told: process::Told, text: &[u8], last: u32) -> Vec<u8> {
        let mut bytes = told.as_bytes().to_vec();
        bytes.extend_from_slice(text);
        // What was in the ring before.
        bytes.resize(size_of::<process::Told>() + last as usize + 256, b'?');
        bytes
    }

    fn told() -> process::Told {
        process::Told {
            kind: kind::PROCESS,
            tgid: 7,
            start_ns: 8,
            parent: 9,
            parent_name: *b"bash\0\0\0\0\0\0\0\0\0\0\0\0",
            command_len: 8,
            command_size: 8,
            path_len: 13,
            ..process::Told::default()
        }
    }

    const TEXT: &[u8] = b"curl\0-s\0curl\0bin\0usr\0";

    #[test]
    fn command_and_path_are_behind_the_head() {
        for last in [SHORT_TEXT, LONG_TEXT] {
            let read = Told::parse(&record(told(), TEXT, last)).unwrap();
            let parent = read.parent.unwrap();
            assert_eq!((read.pid, read.start_ns, read.ns_pid), (7, 8, None));
            assert_eq!((parent.pid, parent.name.as_str()), (9, "bash"));
            assert_eq!(
                (&read.command[..], read.command_cut),
                (&b"curl\0-s\0"[..], false)
            );
            assert_eq!(read.exe.as_deref(), Some(&b"/usr/bin/curl"[..]));
        }
    }

    #[test]
    fn what_is_not_known_is_not_there() {
        let head = process::Told {
            parent: 0,
            path_len: 0,
            command_len: 3,
            ns_level: 1,
            ns_pid: 1,
            ..told()
        };
        let read = Told::parse(&record(head, TEXT, SHORT_TEXT)).unwrap();
        assert_eq!((read.parent, read.exe, read.ns_pid), (None, None, Some(1)));
        assert_eq!((&read.command[..], read.command_cut), (&b"cur"[..], true));
    }

    #[test]
    fn a_record_of_another_size_or_with_more_than_it_has_is_none() {
        let whole = record(told(), TEXT, SHORT_TEXT);
        for length in (0..whole.len()).chain([whole.len() + 8]) {
            let mut other = whole.clone();
            other.resize(length, 0);
            assert_eq!(Told::parse(&other), None);
        }
        let longer = [
            (u32::MAX, 1),
            (1, u32::MAX),
            (700, 100),
            (u32::MAX, u32::MAX),
        ];
        for (command_len, path_len) in longer {
            let head = process::Told {
                command_len,
                path_len,
                ..told()
            };
            assert_eq!(Told::parse(&record(head, TEXT, SHORT_TEXT)), None);
        }
    }

    #[test]
    fn a_path_is_turned_round() {
        let path = |text: &[u8]| whole_path(text).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(path(b"init\0").as_deref(), Some("/init"));
        assert_eq!(path(b"c\0b\0a\0").as_deref(), Some("/a/b/c"));
        assert_eq!(path(b""), None);
        assert_eq!(path(b"cut"), None);
    }

    #[test]
    fn arguments_may_be_empty_and_the_last_one_cut() {
        let all = |text| arguments(text).collect::<Vec<_>>();
        assert_eq!(all(b"a\0b\0"), [b"a", b"b"]);
        assert_eq!(all(b"a\0\0b\0"), [&b"a"[..], b"", b"b"]);
        assert_eq!(all(b"a\0\0"), [&b"a"[..], b""]);
        assert_eq!(all(b"a\0b"), [b"a", b"b"]);
        assert_eq!(all(b"nginx: worker"), [b"nginx: worker"]);
        assert!(all(b"").is_empty() && all(b"\0").is_empty());
    }
}
