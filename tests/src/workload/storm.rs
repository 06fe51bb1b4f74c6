//! Many processes that are killed at once, and many attempts that nobody answers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket,
    socket_with, sockopt,
};

use super::counted::{Counted, PATIENCE};
use super::failed::connect_in_vain;
use super::fork::{Child, Roll, killed};
use super::path::raw::set;
use super::report::say;
use crate::truth::{Attempt, End, Line, Span, now};

/// The first of the ports where a server each listens.
const FIRST_PORT: u16 = 7300;

/// Connections of each pair of processes.
const CONNECTIONS: usize = 3;

/// Bytes from the client, bytes back, and what the server of every second connection leaves unread.
const SENT: usize = 500;
const ANSWERED: usize = 300;
const UNREAD: usize = 64;

/// Where nobody accepts.
const PORT: u16 = 7024;

/// Pairs of a client and a server process; all are killed when a line comes on standard input.
pub(super) fn killed_at_once(processes: u32) -> anyhow::Result<()> {
    let roll = Roll::new()?;
    let mut children = Vec::new();
    for (_, port) in (0..processes / 2).zip(FIRST_PORT..) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        children.push(Child::start(None, || serve(&listener, &roll))?);
        children.push(Child::start(None, || use_server(address, &roll))?);
    }
    roll.call(children.len())?;
    say(&Line::Ready {})?;
    std::io::stdin().read_line(&mut String::new())?;
    children.iter().try_for_each(Child::kill)?;
    children
        .into_iter()
        .try_for_each(|child| child.wait(killed))
}

fn serve(listener: &TcpListener, roll: &Roll) -> anyhow::Result<()> {
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut socket = Counted::accept(listener)?;
        ensure!(socket.skip(SENT)?, "the client ended early");
        ensure!(
            socket.send_all(ANSWERED)?,
            "the client reset the connection"
        );
        say(&Line::Server(doomed(&socket)))?;
        open.push(socket);
    }
    roll.ready()
}

fn use_server(address: SocketAddr, roll: &Roll) -> anyhow::Result<()> {
    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        let mut socket = Counted::connect(address)?;
        ensure!(socket.send_all(SENT)?, "the server reset the connection");
        ensure!(socket.skip(ANSWERED)?, "the server ended early");
        if number % 2 == 1 {
            ensure!(socket.send_all(UNREAD)?, "the server reset the connection");
        }
        say(&Line::Client(doomed(&socket)))?;
        open.push(socket);
    }
    roll.ready()
}

/// What is known of an end whose process will be killed.
fn doomed(socket: &Counted) -> End {
    let end = socket.end("killed");
    End {
        closer_pid: end.owner_pid,
        ..end
    }
}

/// Attempts at a listener whose queue is full. By number: closed at once, held by a process that is
/// killed, given up by the kernel after one repetition, or after a time.
pub(super) fn unanswered(attempts: u32) -> anyhow::Result<()> {
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    bind(&listener, &address)?;
    listen(&listener, 0)?;
    // A queue of length zero has room for one.
    let first = connect_in_vain(address, std::process::id())?;
    let kind = |kind: u32| (0..attempts).filter(move |number| number % 4 == kind);

    let roll = Roll::new()?;
    let child = Child::start(None, || {
        let held = kind(1).map(|_| attempt(address, "aborted", |_| Ok(())));
        let _held = held.collect::<anyhow::Result<Vec<_>>>()?;
        roll.ready()
    })?;
    roll.call(1)?;

    for _ in kind(0) {
        attempt(address, "aborted", |_| Ok(()))?;
    }
    let mut waiting = Vec::new();
    for _ in kind(2) {
        let once = |socket: &OwnedFd| Ok(set(socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, 1)?);
        waiting.push(attempt(address, "timeout", once)?);
    }
    for _ in kind(3) {
        let soon = |socket: &OwnedFd| Ok(sockopt::set_tcp_user_timeout(socket, 1000)?);
        waiting.push(attempt(address, "timeout", soon)?);
    }
    child.kill()?;
    child.wait(killed)?;
    for socket in &waiting {
        let mut fds = [PollFd::new(socket, PollFlags::OUT)];
        let patience = Timespec::try_from(PATIENCE)?;
        poll(&mut fds, Some(&patience))?;
        let error = sockopt::socket_error(socket)?;
        ensure!(
            error == Err(Errno::TIMEDOUT),
            "an attempt ended with {error:?}"
        );
    }
    drop(waiting);
    say(&Line::Client(first.close("never_accepted")))?;
    drop(listener);
    Ok(())
}

/// Starts a connection without waiting for it, and tells of it.
fn attempt(
    remote: SocketAddr,
    reason: &str,
    prepare: impl FnOnce(&OwnedFd) -> anyhow::Result<()>,
) -> anyhow::Result<OwnedFd> {
    let kind = SocketType::STREAM;
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::NONBLOCK, None)?;
    prepare(&socket)?;
    let from_ns = now();
    match connect(&socket, &remote) {
        Err(Errno::INPROGRESS) => {}
        other => bail!("an attempt that nobody answers gave {other:?}"),
    }
    let local = getsockname(&socket)?;
    say(&Line::Failed(Attempt {
        local: Some(local.try_into().context("not an internet address")?),
        remote,
        v6_socket: false,
        owner_pid: std::process::id(),
        reason: reason.to_owned(),
        began: Span {
            from_ns,
            to_ns: now(),
        },
        // Told before it ends.
        ended: Span {
            from_ns,
            to_ns: u64::MAX,
        },
    }))?;
    Ok(socket)
}
