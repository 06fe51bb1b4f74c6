//! A loopback connection of this process to itself, if possible in a network namespace of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Bytes of each request and of the reply to it.
const EXCHANGES: [(usize, usize); 5] = [
    (1, 2_000),
    (100, 1),
    (1_460, 8_192),
    (4_096, 50),
    (3_000, 700),
];

/// How long one call may take. Nothing else is on this connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two sockets that are not connected yet. They keep their network namespace alive.
pub(super) struct Stage {
    listener: TcpListener,
    client: OwnedFd,
    /// Local port of the client's end.
    pub(super) client_port: u16,
    /// Local port of the server's end.
    pub(super) server_port: u16,
    /// Network namespace by inode number.
    pub(super) netns: u32,
    /// Where that is, in words.
    pub(super) place: String,
}

impl Stage {
    /// Makes the sockets; in this process's own network namespace if it may make no other.
    pub(super) fn set() -> io::Result<Self> {
        // Another thread, so that this one stays where it is.
        let private = thread::spawn(|| {
            enter_new_namespace()?;
            Self::set_here("a network namespace of its own".to_owned())
        });
        match private.join() {
            Ok(Ok(stage)) => Ok(stage),
            Ok(Err(error)) => Self::set_here(format!(
                "the network namespace of this process, because it may make no other ({error})"
            )),
            Err(_) => Err(io::Error::other("a thread panicked")),
        }
    }

    fn set_here(place: String) -> io::Result<Self> {
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let listener = TcpListener::bind(any)?;
        set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE))?;
        // Bound before it connects, so that both ports are known before tracing starts.
        let client = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        bind(&client, &any)?;
        let name = SocketAddrV4::try_from(rustix::net::getsockname(&client)?)?;
        let netns = File::open("/proc/thread-self/ns/net")?.metadata()?.ino();
        Ok(Self {
            server_port: listener.local_addr()?.port(),
            client_port: name.port(),
            listener,
            client,
            netns: u32::try_from(netns).map_err(io::Error::other)?,
            place,
        })
    }

    /// Connects, moves bytes both ways, and closes in order, the client first. Returns the bytes
    /// that the server and the client received.
    pub(super) fn play(self) -> io::Result<(u64, u64)> {
        let server_address = self.listener.local_addr()?;
        let listener = self.listener;
        let server = thread::spawn(move || serve(&listener));
        let received = converse(self.client, server_address);
        let from_client = server
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
        Ok((from_client?, received?))
    }
}

/// One connection's server; returns the bytes that it received.
fn serve(listener: &TcpListener) -> io::Result<u64> {
    let (mut stream, _) = listener.accept()?;
    set_timeouts(&stream)?;
    let mut received = 0;
    for (request, reply) in EXCHANGES {
        received += read(&mut stream, request)?;
        stream.write_all(&vec![b's'; reply])?;
    }
    expect_end(&mut stream)?;
    Ok(received)
}

/// The client; returns the bytes that it received.
fn converse(socket: OwnedFd, server: SocketAddr) -> io::Result<u64> {
    set_timeouts(&socket)?;
    connect(&socket, &server)?;
    let mut stream = TcpStream::from(socket);
    let mut received = 0;
    for (request, reply) in EXCHANGES {
        stream.write_all(&vec![b'c'; request])?;
        received += read(&mut stream, reply)?;
    }
    stream.shutdown(Shutdown::Write)?;
    expect_end(&mut stream)?;
    Ok(received)
}

fn read(stream: &mut TcpStream, bytes: usize) -> io::Result<u64> {
    stream.read_exact(&mut vec![0; bytes])?;
    Ok(bytes as u64)
}

fn expect_end(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0; 1])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more bytes arrived than were sent")),
    }
}

fn set_timeouts(socket: &impl AsFd) -> io::Result<()> {
    set_socket_timeout(socket, Timeout::Recv, Some(PATIENCE))?;
    set_socket_timeout(socket, Timeout::Send, Some(PATIENCE))?;
    Ok(())
}

/// Moves this thread to a new network namespace and brings its loopback device up.
fn enter_new_namespace() -> io::Result<()> {
    // SAFETY: a network namespace is a property of the thread and shares no memory or descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        // Signed on x86_64, unsigned on aarch64.
        *slot = libc::c_char::from_ne_bytes([*byte]);
    }
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(up).map_err(io::Error::other)?;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_moves_what_it_says() {
        let sum = |bytes: fn(&(usize, usize)) -> usize| EXCHANGES.iter().map(bytes).sum::<usize>();
        let expected = (sum(|it| it.0) as u64, sum(|it| it.1) as u64);
        assert_ne!(expected.0, expected.1, "directions could not be told apart");
        let stage = Stage::set().unwrap();
        assert_ne!(stage.client_port, stage.server_port);
        assert_eq!(stage.play().unwrap(), expected);
    }
}
