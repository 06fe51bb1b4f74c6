//! The same list from `/proc/net/tcp` and `tcp6`, where the kernel has no `sock_diag`: without byte
//! counts, and slower.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;

use super::socket::{Socket, State};
use crate::namespaces::Namespace;
use crate::record::Family;

/// All TCP sockets of `namespace`, as they come.
pub(super) fn read(namespace: &Namespace) -> io::Result<Vec<Socket>> {
    // In a thread of its own: nobody else's namespace changes.
    let texts = thread::scope(|scope| {
        let inside = scope.spawn(|| {
            namespace.enter()?;
            let four = std::fs::read_to_string("/proc/thread-self/net/tcp")?;
            // Not there without IPv6.
            let six = std::fs::read_to_string("/proc/thread-self/net/tcp6").unwrap_or_default();
            Ok([(four, Family::Ipv4), (six, Family::Ipv6)])
        });
        let failed = |_| Err(io::Error::other("the thread in its namespace failed"));
        inside.join().unwrap_or_else(failed)
    })?;
    let parse = |(text, family): &(String, Family)| {
        let lines = text.lines().skip(1);
        let sockets = lines.filter_map(|line| parse(line, *family, namespace.inode));
        sockets.collect::<Vec<_>>()
    };
    Ok(texts.iter().flat_map(parse).collect())
}

/// One line; `None` if it is none, or of a state that has no name yet.
fn parse(line: &str, family: Family, netns: u32) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, remote) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    let state = State::from_number(u8::from_str_radix(fields.get(3)?, 16).ok()?)?;
    let uid: u32 = fields.get(7)?.parse().ok()?;
    let inode: u32 = fields.get(9)?.parse().ok()?;
    let has_peer = remote.port() != 0 && state != State::Listen;
    Some(Socket {
        netns,
        state,
        direction: None,
        local,
        remote: has_peer.then_some(remote),
        socket_family: family,
        // Not told; nearly all do.
        dual_stack: state == State::Listen && local.is_ipv6() && local.ip().is_unspecified(),
        interface: None,
        inode: (inode != 0).then_some(inode),
        // Zero is also what stands for nobody.
        uid: (inode != 0 || uid != 0).then_some(uid),
        bytes: None,
        accept_queue: None,
        holders: Vec::new(),
    })
}

/// `0100007F:0050`: words of the address as this machine has them in memory, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str, family: Family) -> Option<Socket> {
        parse(text, family, 1)
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_is_a_socket() {
        let listening = "   0: 0100007F:0050 00000000:0000 0A 00000000:00000003 00:00000000 \
                         00000000    33        0 4711 1 0000000000000000 100 0 0 10 0";
        let listening = socket(listening, Family::Ipv4).unwrap();
        assert_eq!(listening.local.to_string(), "127.0.0.1:80");
        assert_eq!((listening.state, listening.remote), (State::Listen, None));
        assert_eq!((listening.uid, listening.inode), (Some(33), Some(4711)));
        let ended = " 12: B80D0120000000000000000001000000:A000 \
                     B80D0120000000000000000002000000:01BB 06 00000000:00000000 03:00001770 \
                     00000000     0        0 0 3 0000000000000000";
        let ended = socket(ended, Family::Ipv6).unwrap();
        assert_eq!(ended.local.to_string(), "[2001:db8::1]:40960");
        assert_eq!(ended.remote.unwrap().to_string(), "[2001:db8::2]:443");
        assert_eq!((ended.uid, ended.inode), (None, None));
        let mapped = "1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:0051 \
                      01 0:0 0:0 0 0 0 5";
        let mapped = socket(mapped, Family::Ipv6).unwrap();
        assert_eq!(mapped.local.to_string(), "127.0.0.1:80");
        assert_eq!(mapped.socket_family, Family::Ipv6);
    }

    #[test]
    fn what_is_no_line_is_nothing() {
        let whole = "0: 0100007F:0050 0100007F:0051 01 0:0 0:0 0 0 0 5";
        assert!(socket(whole, Family::Ipv4).is_some());
        for end in 0..whole.len() - 1 {
            assert_eq!(socket(&whole[..end], Family::Ipv4), None, "{end}");
        }
        for broken in ["0100007é:0050", "0100007F:", ":50", "01:50", "0100007F0:50"] {
            assert_eq!(address(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_sockets_of_this_process_are_in_the_list() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = listener.local_addr().unwrap();
        let sockets = read(&crate::namespaces::all(&[])[0]).unwrap();
        let found = sockets.iter().find(|socket| socket.local == ours);
        assert_eq!(found.unwrap().state, State::Listen);
    }
}
