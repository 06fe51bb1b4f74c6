//! Servers that share a listener: processes made beforehand, and threads.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::thread;

use anyhow::ensure;

use super::super::counted::Counted;
use super::super::crew::{Crew, FIRST_FD};
use super::super::report::say;
use super::{end_first, end_last, serve};
use crate::truth::Line;

const BYTES: usize = 10_000;

/// One connection after the other.
pub(super) fn client(address: SocketAddr, connections: u32) -> anyhow::Result<()> {
    for _ in 0..connections {
        let mut socket = Counted::connect(address)?;
        exchange(&mut socket, true)?;
        say(&Line::Client(end_first(socket)?))?;
    }
    Ok(())
}

/// A process for each connection, all waiting in accept on the same listener.
pub(super) fn prefork(listener: &TcpListener, connections: u32) -> anyhow::Result<()> {
    let mut crew = Crew::new();
    for _ in 0..connections {
        let shared = listener.as_fd().try_clone_to_owned()?;
        crew.start("path-server --connections 1", vec![shared])?;
    }
    crew.finish()
}

/// A process of [`prefork`].
pub(super) fn child(connections: u32) -> anyhow::Result<()> {
    // SAFETY: the parent mapped the listener to this number, and nothing else here knows it.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(FIRST_FD) });
    accept(&listener, connections)
}

/// A thread for each connection, all waiting in accept on the same listener.
pub(super) fn threads(listener: &TcpListener, connections: u32) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| accept(listener, 1)))
            .collect();
        for thread in threads {
            thread.join().expect("a thread that does not panic")?;
        }
        Ok(())
    })
}

fn accept(listener: &TcpListener, connections: u32) -> anyhow::Result<()> {
    serve(listener, connections, |mut socket| {
        exchange(&mut socket, false)?;
        end_last(socket)
    })
}

fn exchange(socket: &mut Counted, first: bool) -> anyhow::Result<()> {
    for sends in [first, !first] {
        let whole = if sends {
            socket.send_all(BYTES)?
        } else {
            socket.skip(BYTES)?
        };
        ensure!(whole, "the connection broke");
    }
    Ok(())
}
