//! Every way to move bytes over TCP, and every ending that can cost some: a table of paths.
//!
//! Server and client are two processes, so that a byte credited to the wrong one shows.

mod ending;
mod fastopen;
mod files;
mod mptcp;
mod plain;
mod raw;
mod ring;
mod servers;
mod tls;
mod uring;
mod vectors;
mod zerocopy;

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};

use anyhow::{Context as _, ensure};

use super::counted::Counted;
use super::crew::Crew;
use super::report::say;
use super::{handoff, reconnect};
use crate::truth::{End, Line};

/// Where the first path listens; each has a port of its own.
const FIRST_PORT: u16 = 7100;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct PathArgs {
    /// Which path.
    #[arg(long, required_unless_present = "list")]
    name: Option<String>,
    /// How many connections.
    #[arg(long, default_value_t = 3)]
    connections: u32,
    /// Names all paths, one a line, and does nothing else.
    #[arg(long)]
    list: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ClientArgs {
    #[arg(long)]
    name: String,
    #[arg(long)]
    connections: u32,
}

/// Moves so many bytes one way.
type Move = fn(&mut Counted, usize) -> anyhow::Result<()>;

struct Path {
    name: &'static str,
    /// Why this kernel cannot do it, if so.
    lacks: fn() -> anyhow::Result<Option<String>>,
    listen: fn(SocketAddr) -> anyhow::Result<TcpListener>,
    connect: fn(SocketAddr) -> anyhow::Result<Counted>,
    /// What both ends do first.
    prepare: fn(&mut Counted) -> anyhow::Result<()>,
    /// What both ends do last, when nothing more will come.
    finish: fn(&mut Counted) -> anyhow::Result<()>,
    script: Script,
}

enum Script {
    /// The client sends `bytes`, the server receives them, then the other way round.
    Way {
        bytes: usize,
        send: Move,
        receive: Move,
    },
    /// One connection after the other, each end with a part of its own.
    Parts { client: Part, server: Part },
    /// Each end makes its connections itself.
    Roles {
        client: fn(SocketAddr, u32) -> anyhow::Result<()>,
        server: fn(TcpListener, u32) -> anyhow::Result<()>,
    },
    /// A scenario that does everything itself.
    Alone(fn(u32) -> anyhow::Result<()>),
}

/// What one end does with a connection, up to its close.
type Part = fn(Counted) -> anyhow::Result<End>;

const PLAIN: Path = Path {
    name: "",
    lacks: || Ok(None),
    listen: |address| Ok(TcpListener::bind(address)?),
    connect: |address| Ok(Counted::connect(address)?),
    prepare: |_| Ok(()),
    finish: |_| Ok(()),
    script: Script::Alone(|_| Ok(())),
};

/// A path that differs from the plain one only in how bytes move.
const fn way(name: &'static str, bytes: usize, send: Move, receive: Move) -> Path {
    let script = Script::Way {
        bytes,
        send,
        receive,
    };
    Path {
        name,
        script,
        ..PLAIN
    }
}

/// A path whose ends have different parts.
const fn parts(name: &'static str, client: Part, server: Part) -> Path {
    let script = Script::Parts { client, server };
    Path {
        name,
        script,
        ..PLAIN
    }
}

/// A path whose ends make their connections in ways of their own.
const fn roles(
    name: &'static str,
    lacks: fn() -> anyhow::Result<Option<String>>,
    client: fn(SocketAddr, u32) -> anyhow::Result<()>,
    server: fn(TcpListener, u32) -> anyhow::Result<()>,
) -> Path {
    let script = Script::Roles { client, server };
    Path {
        name,
        lacks,
        script,
        ..PLAIN
    }
}

/// A path that is a scenario of its own.
const fn alone(name: &'static str, scenario: fn(u32) -> anyhow::Result<()>) -> Path {
    let script = Script::Alone(scenario);
    Path {
        name,
        script,
        ..PLAIN
    }
}

const PATHS: &[Path] = &[
    way("write_read", 100_000, plain::write, plain::read),
    way("send_recv", 100_000, plain::send, plain::recv),
    way("writev_readv", 100_000, vectors::writev, vectors::readv),
    way(
        "sendmsg_recvmsg",
        100_000,
        vectors::sendmsg,
        vectors::recvmsg,
    ),
    way(
        "sendmmsg_recvmmsg",
        60_000,
        vectors::sendmmsg,
        vectors::recvmmsg,
    ),
    way("more", 10_000, plain::more, plain::read),
    Path {
        prepare: plain::small_buffers,
        ..way("partial", 1_000_000, plain::partial, plain::read)
    },
    way("peek", 1000, plain::write, plain::peek),
    way("waitall", 10_000, plain::dribble, plain::waitall),
    way("trunc", 10_000, plain::write, plain::truncate),
    way("sendfile", 50_000, files::sendfile, plain::read),
    way("splice_out", 30_000, files::splice_out, plain::read),
    way("splice_in", 30_000, plain::write, files::splice_in),
    Path {
        prepare: zerocopy::allow,
        ..way("zerocopy_send", 200_000, zerocopy::send, plain::read)
    },
    Path {
        prepare: zerocopy::timestamps,
        ..way("errqueue", 1000, zerocopy::send_and_look, plain::read)
    },
    Path {
        prepare: zerocopy::allow,
        ..way(
            "zerocopy_receive",
            zerocopy::PAGES,
            zerocopy::send,
            zerocopy::receive,
        )
    },
    roles(
        "uring_oneshot",
        uring::lacks_oneshot,
        uring::client,
        uring::server,
    ),
    roles(
        "uring_multishot",
        uring::lacks_multishot,
        uring::plain_client,
        uring::multishot_server,
    ),
    roles(
        "uring_sqpoll",
        uring::lacks_sqpoll,
        uring::polled_client,
        uring::polled_server,
    ),
    roles(
        "uring_direct",
        uring::lacks_direct,
        uring::direct_client,
        uring::direct_server,
    ),
    Path {
        listen: fastopen::listen,
        connect: fastopen::connect_by_sendto,
        ..way("fastopen_sendto", 1000, fastopen::send, plain::read)
    },
    Path {
        listen: fastopen::listen,
        connect: fastopen::connect_later,
        ..way("fastopen_connect", 1000, fastopen::send, plain::read)
    },
    Path {
        lacks: tls::lacks,
        prepare: tls::prepare,
        finish: tls::finish,
        ..way("ktls", 100_000, plain::write, plain::read)
    },
    Path {
        lacks: tls::lacks,
        prepare: tls::prepare,
        finish: tls::finish,
        ..way("ktls_sendfile", 50_000, files::sendfile, plain::recv)
    },
    Path {
        lacks: mptcp::lacks,
        listen: mptcp::listen,
        connect: mptcp::connect,
        ..way("mptcp", 100_000, plain::write, plain::read)
    },
    Path {
        listen: listen_mapped,
        ..way("v4_mapped", 1000, plain::write, plain::read)
    },
    parts("linger_zero", ending::linger_zero, ending::until_reset),
    parts("unread", ending::send_and_wait, ending::leave_unread),
    parts("half_close", ending::shut_write, ending::send_after_end),
    parts("shut_read", ending::shut_read, ending::send_regardless),
    parts(
        "read_after_close",
        ending::send_and_end,
        ending::read_after_close,
    ),
    alone("reconnect", reconnect::run),
    alone("fork_after_accept", handoff::fork_after_accept),
    alone("fork_after_connect", handoff::fork_after_connect),
    alone("passed_descriptor", handoff::worker_io),
    roles("prefork", PLAIN.lacks, servers::client, servers::prefork),
    roles("threads", PLAIN.lacks, servers::client, servers::threads),
];

/// The names of all paths.
pub fn names() -> impl Iterator<Item = &'static str> {
    PATHS.iter().map(|path| path.name)
}

pub(super) fn run(args: &PathArgs) -> anyhow::Result<()> {
    let Some(name) = args.name.as_deref().filter(|_| !args.list) else {
        let list = names().fold(String::new(), |list, name| list + name + "\n");
        return Ok(std::io::stdout().write_all(list.as_bytes())?);
    };
    let (path, address) = find(name)?;
    if let Some(reason) = (path.lacks)()? {
        return say(&Line::NotHere { reason });
    }
    if let Script::Alone(scenario) = path.script {
        return scenario(args.connections);
    }
    let listener = (path.listen)(address)?;
    let mut crew = Crew::new();
    let line = format!(
        "path-client --name {name} --connections {}",
        args.connections
    );
    crew.start(&line, Vec::new())?;
    match path.script {
        Script::Way {
            bytes,
            send,
            receive,
        } => serve(&listener, args.connections, |mut socket| {
            (path.prepare)(&mut socket)?;
            receive(&mut socket, bytes)?;
            send(&mut socket, bytes)?;
            socket.drain()?;
            (path.finish)(&mut socket)?;
            Ok(socket.close("orderly"))
        })?,
        Script::Parts { server, .. } => serve(&listener, args.connections, server)?,
        Script::Roles { server, .. } => server(listener, args.connections)?,
        Script::Alone(_) => {}
    }
    crew.finish()
}

/// The process of the client.
pub(super) fn client(args: &ClientArgs) -> anyhow::Result<()> {
    let (path, address) = find(&args.name)?;
    let each = |part: &dyn Fn(Counted) -> anyhow::Result<End>| {
        for _ in 0..args.connections {
            say(&Line::Client(part((path.connect)(address)?)?))?;
        }
        Ok(())
    };
    match path.script {
        Script::Way {
            bytes,
            send,
            receive,
        } => each(&|mut socket| {
            (path.prepare)(&mut socket)?;
            send(&mut socket, bytes)?;
            receive(&mut socket, bytes)?;
            socket.stream().shutdown(Shutdown::Write)?;
            socket.drain()?;
            (path.finish)(&mut socket)?;
            Ok(socket.close("orderly"))
        }),
        Script::Parts { client, .. } => each(&client),
        Script::Roles { client, .. } => client(address, args.connections),
        Script::Alone(_) => Ok(()),
    }
}

/// A process of a server that has several.
pub(super) fn server(connections: u32) -> anyhow::Result<()> {
    servers::child(connections)
}

fn find(name: &str) -> anyhow::Result<(&'static Path, SocketAddr)> {
    let mut numbered = PATHS.iter().zip(FIRST_PORT..);
    let (path, port) = numbered
        .find(|(path, _)| path.name == name)
        .with_context(|| format!("there is no path {name}; --list names all"))?;
    Ok((path, (Ipv4Addr::LOCALHOST, port).into()))
}

/// Accepts so many connections, one after the other.
fn serve(
    listener: &TcpListener,
    connections: u32,
    part: impl Fn(Counted) -> anyhow::Result<End>,
) -> anyhow::Result<()> {
    for _ in 0..connections {
        let (stream, remote) = listener.accept()?;
        say(&Line::Server(part(Counted::new(stream, remote)?)?))?;
    }
    Ok(())
}

/// The end that says goodbye first.
fn end_first(mut socket: Counted) -> anyhow::Result<End> {
    socket.stream().shutdown(Shutdown::Write)?;
    socket.drain()?;
    Ok(socket.close("orderly"))
}

/// The end that waits for the other's goodbye.
fn end_last(mut socket: Counted) -> anyhow::Result<End> {
    socket.drain()?;
    Ok(socket.close("orderly"))
}

/// On all addresses of both families, by an IPv6 socket.
fn listen_mapped(address: SocketAddr) -> anyhow::Result<TcpListener> {
    Ok(TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port()))?)
}

/// Sends `length` bytes by calls that return how many went.
fn send_by(
    socket: &mut Counted,
    length: usize,
    mut call: impl FnMut(&Counted, &[u8]) -> anyhow::Result<usize>,
) -> anyhow::Result<()> {
    let data = vec![0x5a; length];
    let mut done = 0;
    while done < length {
        let sent = call(socket, &data[done..])?;
        ensure!(sent > 0, "a send call sent nothing");
        socket.tx += sent as u64;
        done += sent;
    }
    Ok(())
}

/// Receives `length` bytes by calls that return how many came.
fn receive_by(
    socket: &mut Counted,
    length: usize,
    mut call: impl FnMut(&Counted, &mut [u8]) -> anyhow::Result<usize>,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; length];
    let mut done = 0;
    while done < length {
        let received = call(socket, &mut buffer[done..])?;
        ensure!(received > 0, "the stream ended early");
        socket.rx += received as u64;
        done += received;
    }
    Ok(())
}
