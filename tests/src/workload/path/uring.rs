//! `io_uring`: one-shot, multishot, polled by a kernel thread, and on direct descriptors.
//!
//! What has no operation of its own to probe for is tried out on a Unix socket, which no tracer of
//! TCP sees: stable kernels have more of it than their version says.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};

use anyhow::ensure;
use io_uring::opcode::{Accept, Close, Connect, ProvideBuffers, Recv, Send};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::super::counted::{Counted, own_end};
use super::super::report::say;
use super::ring::{Handle, Ring};
use super::{end_first, end_last, receive_by, send_by};
use crate::truth::Line;

const BYTES: usize = 20_000;

pub(in crate::workload) type Lacks = anyhow::Result<Option<String>>;

pub(in crate::workload) fn lacks_oneshot() -> Lacks {
    match Ring::new() {
        Ok(ring) => {
            let all = [Accept::CODE, Connect::CODE, Send::CODE, Recv::CODE];
            let knows = ring.knows(&all)?;
            Ok((!knows).then(|| "io_uring knows no sockets".to_owned()))
        }
        Err(error) => Ok(Some(format!("io_uring: {error}"))),
    }
}

pub(super) fn lacks_multishot() -> Lacks {
    let tries = || {
        let (mut accepting, mut receiving) = (Ring::new()?, Ring::new()?);
        if !receiving.knows(&[ProvideBuffers::CODE])? {
            return Ok(false);
        }
        let listener = practice()?;
        accepting.accept_many(listener.as_fd());
        let socket = accepting.next_accepted()?;
        Ok(receiving.receive_many(socket.as_fd())? == 1)
    };
    lacks("multishot accept and receive", tries)
}

pub(super) fn lacks_direct() -> Lacks {
    let tries = || {
        let mut ring = Ring::new()?;
        if !ring.knows(&[Close::CODE])? {
            return Ok(false);
        }
        let listener = practice()?;
        ring.register(listener.as_fd())?;
        ring.accept_direct(listener.as_fd())?;
        let received = ring.receive(Handle::Direct(1), &mut [0])?;
        ring.close_direct(1)?;
        Ok(received == 1)
    };
    lacks("accept into direct descriptors", tries)
}

pub(super) fn lacks_sqpoll() -> Lacks {
    if let Some(reason) = lacks_oneshot()? {
        return Ok(Some(reason));
    }
    let reason = "a polled io_uring takes no ordinary descriptors";
    Ok((!Ring::polled()?.polls_plain()).then(|| reason.to_owned()))
}

/// Tries a feature out; "invalid" is how the kernel says that it does not know it.
fn lacks(feature: &str, tries: impl FnOnce() -> io::Result<bool>) -> Lacks {
    if let Some(reason) = lacks_oneshot()? {
        return Ok(Some(reason));
    }
    match tries() {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(format!("io_uring does not know {feature}"))),
        Err(error) if invalid(&error) => Ok(Some(format!("io_uring does not know {feature}"))),
        Err(error) => Err(error.into()),
    }
}

/// Unknown flags are "invalid", and a direct descriptor that was made as an ordinary one is "bad".
fn invalid(error: &io::Error) -> bool {
    [libc::EINVAL, libc::EBADF]
        .map(Some)
        .contains(&error.raw_os_error())
}

/// A Unix listener with a connection in its queue that has sent a byte and ended.
fn practice() -> io::Result<UnixListener> {
    let name = format!("conntracer-workload-{}", std::process::id());
    let address = UnixAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&address)?;
    UnixStream::connect_addr(&address)?.write_all(&[1])?;
    Ok(listener)
}

pub(super) fn client(address: SocketAddr, connections: u32) -> anyhow::Result<()> {
    connect_by(Ring::new()?, address, connections)
}

pub(super) fn server(listener: &TcpListener, connections: u32) -> anyhow::Result<()> {
    accept_by(Ring::new()?, listener, connections)
}

pub(super) fn polled_client(address: SocketAddr, connections: u32) -> anyhow::Result<()> {
    connect_by(Ring::polled()?, address, connections)
}

pub(super) fn polled_server(listener: &TcpListener, connections: u32) -> anyhow::Result<()> {
    accept_by(Ring::polled()?, listener, connections)
}

fn connect_by(mut ring: Ring, address: SocketAddr, connections: u32) -> anyhow::Result<()> {
    for _ in 0..connections {
        let socket = socket()?;
        ring.connect(Handle::Plain(socket.as_fd()), address)?;
        let mut socket = Counted::new(TcpStream::from(socket), address)?;
        send(&mut ring, &mut socket)?;
        receive(&mut ring, &mut socket)?;
        say(&Line::Client(end_first(socket)?))?;
    }
    Ok(())
}

fn accept_by(mut ring: Ring, listener: &TcpListener, connections: u32) -> anyhow::Result<()> {
    for _ in 0..connections {
        let mut socket = adopt(ring.accept(listener.as_fd())?)?;
        receive(&mut ring, &mut socket)?;
        send(&mut ring, &mut socket)?;
        say(&Line::Server(end_last(socket)?))?;
    }
    Ok(())
}

fn send(ring: &mut Ring, socket: &mut Counted) -> anyhow::Result<()> {
    send_by(socket, BYTES, |socket, data| {
        ring.send(Handle::Plain(socket.stream().as_fd()), data)
    })
}

fn receive(ring: &mut Ring, socket: &mut Counted) -> anyhow::Result<()> {
    receive_by(socket, BYTES, |socket, buffer| {
        ring.receive(Handle::Plain(socket.stream().as_fd()), buffer)
    })
}

/// Sends, says goodbye, and then receives, by ordinary calls.
pub(super) fn plain_client(address: SocketAddr, connections: u32) -> anyhow::Result<()> {
    for _ in 0..connections {
        let mut socket = Counted::connect(address)?;
        ensure!(socket.send_all(BYTES)?, "the server reset the connection");
        say(&Line::Client(end_first(socket)?))?;
    }
    Ok(())
}

/// One request accepts all connections; on each, one request receives everything.
pub(super) fn multishot_server(listener: &TcpListener, connections: u32) -> anyhow::Result<()> {
    let (mut accepting, mut receiving) = (Ring::new()?, Ring::new()?);
    accepting.accept_many(listener.as_fd());
    for _ in 0..connections {
        let mut socket = adopt(accepting.next_accepted()?)?;
        socket.rx += receiving.receive_many(socket.stream().as_fd())? as u64;
        ensure!(socket.rx == BYTES as u64, "the stream ended early");
        send(&mut receiving, &mut socket)?;
        say(&Line::Server(socket.close("orderly")))?;
    }
    Ok(())
}

/// The socket is a direct descriptor from before its connect to its close.
pub(super) fn direct_client(address: SocketAddr, connections: u32) -> anyhow::Result<()> {
    for _ in 0..connections {
        let mut ring = Ring::new()?;
        let socket = socket()?;
        // Without a file descriptor nobody could ask for the address later.
        rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let local = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
        ring.register(socket.as_fd())?;
        drop(socket);
        ring.connect(Handle::Direct(0), address)?;
        let tx = send_direct(&mut ring, 0)?;
        let rx = receive_direct(&mut ring, 0)?;
        ring.close_direct(0)?;
        say(&Line::Client(own_end(local, address, (tx, rx), "orderly")))?;
    }
    Ok(())
}

/// Accepts into a direct descriptor and uses no other.
pub(super) fn direct_server(listener: &TcpListener, connections: u32) -> anyhow::Result<()> {
    let local = listener.local_addr()?;
    let mut ring = Ring::new()?;
    ring.register(listener.as_fd())?;
    for _ in 0..connections {
        let remote = ring.accept_direct(listener.as_fd())?;
        let rx = receive_direct(&mut ring, 1)?;
        let tx = send_direct(&mut ring, 1)?;
        let end = ring.receive(Handle::Direct(1), &mut [0])?;
        ensure!(end == 0, "more came than was sent");
        ring.close_direct(1)?;
        say(&Line::Server(own_end(local, remote, (tx, rx), "orderly")))?;
    }
    Ok(())
}

fn send_direct(ring: &mut Ring, slot: u32) -> anyhow::Result<u64> {
    let data = vec![0x5a; BYTES];
    let mut done = 0;
    while done < BYTES {
        done += ring.send(Handle::Direct(slot), &data[done..])?;
    }
    Ok(done as u64)
}

fn receive_direct(ring: &mut Ring, slot: u32) -> anyhow::Result<u64> {
    let mut buffer = vec![0; BYTES];
    let mut done = 0;
    while done < BYTES {
        let received = ring.receive(Handle::Direct(slot), &mut buffer[done..])?;
        ensure!(received > 0, "the stream ended early");
        done += received;
    }
    Ok(done as u64)
}

fn socket() -> anyhow::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

fn adopt(socket: OwnedFd) -> anyhow::Result<Counted> {
    let stream = TcpStream::from(socket);
    let remote = stream.peer_addr()?;
    Ok(Counted::new(stream, remote)?)
}
