//! What looks like a failed attempt to a tracer that is not careful, and is a connection.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Pid, Signal, kill_process};

use super::counted::{Counted, PATIENCE};
use super::crew::{Crew, FIRST_FD};
use super::failed::{FullListener, How, wait_for_pending};
use super::path::set_option;
use super::report::say;
use crate::truth::Line;

/// Where it listens.
const PORT: u16 = 7036;

const BYTES: usize = 300;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct NeverArgs {
    /// Which kind.
    #[arg(long, required_unless_present = "list")]
    kind: Option<String>,
    /// Names all kinds, one a line, and does nothing else.
    #[arg(long)]
    list: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ClientArgs {
    #[arg(long)]
    remote: SocketAddr,
    /// The connect call has a time limit, so that a stop interrupts it for good.
    #[arg(long)]
    limited: bool,
}

type Script = fn() -> anyhow::Result<()>;

static KINDS: &[(&str, Script)] = &[
    ("polled", polled),
    ("asked-again", asked_again),
    ("reset-and-asked", reset_and_asked),
    ("stopped-client", || stopped_client("")),
    ("interrupted-client", || stopped_client(" --limited")),
    ("stopped-server", stopped_server),
    ("deferred-and-closed", deferred_and_closed),
];

/// The names of all kinds.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(name, _)| *name)
}

pub(super) fn run(args: &NeverArgs) -> anyhow::Result<()> {
    let Some(name) = args.kind.as_deref().filter(|_| !args.list) else {
        let list = names().fold(String::new(), |list, name| list + name + "\n");
        return Ok(std::io::stdout().write_all(list.as_bytes())?);
    };
    let kind = KINDS.iter().find(|(kind, _)| *kind == name);
    let (_, script) =
        kind.with_context(|| format!("there is no kind {name}: `never-failed --list` names all"))?;
    script()
}

fn listen() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))
}

/// Both ends in this process: the client sends and ends.
fn use_both(client: OwnedFd, listener: &TcpListener) -> anyhow::Result<()> {
    let stream = TcpStream::from(client);
    stream.set_nonblocking(false)?;
    let mut client = Counted::new(stream, listener.local_addr()?)?;
    ensure!(client.send_all(BYTES)?, "the server reset the connection");
    say(&Line::Client(client.close("orderly")))?;
    serve(listener)
}

fn serve(listener: &TcpListener) -> anyhow::Result<()> {
    let mut server = Counted::accept(listener)?;
    server.drain()?;
    say(&Line::Server(server.close("orderly")))
}

/// A connect call that does not wait, and a poll that does.
fn polled() -> anyhow::Result<()> {
    let listener = listen()?;
    let remote = listener.local_addr()?;
    for _ in 0..3 {
        let client = How::Nonblocking.socket(remote)?;
        begin(&client, remote)?;
        poll(&mut [PollFd::new(&client, PollFlags::OUT)], None)?;
        sockopt::socket_error(&client)??;
        use_both(client, &listener)?;
    }
    Ok(())
}

/// Connect calls until one says that it has been done.
fn asked_again() -> anyhow::Result<()> {
    let listener = listen()?;
    let remote = listener.local_addr()?;
    for _ in 0..3 {
        let client = How::Nonblocking.socket(remote)?;
        begin(&client, remote)?;
        loop {
            match rustix::net::connect(&client, &remote) {
                Ok(()) => {}
                Err(Errno::ALREADY) => std::thread::yield_now(),
                Err(Errno::ISCONN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        use_both(client, &listener)?;
    }
    Ok(())
}

/// A connect call on a connection that the server has reset.
fn reset_and_asked() -> anyhow::Result<()> {
    let listener = listen()?;
    let remote = listener.local_addr()?;
    for _ in 0..3 {
        let client = Counted::connect(remote)?;
        let server = Counted::accept(&listener)?;
        server.linger_zero()?;
        say(&Line::Server(server.close("reset")))?;
        client.wait(PollFlags::HUP)?;
        let again = rustix::net::connect(client.stream(), &remote);
        ensure!(again == Err(Errno::ISCONN), "connecting gave {again:?}");
        say(&Line::Client(client.close("reset")))?;
    }
    Ok(())
}

fn begin(client: &OwnedFd, remote: SocketAddr) -> anyhow::Result<()> {
    let result = rustix::net::connect(client, &remote);
    ensure!(
        matches!(result, Ok(()) | Err(Errno::INPROGRESS)),
        "connecting gave {result:?}"
    );
    Ok(())
}

/// A client that waits in connect is stopped, continued, and only then let in.
fn stopped_client(option: &str) -> anyhow::Result<()> {
    let full = FullListener::new(Ipv4Addr::LOCALHOST.into())?;
    let mut crew = Crew::new();
    let line = format!("stopped-client --remote {}{option}", full.address);
    let client = crew.start(&line, Vec::new())?;
    wait_for_pending(full.address, 1)?;
    stop_and_continue(client, || Ok(()))?;
    let (listener, filler) = full.open();
    say(&Line::Client(filler.close("orderly")))?;
    // What filled the queue makes room.
    serve(&listener)?;
    serve(&listener)?;
    crew.finish()
}

/// A server that waits in accept is stopped, gets connections, and is continued.
fn stopped_server() -> anyhow::Result<()> {
    const CLIENTS: u32 = 3;
    let listener = listen()?;
    let remote = listener.local_addr()?;
    let mut crew = Crew::new();
    let line = format!("stopped-server --connections {CLIENTS}");
    let server = crew.start(&line, vec![listener.into()])?;
    let mut clients = Vec::new();
    stop_and_continue(server, || {
        for _ in 0..CLIENTS {
            let mut client = Counted::connect(remote)?;
            ensure!(client.send_all(BYTES)?, "the server reset the connection");
            clients.push(client);
        }
        Ok(())
    })?;
    for client in clients {
        say(&Line::Client(client.close("orderly")))?;
    }
    crew.finish()
}

/// Handshakes that are done for the clients and not for the listener, which is closed.
fn deferred_and_closed() -> anyhow::Result<()> {
    const SYN_RECV: &str = "03";
    let listener = listen()?;
    set_option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 30)?;
    let clients = [(); 3].map(|()| Counted::connect(listener.local_addr()?));
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp")?;
    let states = table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3));
    let half_done = states.filter(|state| *state == SYN_RECV).count();
    ensure!(
        half_done == 3,
        "{half_done} handshakes are half done: {table}"
    );
    drop(listener);
    for client in clients {
        say(&Line::Client(client?.close("cut_off")))?;
    }
    Ok(())
}

fn stop_and_continue(
    process: u32,
    meanwhile: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let pid = Pid::from_raw(process.cast_signed()).context("a process id is not 0")?;
    kill_process(pid, Signal::STOP)?;
    wait_for_state(process, |state| state == 'T')?;
    meanwhile()?;
    kill_process(pid, Signal::CONT)?;
    wait_for_state(process, |state| state != 'T')
}

fn wait_for_state(process: u32, wanted: fn(char) -> bool) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        if state.is_some_and(wanted) {
            return Ok(());
        }
        ensure!(since.elapsed() < PATIENCE, "process {process}: {stat}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The client that is stopped.
pub(super) fn client(args: &ClientArgs) -> anyhow::Result<()> {
    let client = How::Sync.socket(args.remote)?;
    if args.limited {
        sockopt::set_socket_timeout(&client, sockopt::Timeout::Send, Some(PATIENCE))?;
    }
    let result = rustix::net::connect(&client, &args.remote);
    if args.limited {
        ensure!(
            result == Err(Errno::INTR),
            "a stop did not interrupt connect: {result:?}"
        );
        poll(&mut [PollFd::new(&client, PollFlags::OUT)], None)?;
        sockopt::socket_error(&client)??;
    } else {
        result?;
    }
    let mut client = Counted::new(TcpStream::from(client), args.remote)?;
    ensure!(client.send_all(BYTES)?, "the server reset the connection");
    say(&Line::Client(client.close("orderly")))
}

/// The server that is stopped.
pub(super) fn server(connections: u32) -> anyhow::Result<()> {
    // SAFETY: the parent mapped the listener to this number, and nothing else here knows it.
    let listener = TcpListener::from(unsafe { OwnedFd::from_raw_fd(FIRST_FD) });
    (0..connections).try_for_each(|_| serve(&listener))
}
