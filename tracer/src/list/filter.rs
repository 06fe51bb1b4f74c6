//! Which sockets the user wants.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use compact_str::CompactString;

use super::socket::{Socket, StateSet};
use crate::address::{self, Class, ClassSet};
use crate::choose::source::Prefixes;
use crate::options::FilterOptions;
use crate::ports::PortSet;

/// Which sockets are listed: those that pass every test given. A test on the peer is passed by no
/// socket that has none, but the one on peers to leave out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// As of a run, but that processes are those that have the socket open, and that namespaces are
    /// where one looks.
    pub options: FilterOptions,
    /// What the peer's address is; `None` = any.
    pub classes: Option<ClassSet>,
    /// `None` = all.
    pub states: Option<StateSet>,
}

impl Filter {
    /// Keeps what passes every test but that on processes. `sockets` are all of one namespace.
    pub fn retain(&self, sockets: &mut Vec<Socket>) {
        let options = &self.options;
        let own = if options.loopback {
            HashSet::new()
        } else {
            sockets.iter().map(|socket| socket.local.ip()).collect()
        };
        sockets.retain(|socket| {
            let remote = socket.remote;
            let one_of =
                |uids: &[u32]| uids.is_empty() || socket.uid.is_some_and(|uid| uids.contains(&uid));
            let passes_class = |classes: &ClassSet| {
                remote.is_some_and(|remote| classes.contains(&address::of(remote.ip())))
            };
            let choice = &options.choice;
            let is_in = |set: &Prefixes, end: Option<SocketAddr>| {
                end.is_some_and(|end| set.set().contains(end.ip()))
            };
            let passes_remote =
                |ports: &PortSet| remote.is_some_and(|remote| ports.contains(remote.port()));
            self.states
                .is_none_or(|states| states.contains(socket.state))
                && options
                    .family
                    .is_none_or(|family| family == socket.family())
                && options
                    .direction
                    .is_none_or(|direction| socket.direction == Some(direction))
                && options
                    .local_ports
                    .as_ref()
                    .is_none_or(|ports| ports.contains(socket.local.port()))
                && options.remote_ports.as_ref().is_none_or(passes_remote)
                && self.classes.as_ref().is_none_or(passes_class)
                && one_of(&options.uids)
                && choice.only.as_ref().is_none_or(|set| is_in(set, remote))
                && !choice
                    .exclude
                    .as_ref()
                    .is_some_and(|set| is_in(set, remote))
                && choice
                    .local
                    .as_ref()
                    .is_none_or(|set| is_in(set, Some(socket.local)))
                && (options.loopback || !is_loopback(socket, &own))
        });
    }

    /// Whether one of the processes that have it open passes the tests on those; `program` finds the
    /// path of a process's program.
    pub fn passes_holders(
        &self,
        socket: &Socket,
        program: impl Fn(u32) -> Option<CompactString>,
    ) -> bool {
        let pids = &self.options.pids;
        let choice = &self.options.choice;
        if pids.is_empty() && choice.comms.is_empty() && choice.exe.is_empty() {
            return true;
        }
        socket.holders.iter().any(|holder| {
            (pids.is_empty() || pids.contains(&holder.pid))
                && choice.passes_comm(&holder.name)
                && (choice.exe.is_empty() || choice.exe.pass(program(holder.pid).as_deref()))
        })
    }
}

/// Whether it does not leave the host: the peer is one of `own`, the local addresses of the
/// namespace's sockets. The peer's own socket is among them.
fn is_loopback(socket: &Socket, own: &HashSet<IpAddr>) -> bool {
    let loopback = |ip| address::of(ip).class == Class::Loopback;
    match socket.remote {
        None => loopback(socket.local.ip()),
        Some(remote) => loopback(remote.ip()) || own.contains(&remote.ip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::socket::samples::{connection, listener};
    use crate::list::socket::{Holder, State};
    use crate::record::{Direction, Family};

    fn sockets() -> Vec<Socket> {
        vec![
            listener("0.0.0.0:80"),
            listener("127.0.0.1:53"),
            listener("[::]:443"),
            Socket {
                uid: Some(33),
                direction: Some(Direction::Inbound),
                ..connection("10.0.0.1:80", "8.8.8.8:5000")
            },
            Socket {
                direction: Some(Direction::Outbound),
                ..connection("10.0.0.1:6000", "10.0.0.9:5432")
            },
            Socket {
                state: State::TimeWait,
                uid: None,
                direction: Some(Direction::Outbound),
                ..connection("[2001:db8::1]:6001", "[2a00::1]:443")
            },
            connection("127.0.0.1:53", "127.0.0.1:7000"),
            connection("10.0.0.2:80", "10.0.0.1:7001"),
            connection("10.0.0.1:7001", "10.0.0.2:80"),
        ]
    }

    fn kept(filter: &Filter) -> Vec<u16> {
        let mut sockets = sockets();
        filter.retain(&mut sockets);
        sockets.iter().map(|socket| socket.local.port()).collect()
    }

    #[test]
    fn without_a_test_everything_is_listed() {
        assert_eq!(kept(&Filter::default()).len(), sockets().len());
    }

    #[test]
    fn each_test_keeps_its_own() {
        let none = Filter::default;
        let run = |options| Filter { options, ..none() };
        let cases: [(Filter, &[u16]); 9] = [
            (
                run(FilterOptions {
                    local_ports: Some("80".parse().unwrap()),
                    ..FilterOptions::default()
                }),
                &[80, 80, 80],
            ),
            (
                run(FilterOptions {
                    remote_ports: Some("443,5432".parse().unwrap()),
                    ..FilterOptions::default()
                }),
                &[6000, 6001],
            ),
            (
                run(FilterOptions {
                    uids: vec![33],
                    ..FilterOptions::default()
                }),
                &[80],
            ),
            (
                run(FilterOptions {
                    family: Some(Family::Ipv6),
                    ..FilterOptions::default()
                }),
                &[443, 6001],
            ),
            (
                run(FilterOptions {
                    direction: Some(Direction::Outbound),
                    ..FilterOptions::default()
                }),
                &[6000, 6001],
            ),
            (
                run(FilterOptions {
                    loopback: false,
                    ..FilterOptions::default()
                }),
                &[80, 443, 80, 6000, 6001],
            ),
            (
                Filter {
                    classes: Some("public".parse().unwrap()),
                    ..none()
                },
                &[80, 6001],
            ),
            (
                Filter {
                    classes: Some("loopback".parse().unwrap()),
                    ..none()
                },
                &[53],
            ),
            (
                Filter {
                    states: Some("listen,time-wait".parse().unwrap()),
                    ..none()
                },
                &[80, 53, 443, 6001],
            ),
        ];
        for (filter, expected) in cases {
            assert_eq!(kept(&filter), expected, "{filter:?}");
        }
    }

    #[test]
    fn tests_add_up() {
        let filter = Filter {
            options: FilterOptions {
                local_ports: Some("53,80".parse().unwrap()),
                loopback: false,
                ..FilterOptions::default()
            },
            states: Some("listen".parse().unwrap()),
            ..Filter::default()
        };
        assert_eq!(kept(&filter), [80]);
    }

    #[test]
    fn any_holder_passes_the_test_on_processes() {
        let holder = |pid| Holder {
            pid,
            name: "x".into(),
            start_ns: 0,
        };
        let socket = Socket {
            holders: vec![holder(5), holder(6)],
            ..listener("0.0.0.0:80")
        };
        let filter = |pids: &[u32]| Filter {
            options: FilterOptions {
                pids: pids.into(),
                ..FilterOptions::default()
            },
            ..Filter::default()
        };
        assert!(filter(&[]).passes_holders(&socket, |_| None));
        assert!(filter(&[1, 6]).passes_holders(&socket, |_| None));
        assert!(!filter(&[7]).passes_holders(&socket, |_| None));
        assert!(!filter(&[7]).passes_holders(&listener("0.0.0.0:80"), |_| None));
    }
}
