//! Connections that stay open until standard input ends.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd as _, OwnedFd};

use anyhow::ensure;

use super::counted::Counted;
use super::crew::{Crew, FIRST_FD};
use super::report::say;
use crate::truth::Line;

/// Bytes each way on each connection.
const BYTES: usize = 777;

pub(super) fn run(connections: u32) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut crew = Crew::new();
    crew.start(
        &format!("hold-server --connections {connections}"),
        vec![listener.into()],
    )?;
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut socket = Counted::new(TcpStream::connect(address)?, address)?;
        ensure!(socket.send_all(BYTES)?, "the server reset the connection");
        ensure!(socket.skip(BYTES)?, "the server ended early");
        say(&Line::Client(socket.end("open")))?;
        open.push(socket);
    }
    crew.relay_lines(connections)?;
    say(&Line::Ready {})?;
    std::io::read_to_string(std::io::stdin())?;
    drop(open);
    crew.finish()
}

pub(super) fn server(connections: u32) -> anyhow::Result<()> {
    // SAFETY: the parent mapped the listener to this number, and nothing else here knows it.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(FIRST_FD) });
    let mut open = Vec::new();
    for _ in 0..connections {
        let mut socket = Counted::accept(&listener)?;
        ensure!(socket.skip(BYTES)?, "the client ended early");
        ensure!(socket.send_all(BYTES)?, "the client reset the connection");
        say(&Line::Server(socket.end("open")))?;
        open.push(socket);
    }
    std::io::read_to_string(std::io::stdin())?;
    Ok(())
}
