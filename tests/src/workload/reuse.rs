//! Numbers that are used again: ports and process ids.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

use super::counted::{Counted, exchange};
use super::fork::{Child, well};
use super::report::say;
use crate::truth::Line;

/// Where it listens.
const PORT: u16 = 7021;

/// The one source port.
const SOURCE_PORT: u16 = 7022;

/// All connections have the same addresses and ports; each moves a different number of bytes.
pub(super) fn same_port(connections: u32) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let address = listener.local_addr()?;
    for number in 1..=connections as usize {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(
            &socket,
            &SocketAddr::from((Ipv4Addr::LOCALHOST, SOURCE_PORT)),
        )?;
        connect(&socket, &address)?;
        let mut client = Counted::new(TcpStream::from(socket), address)?;
        let mut server = Counted::accept(&listener)?;
        exchange(&mut client, &mut server, number)?;
        // A reset leaves nothing behind that would keep the port.
        client.linger_zero()?;
        say(&Line::Client(client.close("reset")))?;
        server.drain()?;
        say(&Line::Server(server.close("reset")))?;
    }
    Ok(())
}

/// Processes with the same id, one after the other, connect to themselves; the first moves 1,000
/// bytes each way on each of two connections, the second 2,000, and so on.
pub(super) fn same_pid(processes: u32) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let free = Child::start(None, || Ok(()))?;
    let pid = free.pid();
    free.wait(well)?;
    for number in 1..=processes as usize {
        let child = Child::start(Some(pid), || {
            for _ in 0..2 {
                let mut client = Counted::connect(listener.local_addr()?)?;
                let mut server = Counted::accept(&listener)?;
                exchange(&mut client, &mut server, 1000 * number)?;
                say(&Line::Client(client.close("orderly")))?;
                say(&Line::Server(server.close("orderly")))?;
            }
            Ok(())
        })?;
        child.wait(well)?;
    }
    Ok(())
}
