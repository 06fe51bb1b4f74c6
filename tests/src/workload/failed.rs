//! Attempts that come to nothing.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{bail, ensure};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::counted::Counted;
use super::report::say;
use crate::truth::{Attempt, End, Line};

/// A port where nobody listens.
const CLOSED_PORT: u16 = 7009;

/// A port where somebody listens and does not accept.
const PORT: u16 = 7010;

/// First of the source ports that every second attempt is bound to.
const FIRST_SOURCE_PORT: u16 = 7100;

pub(super) fn refused(attempts: u32) -> anyhow::Result<()> {
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, CLOSED_PORT));
    for (number, port) in (0..attempts).zip(FIRST_SOURCE_PORT..) {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        let mut local = None;
        if number % 2 == 0 {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            bind(&socket, &address)?;
            local = Some(address);
        }
        match connect(&socket, &remote) {
            Err(Errno::CONNREFUSED) => {}
            other => bail!("connecting to a closed port gave {other:?}"),
        }
        let (owner_pid, reason) = (std::process::id(), "refused".to_owned());
        say(&Line::Failed(Attempt {
            local,
            remote,
            owner_pid,
            reason,
        }))?;
    }
    Ok(())
}

/// Half of the clients close before the listener does, the others after it.
pub(super) fn never_accepted(connections: u32) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let address = listener.local_addr()?;
    let mut waiting = Vec::new();
    for number in 0..connections {
        let client = connect_in_vain(address, std::process::id())?;
        if number % 2 == 0 {
            say(&Line::Client(client.close("never_accepted")))?;
        } else {
            waiting.push(client);
        }
    }
    drop(listener);
    for mut client in waiting {
        client.drain()?;
        say(&Line::Client(client.close("never_accepted")))?;
    }
    Ok(())
}

/// Connects to a listener that will not accept and that `closer` closes, sends 100 bytes, and tells
/// of the other end.
pub(super) fn connect_in_vain(address: SocketAddr, closer: u32) -> anyhow::Result<Counted> {
    let mut client = Counted::connect(address)?;
    ensure!(client.send_all(100)?, "the listener reset the connection");
    let end = client.end("never_accepted");
    say(&Line::Server(End {
        local: end.remote,
        remote: end.local,
        owner_pid: None,
        owner_uid: None,
        users: Vec::new(),
        closer_pid: Some(closer),
        tx: 0,
        rx: 0,
        accepted: false,
        ..end
    }))?;
    Ok(client)
}
