//! Many buffers a call, and many messages.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{MsgFlags, MultiHeaders};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags};

use super::super::counted::Counted;
use super::{receive_by, send_by};

pub(super) fn writev(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    send_by(socket, length, |socket, data| {
        socket.stream().write_vectored(&split(data))
    })
}

pub(super) fn readv(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    receive_by(socket, length, |socket, buffer| {
        socket.stream().read_vectored(&mut split_mut(buffer))
    })
}

pub(super) fn sendmsg(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    send_by(socket, length, |socket, data| {
        let nothing = &mut SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(
            socket.stream(),
            &split(data),
            nothing,
            SendFlags::empty(),
        )?)
    })
}

pub(super) fn recvmsg(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    receive_by(socket, length, |socket, buffer| {
        let nothing = &mut RecvAncillaryBuffer::default();
        let parts = &mut split_mut(buffer);
        Ok(rustix::net::recvmsg(socket.stream(), parts, nothing, RecvFlags::empty())?.bytes)
    })
}

/// Three messages of two buffers each a call.
pub(super) fn sendmmsg(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    send_by(socket, length, |socket, data| {
        let messages: Vec<_> = data.chunks(data.len().div_ceil(3)).map(split).collect();
        let mut headers = MultiHeaders::<()>::preallocate(messages.len(), None);
        let fd = socket.stream().as_raw_fd();
        let addresses = vec![None; messages.len()];
        let flags = MsgFlags::empty();
        let sent = nix::sys::socket::sendmmsg(fd, &mut headers, &messages, &addresses, [], flags)?;
        Ok(sent.map(|message| message.bytes).sum())
    })
}

/// Three messages of two buffers each a call.
pub(super) fn recvmmsg(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    receive_by(socket, length, |socket, buffer| {
        let part = buffer.len().div_ceil(3);
        let mut messages: Vec<_> = buffer.chunks_mut(part).map(split_mut).collect();
        let mut headers = MultiHeaders::<()>::preallocate(messages.len(), None);
        let fd = socket.stream().as_raw_fd();
        // Waits for the first message only; a message that was not filled leaves a gap, which does
        // not matter: nobody looks at the bytes.
        let flags = MsgFlags::MSG_WAITFORONE;
        let received = nix::sys::socket::recvmmsg(fd, &mut headers, &mut messages, flags, None)?;
        Ok(received.map(|message| message.bytes).sum())
    })
}

fn split(data: &[u8]) -> [IoSlice<'_>; 2] {
    let (head, tail) = data.split_at(data.len() / 3);
    [IoSlice::new(head), IoSlice::new(tail)]
}

fn split_mut(buffer: &mut [u8]) -> [IoSliceMut<'_>; 2] {
    let (head, tail) = buffer.split_at_mut(buffer.len() / 3);
    [IoSliceMut::new(head), IoSliceMut::new(tail)]
}
