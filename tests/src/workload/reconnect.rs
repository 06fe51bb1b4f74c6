//! One socket, two connections: connect, disconnect (a connect to no address), connect.

use std::net::{Ipv4Addr, TcpListener};

use super::counted::{Counted, exchange};
use super::report::say;
use crate::truth::Line;

/// Where it listens.
const PORT: u16 = 7017;

/// Bytes each way of the first connection; the second moves twice as many.
const BYTES: usize = 500;

/// Both ends in this process.
pub(super) fn run(sockets: u32) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let address = listener.local_addr()?;
    for _ in 0..sockets {
        let mut client = Counted::connect(address)?;
        let mut server = Counted::accept(&listener)?;
        exchange(&mut client, &mut server, BYTES)?;
        let again = client.stream().try_clone()?;
        // The disconnect resets the connection; the descriptors stay.
        rustix::net::connect_unspec(&again)?;
        say(&Line::Client(client.close("disconnected")))?;
        server.drain()?;
        say(&Line::Server(server.close("disconnected")))?;

        rustix::net::connect(&again, &address)?;
        let mut client = Counted::new(again, address)?;
        let mut server = Counted::accept(&listener)?;
        exchange(&mut client, &mut server, 2 * BYTES)?;
        say(&Line::Client(client.close("orderly")))?;
        server.drain()?;
        say(&Line::Server(server.close("orderly")))?;
    }
    Ok(())
}
