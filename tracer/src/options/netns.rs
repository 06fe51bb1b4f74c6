//! Network namespaces as users name them.

use std::io;
use std::os::fd::AsRawFd;

use rustix::fs::{Mode, OFlags};

/// Why a namespace is refused; each text completes "`--netns value`: …".
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The file cannot be opened.
    #[error("cannot be opened: {error}{cure}")]
    Open {
        /// What the kernel said.
        error: io::Error,
        /// What to do about it, or nothing.
        cure: String,
    },
    /// A file, but not of a network namespace.
    #[error(
        "not a network namespace; write an inode number, `self`, or a path such as \
         /proc/PID/ns/net or /run/netns/NAME"
    )]
    NotANamespace,
}

/// The inode number of the network namespace that `text` names: the number itself, `self`, or
/// the path of a namespace file.
pub fn parse_netns(text: &str) -> Result<u32, NetnsError> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(inode) if inode > 0 => Ok(inode),
            _ => Err(NetnsError::NotANamespace),
        };
    }
    inode_of(if text == "self" {
        "/proc/self/ns/net"
    } else {
        text
    })
}

fn inode_of(path: &str) -> Result<u32, NetnsError> {
    // O_PATH neither waits for the writer of a FIFO nor wakes a device.
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| open_error(path, errno))?;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let target = std::fs::read_link(link).map_err(|error| NetnsError::Open {
        error,
        cure: String::new(),
    })?;
    target
        .to_str()
        .and_then(inode_in_link)
        .ok_or(NetnsError::NotANamespace)
}

/// `net:[4026531840]`, and only of the type `net`.
fn inode_in_link(target: &str) -> Option<u32> {
    target
        .strip_prefix("net:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

fn open_error(path: &str, errno: rustix::io::Errno) -> NetnsError {
    let named = format!("/run/netns/{path}");
    let cure = match errno {
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => {
            "; run with sudo to see the namespaces of other users".to_owned()
        }
        rustix::io::Errno::NOENT
            if !path.is_empty() && std::fs::exists(&named).unwrap_or(false) =>
        {
            format!("; write {named}")
        }
        rustix::io::Errno::NOENT => "; `ip netns` and `lsns -t net` list what there is".to_owned(),
        _ => String::new(),
    };
    NetnsError::Open {
        error: errno.into(),
        cure,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn own_inode() -> u64 {
        std::fs::metadata("/proc/self/ns/net").unwrap().ino()
    }

    #[test]
    fn a_number_stands_for_itself() {
        assert_eq!(parse_netns("4026531840").unwrap(), 4_026_531_840);
        assert_eq!(parse_netns(" 7 ").unwrap(), 7);
    }

    #[test]
    fn self_and_a_path_give_the_inode_of_the_namespace() {
        assert_eq!(u64::from(parse_netns("self").unwrap()), own_inode());
        let path = format!("/proc/{}/ns/net", std::process::id());
        assert_eq!(u64::from(parse_netns(&path).unwrap()), own_inode());
    }

    #[test]
    fn other_files_and_impossible_numbers_are_no_network_namespace() {
        for text in [
            "0",
            "4294967296",
            "99999999999999999999999",
            "/proc/self/ns/mnt",
            "/dev/null",
            "/",
        ] {
            let error = parse_netns(text).unwrap_err();
            assert!(
                matches!(error, NetnsError::NotANamespace),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_fifo_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        assert!(matches!(
            parse_netns(fifo.to_str().unwrap()),
            Err(NetnsError::NotANamespace)
        ));
    }

    #[test]
    fn what_is_not_there_says_where_to_look() {
        for text in ["", "blue", "/run/netns/does-not-exist", "/proc/0/ns/net"] {
            let error = parse_netns(text).unwrap_err().to_string();
            assert!(
                error.starts_with("cannot be opened: No such file"),
                "{text}: {error}"
            );
            assert!(
                error.ends_with("`ip netns` and `lsns -t net` list what there is"),
                "{error}"
            );
        }
    }
}
