//! A server that sends back what its clients send, in the plain and the orderly way.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use anyhow::ensure;

use super::counted::Counted;
use super::crew::Crew;
use super::report::say;
use super::{AddressFamily, EchoArgs};
use crate::truth::Line;

/// Where it listens.
const PORT: u16 = 7007;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ClientArgs {
    /// Where to connect to, in turns.
    #[arg(long = "address")]
    addresses: Vec<SocketAddr>,
    #[arg(long)]
    connections: u32,
    #[arg(long)]
    bytes: usize,
}

pub(super) fn run(args: &EchoArgs) -> anyhow::Result<()> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let (listen, connect) = match args.family {
        AddressFamily::Ipv4 => (v4, vec![v4]),
        AddressFamily::Ipv6 => {
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, PORT));
            (v6, vec![v6])
        }
        AddressFamily::Mapped => {
            let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), PORT));
            (
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)),
                vec![v4, mapped],
            )
        }
    };
    let listener = TcpListener::bind(listen)?;
    let mut crew = Crew::new();
    start_client(&mut crew, &connect, args.connections, args.bytes)?;
    if args.gate {
        say(&Line::Ready {})?;
        crew.go_after_a_line();
    } else {
        crew.go()?;
    }
    for _ in 0..args.connections {
        let mut socket = Counted::accept(&listener)?;
        ensure!(socket.skip(args.bytes)?, "the client ended early");
        ensure!(
            socket.send_all(args.bytes)?,
            "the client reset the connection"
        );
        // The client closes first.
        socket.drain()?;
        say(&Line::Server(socket.close("orderly")))?;
    }
    crew.finish()
}

/// Starts a process that, after [`Crew::go`], connects to `addresses` in turns, one connection after the other, each
/// sending `bytes`, receiving `bytes`, and closing.
pub(super) fn start_client(
    crew: &mut Crew,
    addresses: &[SocketAddr],
    connections: u32,
    bytes: usize,
) -> anyhow::Result<u32> {
    let mut line = format!("echo-client --connections {connections} --bytes {bytes}");
    for address in addresses {
        write!(line, " --address {address}")?;
    }
    crew.start(&line, Vec::new())
}

pub(super) fn client(args: &ClientArgs) -> anyhow::Result<()> {
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "nobody said go");
    for (_, address) in (0..args.connections).zip(args.addresses.iter().cycle()) {
        let mut socket = Counted::connect(*address)?;
        ensure!(
            socket.send_all(args.bytes)?,
            "the server reset the connection"
        );
        ensure!(socket.skip(args.bytes)?, "the server ended early");
        say(&Line::Client(socket.close("orderly")))?;
    }
    Ok(())
}
