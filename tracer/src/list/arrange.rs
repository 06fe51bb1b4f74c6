//! From sockets as the kernel dumps them to a list: each once, with its direction, in order.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::socket::{Socket, State};
use crate::record::Direction;

/// Of one namespace, all of its sockets. A dump takes time, and a connection that ends meanwhile is
/// seen twice, as two kernel objects: it is kept as it was first.
pub fn settle(sockets: &mut Vec<Socket>) {
    drop_twins(sockets);
    infer_directions(sockets);
}

fn drop_twins(sockets: &mut Vec<Socket>) {
    let mut seen = HashSet::new();
    sockets.retain(|socket| {
        let ends = (socket.local, socket.remote, socket.interface);
        // Any number may listen on, or be bound to, one address.
        socket.remote.is_none() || seen.insert(ends)
    });
}

fn infer_directions(sockets: &mut [Socket]) {
    let mut listeners: HashMap<u16, Vec<(IpAddr, bool)>> = HashMap::new();
    for socket in sockets
        .iter()
        .filter(|socket| socket.state == State::Listen)
    {
        let on = listeners.entry(socket.local.port()).or_default();
        on.push((socket.local.ip(), socket.dual_stack));
    }
    for socket in sockets {
        let ip = socket.local.ip();
        let listened = |(on, dual_stack): &(IpAddr, bool)| {
            *on == ip || (on.is_unspecified() && (*dual_stack || on.is_ipv4() == ip.is_ipv4()))
        };
        socket.direction = match (socket.state, socket.remote) {
            (_, None) => None,
            (State::SynSent, _) => Some(Direction::Outbound),
            (State::SynRecv, _) => Some(Direction::Inbound),
            _ => {
                let on = listeners.get(&socket.local.port());
                let inbound = on.is_some_and(|on| on.iter().any(listened));
                Some(if inbound {
                    Direction::Inbound
                } else {
                    Direction::Outbound
                })
            }
        };
    }
}

/// By namespace, listening ones first, then by addresses and ports as numbers.
pub fn sort(sockets: &mut [Socket]) {
    sockets.sort_by_key(|socket| {
        let listens = socket.state == State::Listen;
        let remote = socket.remote.map(|remote| (remote.ip(), remote.port()));
        let local = (socket.local.ip(), socket.local.port());
        (
            socket.netns,
            !listens,
            local,
            remote,
            socket.interface,
            socket.inode,
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::socket::samples::{connection, listener};

    #[test]
    fn a_connection_is_inbound_where_something_listens() {
        let cases = [
            // listener, takes both, local end, inbound
            ("0.0.0.0:80", false, "10.0.0.1:80", true),
            ("10.0.0.1:80", false, "10.0.0.1:80", true),
            ("10.0.0.2:80", false, "10.0.0.1:80", false),
            ("0.0.0.0:80", false, "10.0.0.1:81", false),
            ("0.0.0.0:80", false, "[2001:db8::1]:80", false),
            ("[::]:80", true, "[2001:db8::1]:80", true),
            ("[::]:80", true, "10.0.0.1:80", true),
            ("[::]:80", false, "10.0.0.1:80", false),
            ("[::]:80", false, "[2001:db8::1]:80", true),
        ];
        for (on, dual_stack, local, inbound) in cases {
            let mut sockets = vec![connection(local, "9.9.9.9:1000"), listener(on)];
            sockets[1].dual_stack = dual_stack;
            settle(&mut sockets);
            let expected = if inbound {
                Direction::Inbound
            } else {
                Direction::Outbound
            };
            assert_eq!(
                sockets[0].direction,
                Some(expected),
                "{on} {dual_stack} {local}"
            );
            assert_eq!(sockets[1].direction, None);
        }
    }

    #[test]
    fn the_first_steps_of_a_connection_tell_their_direction_by_themselves() {
        let mut sockets = vec![
            Socket {
                state: State::SynSent,
                ..connection("1.1.1.1:80", "2.2.2.2:5")
            },
            Socket {
                state: State::SynRecv,
                ..connection("1.1.1.1:81", "2.2.2.2:5")
            },
            Socket {
                state: State::Close,
                remote: None,
                ..connection("1.1.1.1:80", "2.2.2.2:5")
            },
            listener("0.0.0.0:80"),
        ];
        settle(&mut sockets);
        let directions: Vec<_> = sockets.iter().map(|socket| socket.direction).collect();
        assert_eq!(
            directions,
            [
                Some(Direction::Outbound),
                Some(Direction::Inbound),
                None,
                None
            ]
        );
    }

    #[test]
    fn a_connection_that_ended_during_the_dump_is_there_once_and_shared_ports_are_all_there() {
        let ended = |state| Socket {
            state,
            ..connection("1.1.1.1:80", "2.2.2.2:5")
        };
        let mut sockets = vec![
            ended(State::Established),
            listener("0.0.0.0:80"),
            listener("0.0.0.0:80"),
            ended(State::TimeWait),
            Socket {
                interface: Some(2),
                ..ended(State::TimeWait)
            },
        ];
        settle(&mut sockets);
        let states: Vec<_> = sockets.iter().map(|socket| socket.state).collect();
        assert_eq!(
            states,
            [
                State::Established,
                State::Listen,
                State::Listen,
                State::TimeWait
            ]
        );
    }

    #[test]
    fn order_is_by_number_with_listening_ones_first() {
        let mut sockets = vec![
            connection("10.0.0.10:80", "9.9.9.9:2"),
            connection("[2001:db8::1]:1", "[2001:db8::2]:1"),
            connection("10.0.0.9:8080", "9.9.9.9:2"),
            connection("10.0.0.9:80", "10.9.9.9:1"),
            connection("10.0.0.9:80", "9.9.9.9:10"),
            connection("10.0.0.9:80", "9.9.9.9:9"),
            listener("[::]:80"),
            listener("0.0.0.0:443"),
            Socket {
                netns: 0,
                ..connection("200.0.0.1:1", "1.1.1.1:1")
            },
        ];
        sort(&mut sockets);
        let shown = sockets.iter().map(|socket| {
            let remote = socket
                .remote
                .map_or(String::new(), |remote| format!(" {remote}"));
            format!("{}{remote}", socket.local)
        });
        let expected = [
            "200.0.0.1:1 1.1.1.1:1",
            "0.0.0.0:443",
            "[::]:80",
            "10.0.0.9:80 9.9.9.9:9",
            "10.0.0.9:80 9.9.9.9:10",
            "10.0.0.9:80 10.9.9.9:1",
            "10.0.0.9:8080 9.9.9.9:2",
            "10.0.0.10:80 9.9.9.9:2",
            "[2001:db8::1]:1 [2001:db8::2]:1",
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }
}
