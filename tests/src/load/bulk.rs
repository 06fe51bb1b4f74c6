//! Much data over one connection.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Context as _, Result, ensure};

use super::Load;
use super::pair::{Pair, listen};
use super::report::Did;

/// What a call sends, and takes at most.
const CHUNK: usize = 64 << 10;

/// 64 KiB from the client to the server, again and again.
pub(super) struct Bulk {
    pair: Pair,
    chunk: Vec<u8>,
    room: Vec<u8>,
}

impl Bulk {
    pub(super) fn new() -> Result<Self> {
        let pair = Pair::new(&listen()?, &mut Did::default())?;
        // One thread has both ends: a call that waits for the other end would wait for itself.
        pair.client.set_nonblocking(true)?;
        pair.server.set_nonblocking(true)?;
        Ok(Self {
            pair,
            chunk: vec![b'b'; CHUNK],
            room: vec![0; CHUNK],
        })
    }
}

impl Load for Bulk {
    fn once(&mut self, did: &mut Did) -> Result<()> {
        let mut unread = 0;
        let mut unsent = &self.chunk[..];
        while !unsent.is_empty() || unread > 0 {
            if !unsent.is_empty() {
                let sent = unless_blocked(self.pair.client.write(unsent)).context("sending")?;
                did.client.tx += sent as u64;
                unread += sent;
                unsent = &unsent[sent..];
            }
            let received = unless_blocked(self.pair.server.read(&mut self.room));
            let received = received.context("receiving")?;
            did.server.rx += received as u64;
            ensure!(received <= unread, "more bytes came than were sent");
            unread -= received;
        }
        Ok(())
    }

    fn open(&self) -> usize {
        2
    }
}

/// How many bytes a call moved; none, if it would have had to wait.
fn unless_blocked(moved: std::io::Result<usize>) -> std::io::Result<usize> {
    match moved {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        moved => moved,
    }
}
