//! As many short connections as the machine can make, each from an address of its own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::ensure;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

/// The first of the ports where a task each listens.
const FIRST_PORT: u16 = 7030;

/// How many tasks share the work.
const TASKS: u32 = 2;

/// The address of the first client; 127.0.0.0/8 is all loopback.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 128, 0, 0);

/// What the client sends, and the server sends back.
pub const REQUEST: usize = 10;
/// See [`REQUEST`].
pub const ANSWER: usize = 5;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ManyArgs {
    /// How many connections.
    #[arg(long)]
    connections: u32,
    /// The number of the first client's address.
    #[arg(long, default_value_t = 0)]
    first: u32,
}

pub(super) fn run(args: &ManyArgs) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..TASKS)
            .zip(FIRST_PORT..)
            .map(|(task, port)| {
                let numbers = (0..args.connections).filter(move |number| number % TASKS == task);
                let numbers = numbers.map(|number| args.first + number);
                scope.spawn(move || connections(port, numbers))
            })
            .collect();
        tasks.into_iter().try_for_each(|task| {
            task.join()
                .map_err(|_| anyhow::anyhow!("a task panicked"))?
        })
    })
}

fn connections(port: u16, numbers: impl Iterator<Item = u32>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let address = listener.local_addr()?;
    for number in numbers {
        let source = Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + number);
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::from((source, 0)))?;
        connect(&socket, &address)?;
        let mut client = TcpStream::from(socket);
        let (mut server, _) = listener.accept()?;
        client.write_all(&[1; REQUEST])?;
        server.read_exact(&mut [0; REQUEST])?;
        server.write_all(&[2; ANSWER])?;
        client.read_exact(&mut [0; ANSWER])?;
        // A reset leaves no socket in TIME_WAIT.
        sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
        drop(client);
        ensure!(server.read(&mut [0]).is_err(), "a reset was no error");
    }
    Ok(())
}
