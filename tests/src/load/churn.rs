//! Short connections.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::net::sockopt::set_socket_linger;

use super::Load;
use super::pair::{Pair, listen};
use super::report::Did;

/// Connect, request, answer, close.
///
/// The client closes first, in order. The server answers that with a reset, as programs do that do
/// not linger: so nothing stays in `TIME_WAIT`, and the ten-millionth connection finds its port as
/// easily as the first one.
pub(super) struct Churn {
    listener: TcpListener,
}

impl Churn {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            listener: listen()?,
        })
    }
}

impl Load for Churn {
    fn once(&mut self, did: &mut Did) -> Result<()> {
        let mut pair = Pair::new(&self.listener, did)?;
        pair.exchange(&[b'q'; 100], &[b'a'; 200], did)?;
        let Pair { client, server } = pair;
        drop(client);
        set_socket_linger(&server, Some(Duration::ZERO)).context("not lingering")
    }

    fn open(&self) -> usize {
        0
    }
}
