//! MPTCP: one connection for the application, one or more of TCP beneath.

use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect as connect_socket, ipproto,
    listen as start, socket_with,
};

use super::super::counted::Counted;

pub(super) fn lacks() -> anyhow::Result<Option<String>> {
    match socket() {
        Ok(_) => Ok(None),
        Err(Errno::PROTONOSUPPORT | Errno::INVAL) => Ok(Some("CONFIG_MPTCP is not set".into())),
        Err(Errno::NOPROTOOPT) => Ok(Some("net.mptcp.enabled is 0".into())),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = socket()?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    start(&socket, 128)?;
    Ok(socket.into())
}

pub(super) fn connect(address: SocketAddr) -> anyhow::Result<Counted> {
    let socket = socket()?;
    connect_socket(&socket, &address)?;
    Ok(Counted::new(TcpStream::from(socket), address)?)
}

fn socket() -> rustix::io::Result<std::os::fd::OwnedFd> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    socket_with(family, kind, SocketFlags::CLOEXEC, Some(ipproto::MPTCP))
}
