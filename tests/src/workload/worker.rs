//! A process that does input and output on sockets which another process gave it.
//!
//! Its standard input is a sequenced-packet socket: one command a packet, a socket with it where
//! the command is `take`, one answer a packet.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::process::{Child, Stdio};

use anyhow::{Context as _, bail, ensure};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    sockopt,
};
use serde::{Deserialize, Serialize};

use super::counted::{Counted, PATIENCE};
use super::crew::{FIRST_FD, again, words};
use crate::truth::Share;

#[derive(clap::Args, Clone, Debug)]
pub(super) struct WorkerArgs {
    /// A socket is already there as descriptor 3.
    #[arg(long)]
    inherited: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Take,
    Move { receive: usize, send: usize },
    Close,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    tx: u64,
    rx: u64,
}

/// The other side of a worker.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    control: OwnedFd,
}

impl Worker {
    /// Starts a worker; with `socket` it is born with it.
    pub(super) fn start(socket: Option<BorrowedFd<'_>>) -> anyhow::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        for fd in [&ours, &theirs] {
            sockopt::set_socket_timeout(fd, sockopt::Timeout::Recv, Some(PATIENCE))?;
        }
        let line = if socket.is_some() {
            "worker --inherited"
        } else {
            "worker"
        };
        let fds = socket.map(|fd| fd.try_clone_to_owned()).transpose()?;
        let mut command = again(&words(line), fds.into_iter().collect())?;
        let child = command.stdin(Stdio::from(theirs)).spawn()?;
        Ok(Self {
            child,
            control: ours,
        })
    }

    /// Gives it a socket, in place of the one it has.
    pub(super) fn take(&self, socket: BorrowedFd<'_>) -> anyhow::Result<()> {
        self.order(&Order::Take, Some(socket)).map(drop)
    }

    /// Has it receive, then send; returns what it counted on this socket so far.
    pub(super) fn move_bytes(&self, receive: usize, send: usize) -> anyhow::Result<Share> {
        let Answer { tx, rx } = self.order(&Order::Move { receive, send }, None)?;
        Ok(Share {
            pid: self.pid(),
            tx,
            rx,
        })
    }

    /// Has it close its descriptor.
    pub(super) fn close(&self) -> anyhow::Result<()> {
        self.order(&Order::Close, None).map(drop)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go and waits for it.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        drop(self.control);
        let status = self.child.wait()?;
        ensure!(
            status.success(),
            "worker {} failed: {status}",
            self.child.id()
        );
        Ok(())
    }

    fn order(&self, order: &Order, socket: Option<BorrowedFd<'_>>) -> anyhow::Result<Answer> {
        let text = serde_json::to_vec(order)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let sockets = socket.map(|fd| [fd]);
        if let Some(sockets) = &sockets {
            ensure!(
                ancillary.push(SendAncillaryMessage::ScmRights(sockets)),
                "no room"
            );
        }
        sendmsg(
            &self.control,
            &[IoSlice::new(&text)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        let mut buffer = [0; 256];
        let (length, _) = rustix::net::recv(&self.control, &mut buffer, RecvFlags::empty())
            .with_context(|| format!("no answer from worker {} to {order:?}", self.pid()))?;
        Ok(serde_json::from_slice(&buffer[..length])?)
    }
}

/// The worker process itself.
pub(super) fn main(args: &WorkerArgs) -> anyhow::Result<()> {
    let control = std::io::stdin();
    let control = control.as_fd();
    let mut socket = None;
    if args.inherited {
        // SAFETY: the parent mapped a socket to this number, and nothing else here knows it.
        socket = Some(adopt(unsafe { OwnedFd::from_raw_fd(FIRST_FD) })?);
    }
    while let Some((order, fd)) = next_order(control)? {
        match (order, &mut socket) {
            (Order::Take, socket) => {
                *socket = Some(adopt(fd.context("`take` came without a socket")?)?);
            }
            (Order::Move { receive, send }, Some(socket)) => {
                ensure!(socket.skip(receive)?, "the stream ended early");
                ensure!(socket.send_all(send)?, "the peer reset the connection");
            }
            (Order::Move { .. }, None) => bail!("no socket to use"),
            (Order::Close, socket) => *socket = None,
        }
        let (tx, rx) = socket
            .as_ref()
            .map_or((0, 0), |socket| (socket.tx, socket.rx));
        let text = serde_json::to_vec(&Answer { tx, rx })?;
        rustix::net::send(control, &text, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

fn adopt(fd: OwnedFd) -> anyhow::Result<Counted> {
    let stream = TcpStream::from(fd);
    let remote = stream.peer_addr()?;
    Ok(Counted::new(stream, remote)?)
}

fn next_order(control: BorrowedFd<'_>) -> anyhow::Result<Option<(Order, Option<OwnedFd>)>> {
    let mut buffer = [0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut buffer)];
    let message = recvmsg(control, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let mut fd = None;
    for received in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = received {
            fd = fds.next();
        }
    }
    Ok(Some((
        serde_json::from_slice(&buffer[..message.bytes])?,
        fd,
    )))
}
