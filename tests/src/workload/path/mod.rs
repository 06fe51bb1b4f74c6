//! Every way to move bytes over TCP, and every ending that can cost some: the table is in
//! `table.rs`.
//!
//! Server and client are two processes, so that a byte credited to the wrong one shows.

mod ending;
mod fastopen;
mod files;
mod mptcp;
mod plain;
pub(super) mod raw;
mod ring;
mod servers;
mod table;
mod tls;
mod uring;
mod vectors;
mod zerocopy;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};

use anyhow::{Context as _, ensure};

use super::counted::{Counted, uninterrupted};
use super::crew::Crew;
use super::report::say;
use crate::truth::{End, Line};
pub(super) use fastopen::only_loopback;
pub(super) use raw::{TcpInfo, set as set_option};
pub(super) use ring::{Handle, Ring};
pub(super) use uring::lacks_oneshot;

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
        server: fn(&TcpListener, u32) -> anyhow::Result<()>,
    },
    /// A scenario that does everything itself.
    Alone(fn(u32) -> anyhow::Result<()>),
}

/// What one end does with a connection, up to its close.
type Part = fn(Counted) -> anyhow::Result<End>;

/// The names of all paths.
pub fn names() -> impl Iterator<Item = &'static str> {
    table::PATHS.iter().map(|path| path.name)
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
        Script::Roles { server, .. } => server(&listener, args.connections)?,
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
    let mut numbered = table::PATHS.iter().zip(FIRST_PORT..);
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
        say(&Line::Server(part(Counted::accept(listener)?)?))?;
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

/// Sends `length` bytes by calls that return how many went.
fn send_by(
    socket: &mut Counted,
    length: usize,
    mut call: impl FnMut(&Counted, &[u8]) -> io::Result<usize>,
) -> anyhow::Result<()> {
    let data = vec![0x5a; length];
    let mut done = 0;
    while done < length {
        let sent = uninterrupted(|| call(socket, &data[done..]))?;
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
    mut call: impl FnMut(&Counted, &mut [u8]) -> io::Result<usize>,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; length];
    let mut done = 0;
    while done < length {
        let received = uninterrupted(|| call(socket, &mut buffer[done..]))?;
        ensure!(received > 0, "the stream ended early");
        socket.rx += received as u64;
        done += received;
    }
    Ok(())
}
