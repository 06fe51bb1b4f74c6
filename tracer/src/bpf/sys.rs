//! What aya 0.14 has no words for: some commands of bpf(2), and reading an iterator.

use std::fs::File;
use std::io::{self, Read};

/// Runs a command of bpf(2); returns what it gives, which is not negative.
///
/// # Safety
/// `attr` is the whole member of `union bpf_attr` that belongs to the command (`enum bpf_cmd`), and
/// what it points at is valid for it.
pub(super) unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: see above.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Reads what an iterator's program writes next; 0 bytes at its end.
pub(super) fn read_iterator(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            // A million objects without a byte of output, or a signal: the rest comes with the next
            // call.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            result => return result,
        }
    }
}
