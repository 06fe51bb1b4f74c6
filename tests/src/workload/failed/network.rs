//! Places where nobody can connect to, in this process's network namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{bind, connect, listen, sockopt};

use super::super::counted::Counted;
use super::super::path::only_loopback;
use super::super::report::say;
use super::attempt::How;
use super::pending::wait_for_pending;
use super::{Family, vain};
use crate::namespace::{Namespace, ip};
use crate::truth::Line;

/// A port where nobody listens.
const CLOSED_PORT: u16 = 7009;

/// Where a listener has no room.
const FULL_PORT: u16 = 7031;

/// Where somebody accepts from [`TAKEN_PORT`].
const OPEN_PORT: u16 = 7032;
const TAKEN_PORT: u16 = 7033;

/// The only ports that the kernel may choose.
const FEW_PORTS: [u16; 2] = [7034, 7035];

/// Our addresses on a link.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const HERE_V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);

/// Somewhere that is made for one run.
pub(super) struct Place {
    pub(super) remote: SocketAddr,
    /// What happens once all attempts are pending.
    pub(super) meanwhile: Box<dyn FnOnce() -> anyhow::Result<()>>,
    /// Tells of connections that it needed, after the last attempt.
    pub(super) leave: Box<dyn FnOnce() -> anyhow::Result<()>>,
}

impl Place {
    pub(super) fn new(remote: SocketAddr) -> Self {
        Self {
            remote,
            meanwhile: Box::new(|| Ok(())),
            leave: Box::new(|| Ok(())),
        }
    }
}

/// For places that change settings.
fn require_own_namespace() -> anyhow::Result<()> {
    ensure!(
        only_loopback()?,
        "this would change more than loopback: run it in a network namespace of its own \
         (`unshare --net`)"
    );
    Ok(())
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Our address towards `remote`, which is on loopback or behind the link.
pub(super) fn source(remote: SocketAddr) -> IpAddr {
    match remote.ip() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => HERE.into(),
        IpAddr::V6(_) => HERE_V6.into(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as in the table")]
pub(super) fn closed_port(family: Family, _: u16) -> anyhow::Result<Place> {
    Ok(Place::new((loopback(family), CLOSED_PORT).into()))
}

/// A listener whose queue is full: the kernel drops every SYN.
pub(in crate::workload) struct FullListener {
    listener: TcpListener,
    pub(in crate::workload) address: SocketAddr,
    filler: Counted,
}

impl FullListener {
    pub(in crate::workload) fn new(ip: IpAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((ip, FULL_PORT))?;
        // It takes one more than it is told.
        listen(&listener, 0)?;
        let address = listener.local_addr()?;
        let filler = Counted::connect(address)?;
        poll(&mut [PollFd::new(&listener, PollFlags::IN)], None)?;
        Ok(Self {
            listener,
            address,
            filler,
        })
    }

    /// The listener, for who accepts, and the other end of what waits in its queue.
    pub(in crate::workload) fn open(self) -> (TcpListener, Counted) {
        (self.listener, self.filler)
    }

    /// Closes everything and tells of the connection that filled it.
    fn leave(self) -> anyhow::Result<()> {
        let end = vain::unaccepted(&self.filler, std::process::id());
        say(&Line::Server(end))?;
        say(&Line::Client(self.filler.close("never_accepted")))
    }
}

pub(super) fn full_queue(family: Family, _: u16) -> anyhow::Result<Place> {
    let full = FullListener::new(loopback(family))?;
    let place = Place::new(full.address);
    Ok(Place {
        leave: Box::new(|| full.leave()),
        ..place
    })
}

/// A link where nobody has the address: the kernel asks for it once, and reports to itself.
pub(super) fn no_neighbour(family: Family, _: u16) -> anyhow::Result<Place> {
    const PROBES: [(&str, &str); 2] = [("mcast_solicit", "1"), ("retrans_time_ms", "200")];
    require_own_namespace()?;
    ip("link add veth0 type veth peer name veth1");
    ip("link set veth0 up");
    ip("link set veth1 up");
    let (kind, remote): (_, IpAddr) = match family {
        Family::Ipv4 => ("ipv4", [10, 9, 0, 99].into()),
        Family::Ipv6 => ("ipv6", "fd09::99".parse()?),
    };
    match family {
        Family::Ipv4 => ip(&format!("addr add {HERE}/24 dev veth0")),
        Family::Ipv6 => ip(&format!("addr add {HERE_V6}/64 dev veth0 nodad")),
    }
    for (name, value) in PROBES {
        set(&format!("{kind}/neigh/veth0/{name}"), value)?;
    }
    Ok(Place::new((remote, CLOSED_PORT).into()))
}

/// A router that knows no way and says so.
pub(super) fn router_without_route(family: Family, attempts: u16) -> anyhow::Result<Place> {
    behind_router(family, attempts, |network| {
        ip(&format!("route del blackhole {network} metric {LAST}"));
    })
}

/// A router whose administrator does not want it.
pub(super) fn router_prohibits(family: Family, attempts: u16) -> anyhow::Result<Place> {
    behind_router(family, attempts, |network| {
        ip(&format!("route add prohibit {network}"));
    })
}

/// The metric of a route that every other one goes before.
const LAST: u16 = 2000;

/// Here everything is so near that the answer to a first SYN could come before its call is over, and
/// the kernel would put it off: the router is silent until all attempts are pending.
fn behind_router(family: Family, attempts: u16, speak: fn(&'static str)) -> anyhow::Result<Place> {
    require_own_namespace()?;
    let (here, router) = (Namespace::current(), Namespace::new());
    here.link(HERE, &router, [10, 9, 0, 2].into());
    let (remote, network, forwarding): (IpAddr, _, _) = match family {
        Family::Ipv4 => {
            ip("route add default via 10.9.0.2");
            ([10, 8, 0, 1].into(), "10.8.0.0/16", "ipv4/ip_forward")
        }
        Family::Ipv6 => {
            ip(&format!("addr add {HERE_V6}/64 dev veth0 nodad"));
            ip("route add default via fd09::2");
            ("fd08::1".parse()?, "fd08::/64", "ipv6/conf/all/forwarding")
        }
    };
    router.run(|| {
        if family == Family::Ipv6 {
            ip("addr add fd09::2/64 dev veth1 nodad");
        }
        ip(&format!("route add blackhole {network} metric {LAST}"));
        set(forwarding, "1")?;
        // Two answers of three would be all that it gives at once.
        set("ipv4/icmp_ratelimit", "0")
    })?;
    let remote = SocketAddr::from((remote, CLOSED_PORT));
    let inside = router.again();
    Ok(Place {
        meanwhile: Box::new(move || {
            wait_for_pending(remote, attempts.into())?;
            inside.run(|| speak(network));
            Ok(())
        }),
        leave: Box::new(|| {
            drop(router);
            Ok(())
        }),
        ..Place::new(remote)
    })
}

/// Not even a default route.
#[expect(clippy::unnecessary_wraps, reason = "as in the table")]
pub(super) fn no_route(family: Family, _: u16) -> anyhow::Result<Place> {
    let remote: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(10, 7, 0, 1).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd07, 0, 0, 0, 0, 0, 0, 1).into(),
    };
    Ok(Place::new((remote, CLOSED_PORT).into()))
}

/// All ports that the kernel may choose are somebody else's.
pub(super) fn no_port(family: Family, _: u16) -> anyhow::Result<Place> {
    let remote = SocketAddr::from((loopback(family), CLOSED_PORT));
    let [first, last] = FEW_PORTS;
    require_own_namespace()?;
    set("ipv4/ip_local_port_range", &format!("{first} {last}"))?;
    let taken = FEW_PORTS.map(|port| -> anyhow::Result<OwnedFd> {
        let socket = How::Sync.socket(remote)?;
        bind(&socket, &SocketAddr::from((remote.ip(), port)))?;
        Ok(socket)
    });
    let taken: Vec<_> = taken.into_iter().collect::<anyhow::Result<_>>()?;
    let leave = Box::new(|| {
        drop(taken);
        Ok(())
    });
    Ok(Place {
        leave,
        ..Place::new(remote)
    })
}

/// The port that an attempt asks for already has a connection to the same place.
pub(super) fn port_taken(family: Family, _: u16) -> anyhow::Result<Place> {
    let listener = TcpListener::bind((loopback(family), OPEN_PORT))?;
    let remote = listener.local_addr()?;
    let socket = How::Sync.socket(remote)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &taken(remote))?;
    connect(&socket, &remote)?;
    let client = Counted::new(TcpStream::from(socket), remote)?;
    let mut server = Counted::accept(&listener)?;
    let leave = Box::new(move || {
        say(&Line::Client(client.close("orderly")))?;
        server.drain()?;
        say(&Line::Server(server.close("orderly")))
    });
    Ok(Place {
        leave,
        ..Place::new(remote)
    })
}

/// The address that has a connection to `remote`.
pub(super) fn taken(remote: SocketAddr) -> SocketAddr {
    (remote.ip(), TAKEN_PORT).into()
}

/// Changes a setting of this thread's network namespace.
fn set(name: &str, value: &str) -> anyhow::Result<()> {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).with_context(|| format!("cannot write {path}"))
}
