//! One attempt, by each kind of calls, and what was seen of it from outside.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::super::counted::PATIENCE;
use super::super::path::{Handle, Ring, TcpInfo, lacks_oneshot};
use crate::truth::{Span, now};

const SYN_SENT: u8 = 2;

/// How often a pending attempt is looked at.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// By which calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::workload) enum How {
    /// A connect call that waits.
    Sync,
    /// A connect call that does not, and poll.
    Nonblocking,
    /// `io_uring`.
    Uring,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What the application got; nothing if it did not ask.
    pub(super) error: Option<Errno>,
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: SocketAddr,
    pub(super) owner_pid: u32,
    pub(super) began: Span,
    pub(super) ended: Span,
}

impl How {
    /// Why this kernel cannot do it, if so.
    pub(super) fn lacks(self) -> anyhow::Result<Option<String>> {
        if self == Self::Uring {
            lacks_oneshot()
        } else {
            Ok(None)
        }
    }

    /// The name on a command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Nonblocking => "nonblocking",
            Self::Uring => "uring",
        }
    }

    pub(in crate::workload) fn socket(self, remote: SocketAddr) -> rustix::io::Result<OwnedFd> {
        let family = if remote.is_ipv6() {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let mut flags = SocketFlags::CLOEXEC;
        flags.set(SocketFlags::NONBLOCK, self == Self::Nonblocking);
        socket_with(family, SocketType::STREAM, flags, None)
    }

    /// Connects in vain and waits until that is clear.
    pub(super) fn connect(self, socket: &OwnedFd, remote: SocketAddr) -> anyhow::Result<Outcome> {
        let from_ns = now();
        let result = match self {
            Self::Sync | Self::Nonblocking => rustix::net::connect(socket, &remote),
            Self::Uring => by_ring(socket, remote),
        };
        let span = Span {
            from_ns,
            to_ns: now(),
        };
        let (error, local, ended) = match result {
            Err(Errno::INPROGRESS) if self == Self::Nonblocking => {
                let local = address(socket)?;
                let (error, ended) = wait(socket, remote, from_ns)?;
                (error, local, ended)
            }
            // A socket that was bound keeps its port.
            Err(error) => (
                error,
                address(socket)?,
                outlast(socket, Seen::since(from_ns))?,
            ),
            Ok(()) => bail!("connecting to {remote} did not fail"),
        };
        Ok(Outcome {
            error: Some(error),
            local,
            remote,
            owner_pid: std::process::id(),
            began: span,
            ended,
        })
    }

    /// Begins to connect where nobody answers, and is back while that is pending.
    pub(super) fn begin(self, socket: &OwnedFd, remote: SocketAddr) -> anyhow::Result<Span> {
        const WHILE: Duration = Duration::from_millis(50);
        let from_ns = now();
        let result = match self {
            Self::Sync => {
                sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(WHILE))?;
                rustix::net::connect(socket, &remote)
            }
            Self::Nonblocking => rustix::net::connect(socket, &remote),
            Self::Uring => {
                errno(Ring::new()?.connect_within(Handle::Plain(socket.as_fd()), remote, WHILE))
            }
        };
        let given_up = [Errno::INPROGRESS, Errno::CANCELED, Errno::INTR];
        match result {
            Err(error) if given_up.contains(&error) && is_pending(socket)? => Ok(Span {
                from_ns,
                to_ns: now(),
            }),
            other => bail!("connecting to {remote} is not pending: {other:?}"),
        }
    }
}

fn by_ring(socket: &OwnedFd, remote: SocketAddr) -> rustix::io::Result<()> {
    let mut ring = Ring::new().map_err(|error| errno_of(&error))?;
    errno(ring.connect(Handle::Plain(socket.as_fd()), remote))
}

fn errno(result: std::io::Result<()>) -> rustix::io::Result<()> {
    result.map_err(|error| errno_of(&error))
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Waits for the error of a pending attempt, and fetches it with a second call.
fn wait(socket: &OwnedFd, remote: SocketAddr, from_ns: u64) -> anyhow::Result<(Errno, Span)> {
    let mut seen = Seen::since(from_ns);
    while poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&LOOK))? == 0 {
        seen.look(socket)?;
    }
    // Poll can return before the state changes (5.13+, IPv4), and asking for the error clears it: who
    // asks that early takes it away from everybody who looks at the socket when it does.
    let span = outlast(socket, seen)?;
    let error = rustix::net::connect(socket, &remote).err();
    Ok((error.context("the attempt did not fail")?, span))
}

/// An ICMP error that comes while a call has the socket is told to the application at once, but the
/// kernel goes on until the next one: waits for that.
fn outlast(socket: &OwnedFd, mut seen: Seen) -> anyhow::Result<Span> {
    let since = Instant::now();
    while seen.look(socket)? {
        ensure!(since.elapsed() < PATIENCE, "an attempt does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Span {
        from_ns: seen.before_ns,
        to_ns: now(),
    })
}

/// When an attempt was seen pending: the last time, and the time before. Only that counts, because
/// hooks are told of a new state shortly before others can see it.
struct Seen {
    before_ns: u64,
    last_ns: u64,
}

impl Seen {
    fn since(ns: u64) -> Self {
        Self {
            before_ns: ns,
            last_ns: ns,
        }
    }

    /// Whether it still is.
    fn look(&mut self, socket: &OwnedFd) -> anyhow::Result<bool> {
        let now_ns = now();
        let is_pending = is_pending(socket)?;
        if is_pending {
            (self.before_ns, self.last_ns) = (self.last_ns, now_ns);
        }
        Ok(is_pending)
    }
}

fn is_pending(socket: &OwnedFd) -> anyhow::Result<bool> {
    Ok(TcpInfo::of(socket)?.state() == SYN_SENT)
}

/// The socket's own address, if it has a port.
pub(super) fn address(socket: &OwnedFd) -> anyhow::Result<Option<SocketAddr>> {
    let address = SocketAddr::try_from(rustix::net::getsockname(socket)?)?;
    // Bound to a port only.
    Ok((address.port() != 0 && !address.ip().is_unspecified()).then_some(address))
}
