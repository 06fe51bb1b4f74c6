//! The table of kinds.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{bind, connect_unspec, shutdown, sockopt};

use super::network::{self, Place};
use super::{Family, reset};
use crate::workload::path::set_option;

/// First of the source ports that attempts are bound to.
const FIRST_SOURCE_PORT: u16 = 7100;

pub(super) struct Kind {
    pub(super) name: &'static str,
    /// What a record must say.
    pub(super) reason: &'static str,
    pub(super) place: MakePlace,
    /// Whether to make all attempts at once, because they take seconds.
    pub(super) together: bool,
    pub(super) script: Script,
}

pub(super) enum Script {
    /// The kernel ends it.
    Fails {
        prepare: Prepare,
        /// What the application may get.
        errors: &'static [Errno],
    },
    /// The application ends it while it is pending.
    GivenUp(fn(OwnedFd) -> rustix::io::Result<()>),
    /// Its process is killed while it is pending.
    Killed,
}

/// For so many attempts.
type MakePlace = fn(Family, u16) -> anyhow::Result<Place>;

/// Makes the socket of an attempt, which has a number, fit for it.
type Prepare = fn(&OwnedFd, SocketAddr, u16) -> anyhow::Result<()>;

const fn fails(
    name: &'static str,
    reason: &'static str,
    place: MakePlace,
    prepare: Prepare,
    errors: &'static [Errno],
) -> Kind {
    Kind {
        name,
        reason,
        place,
        together: false,
        script: Script::Fails { prepare, errors },
    }
}

/// Takes its time.
const fn fails_late(
    name: &'static str,
    reason: &'static str,
    place: MakePlace,
    prepare: Prepare,
    errors: &'static [Errno],
) -> Kind {
    Kind {
        together: true,
        ..fails(name, reason, place, prepare, errors)
    }
}

const fn aborted(name: &'static str, script: Script) -> Kind {
    Kind {
        name,
        reason: "aborted",
        place: network::full_queue,
        together: false,
        script,
    }
}

pub(super) static KINDS: &[Kind] = &[
    fails(
        "refused",
        "refused",
        network::closed_port,
        bind_every_second,
        &[Errno::CONNREFUSED],
    ),
    fails_late(
        "timed-out",
        "timeout",
        network::full_queue,
        bind_and_hurry,
        &[Errno::TIMEDOUT],
    ),
    fails_late(
        "no-neighbour",
        "unreachable",
        network::no_neighbour,
        bind_each,
        &[Errno::HOSTUNREACH],
    ),
    fails_late(
        "router-without-route",
        "unreachable",
        network::router_without_route,
        bind_each,
        &[Errno::NETUNREACH],
    ),
    // ICMP says it in one way, ICMPv6 in another.
    fails_late(
        "router-prohibits",
        "unreachable",
        network::router_prohibits,
        bind_each,
        &[Errno::HOSTUNREACH, Errno::ACCESS],
    ),
    fails(
        "no-route",
        "unreachable",
        network::no_route,
        nothing,
        &[Errno::NETUNREACH],
    ),
    // A RST that answers a SYN refuses: to be reset, an attempt has to be half done.
    fails_late(
        "reset",
        "reset",
        reset::half_done,
        bind_each,
        &[Errno::CONNRESET],
    ),
    fails(
        "no-port",
        "no_local_port",
        network::no_port,
        nothing,
        &[Errno::ADDRNOTAVAIL],
    ),
    fails(
        "port-taken",
        "no_local_port",
        network::port_taken,
        bind_to_taken,
        &[Errno::ADDRNOTAVAIL],
    ),
    aborted(
        "closed",
        Script::GivenUp(|socket| {
            drop(socket);
            Ok(())
        }),
    ),
    aborted(
        "disconnected",
        Script::GivenUp(|socket| connect_unspec(&socket)),
    ),
    aborted(
        "shut-down",
        Script::GivenUp(|socket| shutdown(&socket, rustix::net::Shutdown::Both)),
    ),
    aborted("killed", Script::Killed),
];

#[expect(clippy::unnecessary_wraps, reason = "as in the table")]
fn nothing(_: &OwnedFd, _: SocketAddr, _: u16) -> anyhow::Result<()> {
    Ok(())
}

fn bind_every_second(socket: &OwnedFd, remote: SocketAddr, number: u16) -> anyhow::Result<()> {
    if number.is_multiple_of(2) {
        bind(socket, &bound(remote, number))?;
    }
    Ok(())
}

/// Attempts at the same time can be told apart by their ports.
fn bind_each(socket: &OwnedFd, remote: SocketAddr, number: u16) -> anyhow::Result<()> {
    Ok(bind(socket, &bound(remote, number))?)
}

/// Tries twice only.
fn bind_and_hurry(socket: &OwnedFd, remote: SocketAddr, number: u16) -> anyhow::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, 1)?;
    bind_each(socket, remote, number)
}

fn bound(remote: SocketAddr, number: u16) -> SocketAddr {
    (network::source(remote), FIRST_SOURCE_PORT + number).into()
}

fn bind_to_taken(socket: &OwnedFd, remote: SocketAddr, _: u16) -> anyhow::Result<()> {
    sockopt::set_socket_reuseaddr(socket, true)?;
    Ok(bind(socket, &network::taken(remote))?)
}
