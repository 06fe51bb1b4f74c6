//! Connections that one process opens or accepts and others use or close.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd as _;

use anyhow::ensure;

use super::counted::Counted;
use super::crew::Crew;
use super::echo;
use super::report::say;
use super::worker::Worker;
use crate::truth::{End, Line, Share};

/// Where it listens.
const PORT: u16 = 7008;

/// Bytes each way on each connection; odd, so that halves differ.
const BYTES: usize = 10_001;

/// The acceptor only accepts; a child made for the connection does the rest.
pub(super) fn fork_after_accept(connections: u32) -> anyhow::Result<()> {
    serve(connections, |socket, _| {
        let worker = Worker::start(Some(socket.stream().as_fd()))?;
        let mut end = socket.close("orderly");
        add(&mut end, worker.move_bytes(BYTES, BYTES)?);
        worker.close()?;
        end.closer_pid = Some(worker.pid());
        worker.finish()?;
        Ok(end)
    })
}

/// Acceptor and worker both receive and send; the acceptor, the worker or a third process that
/// moves nothing closes last.
pub(super) fn worker_io(connections: u32) -> anyhow::Result<()> {
    let worker = Worker::start(None)?;
    let third = Worker::start(None)?;
    let (ours, theirs) = (BYTES / 2, BYTES - BYTES / 2);
    serve(connections, |mut socket, number| {
        worker.take(socket.stream().as_fd())?;
        if number % 3 == 2 {
            third.take(socket.stream().as_fd())?;
        }
        ensure!(socket.skip(ours)?, "the client ended early");
        let share = worker.move_bytes(theirs, theirs)?;
        ensure!(socket.send_all(ours)?, "the client reset the connection");
        let mut end;
        if number % 3 == 0 {
            worker.close()?;
            end = socket.close("orderly");
        } else {
            end = socket.close("orderly");
            worker.close()?;
            end.closer_pid = Some(worker.pid());
        }
        if number % 3 == 2 {
            third.close()?;
            end.closer_pid = Some(third.pid());
        }
        add(&mut end, share);
        Ok(end)
    })?;
    worker.finish()?;
    third.finish()
}

/// The connecting process only connects; a child made for the connection does the rest.
pub(super) fn fork_after_connect(connections: u32) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let address = listener.local_addr()?;
    let server = Worker::start(None)?;
    for _ in 0..connections {
        let socket = Counted::connect(address)?;
        let worker = Worker::start(Some(socket.stream().as_fd()))?;
        let mut client = socket.close("orderly");
        let accepted = Counted::accept(&listener)?;
        server.take(accepted.stream().as_fd())?;
        let mut end = accepted.close("orderly");
        worker.move_bytes(0, BYTES)?;
        add(&mut end, server.move_bytes(BYTES, BYTES)?);
        add(&mut client, worker.move_bytes(BYTES, 0)?);
        worker.close()?;
        client.closer_pid = Some(worker.pid());
        server.close()?;
        end.closer_pid = Some(server.pid());
        worker.finish()?;
        say(&Line::Client(client))?;
        say(&Line::Server(end))?;
    }
    server.finish()
}

/// Runs a client process and hands each accepted connection, with its number, to `handle`.
fn serve(
    connections: u32,
    mut handle: impl FnMut(Counted, u32) -> anyhow::Result<End>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT))?;
    let mut crew = Crew::new();
    echo::start_client(&mut crew, &[listener.local_addr()?], connections, BYTES)?;
    crew.go()?;
    for number in 0..connections {
        let end = handle(Counted::accept(&listener)?, number)?;
        say(&Line::Server(end))?;
    }
    crew.finish()
}

fn add(end: &mut End, share: Share) {
    end.tx += share.tx;
    end.rx += share.rx;
    end.users.push(share);
    end.users.sort();
}
