//! Connections that do nothing. Their clients are another process: one alone may not have the
//! descriptors for both ends.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::pair::connect;

/// Idle connections, and who has their other ends; that ends with this.
pub(super) struct Idle {
    _servers: Vec<TcpStream>,
    clients: Child,
}

impl Idle {
    pub(super) fn new(listener: &TcpListener, count: usize) -> Result<Self> {
        super::allow_descriptors(count)?;
        let program = std::env::current_exe().context("the load's own path")?;
        let mut clients = Command::new(program);
        clients.args(["clients", "--connections", &count.to_string()]);
        let clients = clients.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let clients = clients.context("starting the clients of idle connections")?;
        let accept = |_| Ok(listener.accept().context("accepting")?.0);
        let servers = (0..count).map(accept).collect::<Result<_>>()?;
        Ok(Self {
            _servers: servers,
            clients,
        })
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // It waits for the end of its standard input.
        drop(self.clients.stdin.take());
        let _ = self.clients.wait();
    }
}

/// The other process: connects, and waits for the end of standard input.
pub(super) fn clients(count: usize) -> Result<()> {
    super::allow_descriptors(count)?;
    let _clients = (0..count).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).context("waiting")?;
    Ok(())
}
