//! Both ends of a connection in one thread.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};

use anyhow::{Context as _, Result, ensure};

use super::report::{Did, End, PORT};

/// Where the listener is.
const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);

/// The two ends.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
}

/// The listener of a load.
pub(super) fn listen() -> Result<TcpListener> {
    TcpListener::bind(ADDRESS).with_context(|| format!("listening on {ADDRESS}"))
}

/// A connection to the listener.
pub(super) fn connect() -> Result<TcpStream> {
    TcpStream::connect(SocketAddr::V4(ADDRESS)).with_context(|| format!("connecting to {ADDRESS}"))
}

impl Pair {
    /// Connects and accepts: the kernel completes the handshake inside the call that connects.
    pub(super) fn new(listener: &TcpListener, did: &mut Did) -> Result<Self> {
        let client = connect()?;
        did.client.connections += 1;
        let (server, _) = listener.accept().context("accepting")?;
        did.server.connections += 1;
        Ok(Self { client, server })
    }

    /// Sends a request there and an answer back.
    pub(super) fn exchange(&mut self, request: &[u8], answer: &[u8], did: &mut Did) -> Result<()> {
        send(&mut self.client, request, &mut did.client)?;
        receive(&mut self.server, request.len(), &mut did.server)?;
        send(&mut self.server, answer, &mut did.server)?;
        receive(&mut self.client, answer.len(), &mut did.client)
    }
}

/// Longer than each message, so that one call takes it.
const ROOM: usize = 1024;

fn send(stream: &mut TcpStream, bytes: &[u8], end: &mut End) -> Result<()> {
    let sent = stream.write(bytes).context("sending")?;
    end.tx += sent as u64;
    ensure!(sent == bytes.len(), "a send call took {sent} bytes only");
    Ok(())
}

fn receive(stream: &mut TcpStream, wanted: usize, end: &mut End) -> Result<()> {
    let mut room = [0; ROOM];
    let mut left = wanted;
    while left > 0 {
        let received = stream.read(&mut room).context("receiving")?;
        ensure!(
            (1..=left).contains(&received),
            "{received} bytes came, not {left}"
        );
        end.rx += received as u64;
        left -= received;
    }
    Ok(())
}
