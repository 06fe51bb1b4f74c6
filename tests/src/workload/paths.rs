//! Ways to move bytes that are not read and write.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;

use anyhow::{bail, ensure};
use rustix::event::PollFlags;
use rustix::net::RecvFlags;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::pipe::{SpliceFlags, pipe_with, splice};

use super::counted::Counted;
use super::report::say;
use crate::truth::Line;

/// Where it listens.
const PORT: u16 = 7013;

/// One connection for each way, `rounds` times over, both ends in this process.
pub(super) fn run(rounds: u32) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    for _ in 0..rounds {
        for (name, exchange) in WAYS {
            let client = Counted::connect(listener.local_addr()?)?;
            let (stream, remote) = listener.accept()?;
            let server = Counted::new(stream, remote)?;
            let (client, server) = exchange(client, server)?;
            say(&Line::Client(client.close(name)))?;
            say(&Line::Server(server.close(name)))?;
        }
    }
    Ok(())
}

type Exchange = fn(Counted, Counted) -> anyhow::Result<(Counted, Counted)>;

const WAYS: [(&str, Exchange); 5] = [
    ("partial_writes", partial_writes),
    ("sendfile", sendfile),
    ("splice_out", splice_out),
    ("peek_and_truncate", peek_and_truncate),
    ("splice_in", splice_in),
];

/// Sends without blocking until nothing more fits, then receives it all; three times.
fn partial_writes(mut a: Counted, mut b: Counted) -> anyhow::Result<(Counted, Counted)> {
    set_socket_send_buffer_size(a.stream(), 20_000)?;
    set_socket_recv_buffer_size(b.stream(), 20_000)?;
    a.stream().set_nonblocking(true)?;
    for _ in 0..3 {
        a.wait(PollFlags::OUT)?;
        let before = a.tx;
        loop {
            match a.send_some(usize::MAX) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(a.tx > before, "nothing fitted");
        let waiting = usize::try_from(a.tx - b.rx)?;
        ensure!(b.skip(waiting)?, "the stream ended early");
    }
    a.stream().set_nonblocking(false)?;
    Ok((a, b))
}

fn sendfile(mut a: Counted, mut b: Counted) -> anyhow::Result<(Counted, Counted)> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&vec![1; 50_000])?;
    let mut offset = 0;
    while offset < 50_000 {
        let sent = rustix::fs::sendfile(a.stream(), &file, Some(&mut offset), 50_000)?;
        ensure!(sent > 0, "sendfile sent nothing");
        a.tx += sent as u64;
    }
    ensure!(b.skip(50_000)?, "the stream ended early");
    Ok((a, b))
}

/// From a pipe to the socket.
fn splice_out(mut a: Counted, mut b: Counted) -> anyhow::Result<(Counted, Counted)> {
    let (reader, writer) = pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    ensure!(
        rustix::io::write(&writer, &[2; 3000])? == 3000,
        "a short write to a pipe"
    );
    let sent = splice(
        reader.as_fd(),
        None,
        a.stream().as_fd(),
        None,
        3000,
        SpliceFlags::empty(),
    )?;
    a.tx += sent as u64;
    ensure!(b.skip(sent)?, "the stream ended early");
    Ok((a, b))
}

/// Looks ahead twice, then throws 400 bytes away without copying, then reads the rest.
fn peek_and_truncate(mut a: Counted, mut b: Counted) -> anyhow::Result<(Counted, Counted)> {
    ensure!(a.send_all(1000)?, "the peer reset the connection");
    let mut buffer = [0; 400];
    for _ in 0..2 {
        let flags = RecvFlags::PEEK | RecvFlags::WAITALL;
        ensure!(
            rustix::net::recv(b.stream(), &mut buffer, flags)?.0 == 400,
            "a short look"
        );
    }
    let flags = RecvFlags::TRUNC | RecvFlags::WAITALL;
    b.rx += rustix::net::recv(b.stream(), &mut buffer, flags)?.0 as u64;
    ensure!(b.skip(600)?, "the stream ended early");
    Ok((a, b))
}

/// From the socket to a pipe.
fn splice_in(mut a: Counted, mut b: Counted) -> anyhow::Result<(Counted, Counted)> {
    ensure!(a.send_all(3000)?, "the peer reset the connection");
    let (reader, writer) = pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let mut rest = 3000;
    while rest > 0 {
        b.wait(PollFlags::IN)?;
        let flags = SpliceFlags::empty();
        let moved = splice(b.stream().as_fd(), None, writer.as_fd(), None, rest, flags)?;
        if moved == 0 {
            bail!("the stream ended early");
        }
        b.rx += moved as u64;
        rest -= moved;
    }
    drop(reader);
    Ok((a, b))
}
