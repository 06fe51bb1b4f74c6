//! Connections that nobody accepts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::ensure;

use super::super::counted::{Counted, wait_until};
use super::super::path::TcpInfo;
use super::super::report::say;
use crate::truth::{End, Line};

/// A port where somebody listens and does not accept.
const PORT: u16 = 7010;

/// Half of the clients close before the listener does, the others after it.
pub(in crate::workload) fn never_accepted(connections: u32) -> anyhow::Result<()> {
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
pub(in crate::workload) fn connect_in_vain(
    address: SocketAddr,
    closer: u32,
) -> anyhow::Result<Counted> {
    let mut client = Counted::connect(address)?;
    ensure!(client.send_all(100)?, "the listener reset the connection");
    // On its way it could come after the listener's end.
    wait_until("nobody acknowledges what was sent", || {
        Ok(TcpInfo::of(client.stream())?.unacked() == 0)
    })?;
    say(&Line::Server(unaccepted(&client, closer)))?;
    Ok(client)
}

/// The other end of `client`, which nobody accepted.
pub(super) fn unaccepted(client: &Counted, closer: u32) -> End {
    let end = client.end("never_accepted");
    End {
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
    }
}
