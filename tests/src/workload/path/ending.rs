//! Endings that leave something behind, or that data outlives.

use std::net::Shutdown;

use anyhow::ensure;

use super::super::counted::{Counted, wait_until};
use super::{end_first, end_last, raw};
use crate::truth::End;

/// The kernel's number of the state CLOSE.
const CLOSE: u8 = 7;

/// Sends, reads half of the answer, and resets.
pub(super) fn linger_zero(mut socket: Counted) -> anyhow::Result<End> {
    send(&mut socket, 1000)?;
    receive(&mut socket, 500)?;
    socket.linger_zero()?;
    Ok(socket.close("reset"))
}

/// Answers, and reads until the reset.
pub(super) fn until_reset(mut socket: Counted) -> anyhow::Result<End> {
    receive(&mut socket, 1000)?;
    send(&mut socket, 1000)?;
    socket.drain()?;
    Ok(socket.close("reset"))
}

/// Sends, and waits for the reset.
pub(super) fn send_and_wait(mut socket: Counted) -> anyhow::Result<End> {
    send(&mut socket, 1000)?;
    socket.drain()?;
    Ok(socket.close("reset"))
}

/// Reads a part and closes; for the rest the kernel resets.
pub(super) fn leave_unread(mut socket: Counted) -> anyhow::Result<End> {
    receive(&mut socket, 300)?;
    Ok(socket.close("reset"))
}

/// Sends, says goodbye, and only then receives.
pub(super) fn shut_write(mut socket: Counted) -> anyhow::Result<End> {
    send(&mut socket, 10_000)?;
    end_first(socket)
}

/// Sends only after the other's goodbye.
pub(super) fn send_after_end(mut socket: Counted) -> anyhow::Result<End> {
    socket.drain()?;
    ensure!(socket.rx == 10_000, "the stream ended early");
    send(&mut socket, 70_000)?;
    Ok(socket.close("orderly"))
}

/// Says that it will not read, and reads what comes nevertheless.
pub(super) fn shut_read(mut socket: Counted) -> anyhow::Result<End> {
    socket.stream().shutdown(Shutdown::Read)?;
    send(&mut socket, 1)?;
    wait_until("the data does not come", || {
        Ok(rustix::io::ioctl_fionread(socket.stream())? == 1000)
    })?;
    receive(&mut socket, 1000)?;
    end_first(socket)
}

/// Sends to one that does not want to read.
pub(super) fn send_regardless(mut socket: Counted) -> anyhow::Result<End> {
    receive(&mut socket, 1)?;
    send(&mut socket, 1000)?;
    end_last(socket)
}

pub(super) fn send_and_end(mut socket: Counted) -> anyhow::Result<End> {
    send(&mut socket, 20_000)?;
    end_first(socket)
}

/// Says goodbye, waits until TCP is over, and reads only then.
pub(super) fn read_after_close(mut socket: Counted) -> anyhow::Result<End> {
    socket.stream().shutdown(Shutdown::Write)?;
    wait_until("the connection does not end", || {
        Ok(raw::TcpInfo::of(socket.stream())?.state() == CLOSE)
    })?;
    receive(&mut socket, 20_000)?;
    end_last(socket)
}

fn send(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    ensure!(socket.send_all(length)?, "the peer reset the connection");
    Ok(())
}

fn receive(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    ensure!(socket.skip(length)?, "the stream ended early");
    Ok(())
}
