//! One buffer a call: read and write, recv and send with their flags.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::time::Duration;

use anyhow::ensure;
use rustix::event::PollFlags;
use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_send_buffer_size, set_tcp_nodelay,
};
use rustix::net::{RecvFlags, SendFlags};

use super::super::counted::{Counted, uninterrupted};
use super::{receive_by, send_by};

pub(super) fn write(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    send_by(socket, length, |socket, data| socket.stream().write(data))
}

pub(super) fn read(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    receive_by(socket, length, |socket, buffer| {
        socket.stream().read(buffer)
    })
}

pub(super) fn send(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    send_by(socket, length, |socket, data| {
        Ok(rustix::net::send(
            socket.stream(),
            data,
            SendFlags::empty(),
        )?)
    })
}

pub(super) fn recv(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    receive_by(socket, length, |socket, buffer| {
        recv_once(socket, buffer, RecvFlags::empty())
    })
}

/// Many small sends, each but the last announcing another one.
pub(super) fn more(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    const PIECE: usize = 300;
    send_by(socket, length, |socket, data| {
        let (piece, flags) = if data.len() > PIECE {
            (&data[..PIECE], SendFlags::MORE)
        } else {
            (data, SendFlags::empty())
        };
        Ok(rustix::net::send(socket.stream(), piece, flags)?)
    })
}

/// Buffers that the sender fills faster than the receiver empties them.
pub(super) fn small_buffers(socket: &mut Counted) -> anyhow::Result<()> {
    set_socket_send_buffer_size(socket.stream(), 20_000)?;
    Ok(set_socket_recv_buffer_size(socket.stream(), 20_000)?)
}

/// Offers all that is left each time, without blocking: some of it fits, or nothing does.
pub(super) fn partial(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    let (mut short, mut refused) = (0, 0);
    socket.stream().set_nonblocking(true)?;
    send_by(socket, length, |socket, data| {
        loop {
            match socket.stream().write(data) {
                Ok(sent) => {
                    short += u32::from(sent < data.len());
                    return Ok(sent);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    refused += 1;
                    socket.wait(PollFlags::OUT)?;
                }
                Err(error) => return Err(error),
            }
        }
    })?;
    socket.stream().set_nonblocking(false)?;
    ensure!(
        short > 0 && refused > 0,
        "everything fitted: {short} short writes, {refused} EAGAIN"
    );
    Ok(())
}

/// Lets the sender get ahead.
pub(super) fn read_slowly(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    receive_by(socket, length, |socket, buffer| {
        std::thread::sleep(Duration::from_millis(1));
        let part = buffer.len().min(8192);
        socket.stream().read(&mut buffer[..part])
    })
}

/// Looks ahead at everything ten times, then takes it.
pub(super) fn peek(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    let mut buffer = vec![0; length];
    for _ in 0..10 {
        let flags = RecvFlags::PEEK | RecvFlags::WAITALL;
        let seen = uninterrupted(|| recv_once(socket, &mut buffer, flags))?;
        ensure!(seen == length, "a short look: {seen} of {length}");
    }
    read(socket, length)
}

/// Sends in ten pieces with pauses, so that the receiver wakes up for each.
pub(super) fn dribble(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    set_tcp_nodelay(socket.stream(), true)?;
    send_by(socket, length, |socket, data| {
        std::thread::sleep(Duration::from_millis(2));
        let piece = &data[..data.len().min(length / 10)];
        socket.stream().write(piece)
    })
}

/// Waits for everything in one call.
pub(super) fn waitall(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    receive_by(socket, length, |socket, buffer| {
        recv_once(socket, buffer, RecvFlags::WAITALL)
    })
}

/// Throws four tenths away without copying them, then reads the rest.
///
/// What is thrown away counts as received: the call takes it out of the stream and returns its
/// length, and no other call will ever get it.
pub(super) fn truncate(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    let discarded = length * 4 / 10;
    receive_by(socket, discarded, |socket, buffer| {
        recv_once(socket, buffer, RecvFlags::TRUNC)
    })?;
    read(socket, length - discarded)
}

fn recv_once(socket: &Counted, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    Ok(rustix::net::recv(socket.stream(), buffer, flags)?.0)
}
