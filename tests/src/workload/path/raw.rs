//! Socket options that no crate wraps: the only unsafe code of the paths, with [`super::ring`].

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd as _};
use std::ptr;

/// Sets an option that is an `int`.
pub(in crate::workload) fn set(
    socket: impl AsFd,
    level: i32,
    name: i32,
    value: i32,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<i32>()).expect("a small size");
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `value` outlives the call, and `length` is its size.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) };
    done(result)
}

/// The start of the kernel's `struct tcp_info`, in which no offset ever moves.
pub(in crate::workload) struct TcpInfo([u64; 32]);

impl TcpInfo {
    pub(in crate::workload) fn of(socket: impl AsFd) -> io::Result<Self> {
        let mut info = Self([0; 32]);
        get(socket, libc::TCP_INFO, &mut info.0)?;
        Ok(info)
    }

    /// The TCP state by its number.
    pub(in crate::workload) fn state(&self) -> u8 {
        self.0[0].to_ne_bytes()[0]
    }

    /// Segments that are sent and not acknowledged.
    pub(in crate::workload) fn unacked(&self) -> u32 {
        const TCPI_UNACKED: usize = 24;
        let bytes = self.0[TCPI_UNACKED / 8].to_ne_bytes();
        u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// Whether the other side acknowledged data that came with the SYN.
    pub(super) fn syn_data(&self) -> bool {
        const TCPI_OPT_SYN_DATA: u8 = 32;
        self.0[0].to_ne_bytes()[5] & TCPI_OPT_SYN_DATA != 0
    }

    /// What TCP sent, each byte once.
    pub(super) fn wire_tx(&self) -> u64 {
        let (bytes_sent, bytes_retrans) = (self.0[25], self.0[26]);
        bytes_sent - bytes_retrans
    }
}

/// A place in memory to which the kernel maps received pages.
pub(super) struct Window {
    address: *mut libc::c_void,
    length: usize,
}

/// The start of the kernel's `struct tcp_zerocopy_receive`.
#[repr(C)]
struct Request {
    address: u64,
    length: u32,
    recv_skip_hint: u32,
    inq: u32,
    error: i32,
}

impl Window {
    /// A window of `length` bytes for what comes from `socket`.
    pub(super) fn new(socket: &TcpStream, length: usize) -> io::Result<Self> {
        let (protection, fd) = (libc::PROT_READ, socket.as_raw_fd());
        // SAFETY: a new mapping at a place of the kernel's choice touches no other memory.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { address, length })
    }

    /// Maps up to `length` bytes of `socket`; returns how many it mapped, and how many have to be
    /// received by copying before more can be mapped.
    pub(super) fn map(&mut self, socket: &TcpStream, length: usize) -> io::Result<(usize, usize)> {
        let length = length.min(self.length);
        let mut request = Request {
            address: self.address as u64,
            length: u32::try_from(length).expect("a small window"),
            recv_skip_hint: 0,
            inq: 0,
            error: 0,
        };
        get(socket, libc::TCP_ZEROCOPY_RECEIVE, &mut request)?;
        Ok((request.length as usize, request.recv_skip_hint as usize))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it was ever made.
        unsafe { libc::munmap(self.address, self.length) };
    }
}

/// Reads, or exchanges, an option of TCP that is a plain structure of integers.
fn get<T>(socket: impl AsFd, name: i32, value: &mut T) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).expect("a small size");
    let (fd, value) = (socket.as_fd().as_raw_fd(), (&raw mut *value).cast());
    // SAFETY: `value` outlives the call, and `length` is its size; any bits are valid integers.
    let result = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, name, value, &raw mut length) };
    done(result)
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
