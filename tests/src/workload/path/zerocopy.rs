//! Pages that change hands: `MSG_ZEROCOPY` with its completions, and `TCP_ZEROCOPY_RECEIVE`.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd as _;

use anyhow::{bail, ensure};
use nix::sys::socket::{ControlMessageOwned, MsgFlags};
use rustix::event::PollFlags;
use rustix::io::retry_on_intr;
use rustix::net::{RecvFlags, SendFlags};

use super::super::counted::Counted;
use super::{raw, send_by};

/// From the kernel's `linux/errqueue.h`.
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;

/// How much [`receive`] receives.
pub(super) const PAGES: usize = 128 * 4096;

/// Allows `MSG_ZEROCOPY`.
pub(super) fn allow(socket: &mut Counted) -> anyhow::Result<()> {
    Ok(raw::set(
        socket.stream(),
        libc::SOL_SOCKET,
        libc::SO_ZEROCOPY,
        1,
    )?)
}

/// Sends without a copy, and reads from the error queue that the kernel is done with the pages.
pub(super) fn send(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    let flags = SendFlags::from_bits_retain(libc::MSG_ZEROCOPY.cast_unsigned());
    let (mut calls, mut completed) = (0, 0);
    send_by(socket, length, |socket, data| {
        calls += 1;
        // In pages, as what uses this does.
        let piece = &data[..data.len().min(16 * 4096)];
        Ok(rustix::net::send(socket.stream(), piece, flags)?)
    })?;
    while completed < calls {
        completed += completions(socket)?;
    }
    ensure!(
        completed == calls,
        "{completed} completions of {calls} calls"
    );
    Ok(())
}

/// Waits for a message in the error queue; returns how many send calls it is about.
fn completions(socket: &Counted) -> anyhow::Result<u32> {
    socket.wait(PollFlags::empty())?;
    let (mut nothing, mut space) = ([0; 64], nix::cmsg_space!([u8; 64]));
    let parts = &mut [IoSliceMut::new(&mut nothing)];
    let fd = socket.stream().as_raw_fd();
    let flags = MsgFlags::MSG_ERRQUEUE;
    let message = nix::sys::socket::recvmsg::<()>(fd, parts, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::Ipv4RecvErr(error, _) = control {
            ensure!(
                error.ee_origin == SO_EE_ORIGIN_ZEROCOPY,
                "a message of another kind: {error:?}"
            );
            return Ok(error.ee_data - error.ee_info + 1);
        }
    }
    bail!("a message in the error queue about nothing")
}

/// Asks for a timestamp of each segment that leaves.
pub(super) fn timestamps(socket: &mut Counted) -> anyhow::Result<()> {
    let wanted = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    Ok(raw::set(
        socket.stream(),
        libc::SOL_SOCKET,
        libc::SO_TIMESTAMPING,
        wanted.cast_signed(),
    )?)
}

/// Sends, and reads the segment back from the error queue: bytes, but none that were received.
pub(super) fn send_and_look(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    super::plain::write(socket, length)?;
    socket.wait(PollFlags::empty())?;
    let mut buffer = vec![0; 2 * length];
    let flags = RecvFlags::ERRQUEUE;
    let (seen, _) = rustix::net::recv(socket.stream(), &mut buffer[..], flags)?;
    ensure!(seen >= length, "only {seen} bytes in the error queue");
    Ok(())
}

/// Maps what comes in whole pages, and copies the rest.
pub(super) fn receive(socket: &mut Counted, length: usize) -> anyhow::Result<()> {
    let stream = socket.stream().try_clone()?;
    let mut window = raw::Window::new(&stream, length)?;
    let (mut rest, mut mapped_in_all) = (length, 0);
    let mut buffer = vec![0; length];
    while rest > 0 {
        socket.wait(PollFlags::IN)?;
        let (mapped, to_copy) = window.map(&stream, rest)?;
        let mut moved = mapped;
        if to_copy > 0 {
            let part = &mut buffer[..to_copy.min(rest - mapped)];
            moved +=
                retry_on_intr(|| rustix::net::recv(&stream, &mut *part, RecvFlags::empty()))?.0;
        }
        ensure!(moved > 0, "the stream ended early");
        socket.rx += moved as u64;
        mapped_in_all += mapped;
        rest -= moved;
    }
    ensure!(mapped_in_all > 0, "no page was mapped");
    Ok(())
}
