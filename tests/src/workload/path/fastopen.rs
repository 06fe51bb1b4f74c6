//! TCP Fast Open: the first bytes travel with the SYN.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpFastOpenConnect;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};

use super::super::counted::Counted;
use super::{plain, raw};

const SWITCH: &str = "/proc/sys/net/ipv4/tcp_fastopen";

const DEVICES: &str = "/proc/thread-self/net/dev";

/// Both sides, and neither needs a cookie from an earlier connection.
const ON: &str = "519";

/// How much goes with the SYN.
const FIRST: usize = 400;

pub(super) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    ensure!(
        only_loopback()?,
        "this would switch Fast Open on for more than loopback: run it in a network namespace of \
         its own (`unshare --net`)"
    );
    std::fs::write(SWITCH, ON).with_context(|| format!("cannot write {SWITCH}"))?;
    let listener = TcpListener::bind(address)?;
    raw::set(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 16)?;
    Ok(listener)
}

/// Whether this network namespace has no other device.
pub(in crate::workload) fn only_loopback() -> std::io::Result<bool> {
    let devices = std::fs::read_to_string(DEVICES)?;
    let mut names = devices.lines().skip(2).map(str::trim_start);
    Ok(names.all(|line| line.starts_with("lo:")))
}

fn unconnected() -> rustix::io::Result<OwnedFd> {
    socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Connects by the send call itself.
pub(super) fn connect_by_sendto(address: SocketAddr) -> anyhow::Result<Counted> {
    let socket = unconnected()?;
    let flags = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
    let sent = sendto(&socket, &[0x5a; FIRST], flags, &address)?;
    let mut socket = Counted::new(TcpStream::from(socket), address)?;
    socket.tx += sent as u64;
    Ok(socket)
}

/// Connects by a connect call that waits for the first send call.
pub(super) fn connect_later(address: SocketAddr) -> anyhow::Result<Counted> {
    let socket = unconnected()?;
    setsockopt(&socket, TcpFastOpenConnect, &true)?;
    rustix::net::connect(&socket, &address)?;
    let sent = rustix::io::write(&socket, &[0x5a; FIRST])?;
    let mut socket = Counted::new(TcpStream::from(socket), address)?;
    socket.tx += sent as u64;
    Ok(socket)
}

/// Sends what is left of `length`.
pub(super) fn send(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    let first = usize::try_from(socket.tx)?;
    plain::write(socket, length - first)?;
    // Only the client has sent anything before this.
    ensure!(
        first == 0 || raw::TcpInfo::of(socket.stream())?.syn_data(),
        "the SYN carried no data"
    );
    Ok(())
}
