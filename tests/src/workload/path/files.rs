//! From a file, and from and to a pipe, without a buffer of the application.

use std::io::Write as _;
use std::os::fd::AsFd as _;

use anyhow::ensure;
use rustix::io::retry_on_intr;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

use super::super::counted::Counted;

pub(super) fn sendfile(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    let mut file = tempfile::tempfile()?;
    file.write_all(&vec![1; length])?;
    let mut offset = 0;
    while offset < length as u64 {
        let rest = length - usize::try_from(offset)?;
        let sent = retry_on_intr(|| {
            rustix::fs::sendfile(socket.stream(), &file, Some(&mut offset), rest)
        })?;
        ensure!(sent > 0, "sendfile sent nothing");
        socket.tx += sent as u64;
    }
    Ok(())
}

/// From a pipe to the socket.
pub(super) fn splice_out(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    // A pipe holds 64 KiB.
    ensure!(length <= 65_536, "too much for one pipe");
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let filled = rustix::io::write(&writer, &vec![2; length])?;
    ensure!(filled == length, "a short write to a pipe");
    let mut rest = length;
    while rest > 0 {
        let (from, to) = (reader.as_fd(), socket.stream().as_fd());
        let sent = retry_on_intr(|| splice(from, None, to, None, rest, SpliceFlags::empty()))?;
        ensure!(sent > 0, "splice sent nothing");
        socket.tx += sent as u64;
        rest -= sent;
    }
    Ok(())
}

/// From the socket to a pipe, which is emptied each time.
pub(super) fn splice_in(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut buffer = vec![0; length];
    let mut rest = length;
    while rest > 0 {
        let (from, to) = (socket.stream().as_fd(), writer.as_fd());
        let moved = retry_on_intr(|| splice(from, None, to, None, rest, SpliceFlags::empty()))?;
        ensure!(moved > 0, "the stream ended early");
        socket.rx += moved as u64;
        rest -= moved;
        let mut held = moved;
        while held > 0 {
            held -= rustix::io::read(&reader, &mut buffer[..held])?;
        }
    }
    Ok(())
}
