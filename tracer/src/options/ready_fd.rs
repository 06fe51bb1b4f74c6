//! The descriptor of `--ready-fd`, taken over from whoever started this program.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::FdFlags;

use super::values::parse_digits;
use crate::fdinfo::FdInfo;

/// Why a descriptor is refused; each text completes "`--ready-fd N`: …".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadyFdError {
    /// Not a number above 2.
    #[error("not a file descriptor above 2; open one in the shell, as in `--ready-fd 3 3>ready`")]
    NotADescriptor,
    /// Nothing was inherited under that number.
    #[error(
        "not an open file descriptor; open it in the shell, as in `--ready-fd {0} {0}>ready` \
         (sudo closes it unless it is told `-C {above}`)",
        above = .0 + 1
    )]
    NotOpen(RawFd),
    /// Opened for reading only.
    #[error("open for reading only; open it for writing, as in `--ready-fd {0} {0}>ready`")]
    ReadOnly(RawFd),
}

/// Takes over the inherited descriptor that `text` names; it is closed on drop and no longer
/// passed on to other programs.
pub fn take_ready_fd(text: &str) -> Result<OwnedFd, ReadyFdError> {
    let fd = parse_digits(text)
        .and_then(|number| RawFd::try_from(number).ok())
        .filter(|fd| *fd > 2 && *fd < RawFd::MAX)
        .ok_or(ReadyFdError::NotADescriptor)?;
    // Asked through /proc because a number that may be closed is no `BorrowedFd`, which the safe
    // form of fcntl wants.
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok();
    let info = info
        .as_deref()
        .and_then(FdInfo::parse)
        .ok_or(ReadyFdError::NotOpen(fd))?;
    // Exec closes what has O_CLOEXEC, so such a descriptor belongs to this program.
    if info.flags.contains(OFlags::CLOEXEC) {
        return Err(ReadyFdError::NotOpen(fd));
    }
    if !info.writes() {
        return Err(ReadyFdError::ReadOnly(fd));
    }
    // SAFETY: `fd` is open and came through exec: this program and its libraries open everything
    // with O_CLOEXEC. So nothing else here owns it, and setting O_CLOEXEC below makes a second
    // call refuse it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, FdFlags::CLOEXEC).map_err(|_| ReadyFdError::NotOpen(fd))?;
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, IntoRawFd};

    use rustix::pipe::{PipeFlags, pipe, pipe_with};

    use super::*;

    #[test]
    fn an_inherited_descriptor_is_taken_over_once_and_closed_at_the_end() {
        let (reader, writer) = pipe().unwrap();
        let number = writer.into_raw_fd().to_string();
        let taken = take_ready_fd(&number).unwrap();
        let second = take_ready_fd(&number).unwrap_err();
        assert_eq!(second, ReadyFdError::NotOpen(taken.as_raw_fd()));
        std::fs::File::from(taken).write_all(b"ready\n").unwrap();
        let mut told = String::new();
        std::fs::File::from(reader)
            .read_to_string(&mut told)
            .unwrap();
        assert_eq!(
            told, "ready\n",
            "the end of the file means that the descriptor was closed"
        );
    }

    #[test]
    fn standard_streams_and_garbage_are_no_ready_descriptors() {
        for text in [
            "",
            "0",
            "1",
            "2",
            "-1",
            "+3",
            "x",
            "3.5",
            "2147483647",
            "99999999999999999999",
        ] {
            assert_eq!(
                take_ready_fd(text).unwrap_err(),
                ReadyFdError::NotADescriptor,
                "{text:?}"
            );
        }
    }

    #[test]
    fn closed_own_and_read_only_descriptors_are_refused_and_left_alone() {
        assert_eq!(
            take_ready_fd("1000000").unwrap_err(),
            ReadyFdError::NotOpen(1_000_000)
        );
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let own = writer.as_raw_fd();
        assert_eq!(
            take_ready_fd(&own.to_string()).unwrap_err(),
            ReadyFdError::NotOpen(own)
        );
        rustix::io::fcntl_setfd(&reader, FdFlags::empty()).unwrap();
        let input = reader.as_raw_fd();
        assert_eq!(
            take_ready_fd(&input.to_string()).unwrap_err(),
            ReadyFdError::ReadOnly(input)
        );
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(1));
    }

    #[test]
    fn the_cure_for_sudo_names_the_next_descriptor() {
        assert!(ReadyFdError::NotOpen(5).to_string().contains("`-C 6`"));
    }
}
