//! The kernel's own list of TCP sockets, by `NETLINK_SOCK_DIAG`. It needs no rights.
//!
//! `netlink-packet-sock-diag` and `netlink-sys` (of the rust-netlink project) know the messages and
//! the socket, and bring nothing else along; neli is larger and has no messages of `sock_diag`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket as Netlink, SocketAddr as NetlinkAddr};

use super::socket::{AcceptQueue, Socket, State};
use super::tcp_info::{self, Queues};
use crate::namespaces::Namespace;
use crate::record::Family;

/// The kernel fills at most half of it with a message of a dump.
const BUFFER_BYTES: usize = 64 * 1024;
/// Since Linux 6.8 sockets that are only bound are listed, too, if asked for: `TCP_BOUND_INACTIVE`.
/// Older kernels have no socket in this state.
const BOUND: u32 = 1 << 13;

/// Why sockets cannot be listed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "every variant has its sentence")]
pub enum DiagError {
    #[error(
        "cannot enter network namespace {inode}: {source}; it takes CAP_SYS_ADMIN, run with sudo"
    )]
    Enter { inode: u32, source: io::Error },
    #[error(
        "this kernel cannot list TCP sockets (sock_diag): {0}; load its module with \
         `sudo modprobe tcp_diag`, or build it with CONFIG_INET_DIAG"
    )]
    Unsupported(io::Error),
    #[error("cannot ask the kernel for its TCP sockets (sock_diag): {0}")]
    Io(#[from] io::Error),
    #[error("the kernel's list of TCP sockets (sock_diag) cannot be read: {0}")]
    Format(String),
}

/// All TCP sockets of `namespace`, as they come.
pub fn read(namespace: &Namespace) -> Result<Vec<Socket>, DiagError> {
    let netlink = open(namespace)?;
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        dump(&netlink, family, |response| {
            sockets.extend(socket(&response, namespace.inode));
        })?;
    }
    Ok(sockets)
}

/// A socket that stays in the namespace where it was made, whoever uses it.
fn open(namespace: &Namespace) -> Result<Netlink, DiagError> {
    let connect = || {
        let mut netlink = Netlink::new(NETLINK_SOCK_DIAG)?;
        netlink.bind_auto()?;
        netlink.connect(&NetlinkAddr::new(0, 0))?;
        Ok(netlink)
    };
    if namespace.file.is_none() {
        return connect().map_err(unsupported);
    }
    // In a thread of its own: nobody else's namespace changes.
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            namespace.enter().map_err(|errno| DiagError::Enter {
                inode: namespace.inode,
                source: errno.into(),
            })?;
            connect().map_err(unsupported)
        });
        let failed = |_| Err(io::Error::other("the thread in its namespace failed").into());
        inside.join().unwrap_or_else(failed)
    })
}

/// What a kernel says that has no `sock_diag`, or not for TCP.
fn unsupported(error: io::Error) -> DiagError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EINVAL) => {
            DiagError::Unsupported(error)
        }
        _ => DiagError::Io(error),
    }
}

fn request(family: u8) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::from_bits_retain(StateFlags::all().bits() | BOUND),
        socket_id: SocketId::new_v4(),
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn dump(
    netlink: &Netlink,
    family: u8,
    mut each: impl FnMut(InetResponse),
) -> Result<(), DiagError> {
    netlink.send(&request(family), 0)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = match netlink.recv(&mut &mut buffer[..], libc::MSG_TRUNC) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            received => received?,
        };
        let bytes = buffer
            .get(..length)
            .ok_or_else(|| DiagError::Format(format!("a message of {length} bytes")))?;
        if read_messages(bytes, &mut each)? {
            return Ok(());
        }
    }
}

/// Hands on the sockets in `bytes`; returns whether they were the last ones.
fn read_messages(mut bytes: &[u8], each: &mut impl FnMut(InetResponse)) -> Result<bool, DiagError> {
    while !bytes.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(bytes)
            .map_err(|error| DiagError::Format(error.to_string()))?;
        match message.payload {
            NetlinkPayload::Done(done) if done.code == 0 => return Ok(true),
            NetlinkPayload::Done(done) => {
                return Err(unsupported(io::Error::from_raw_os_error(
                    done.code.saturating_neg(),
                )));
            }
            NetlinkPayload::Error(error) if error.code.is_some() => {
                return Err(unsupported(error.to_io()));
            }
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                each(*response);
            }
            _ => {}
        }
        // Messages are aligned to four bytes; a header is longer than that.
        let length = message.header.length as usize;
        bytes = bytes
            .get(length.next_multiple_of(4).max(4)..)
            .unwrap_or_default();
    }
    Ok(false)
}

/// `None` of a state that has no name yet.
fn socket(response: &InetResponse, netns: u32) -> Option<Socket> {
    let header = &response.header;
    let state = State::from_number(header.state)?;
    let id = &header.socket_id;
    let local = address(id.source_address, id.source_port);
    let remote = address(id.destination_address, id.destination_port);
    let has_peer = id.destination_port != 0 && state != State::Listen;
    let info = response.nlas.iter().find_map(|nla| match nla {
        Nla::TcpInfo(info) => Some(info.as_slice()),
        _ => None,
    });
    let v6_only = response
        .nlas
        .iter()
        .any(|nla| matches!(nla, Nla::SkV6Only(true)));
    let queues = Queues {
        receive: header.recv_queue,
        send: header.send_queue,
    };
    let inode = (header.inode != 0).then_some(header.inode);
    Some(Socket {
        netns,
        state,
        direction: None,
        local,
        remote: has_peer.then_some(remote),
        socket_family: if header.family == AF_INET {
            Family::Ipv4
        } else {
            Family::Ipv6
        },
        dual_stack: state == State::Listen
            && local.is_ipv6()
            && local.ip().is_unspecified()
            && !v6_only,
        interface: (id.interface_id != 0).then_some(id.interface_id),
        inode,
        // Zero is also what stands for nobody.
        uid: (inode.is_some() || header.uid != 0).then_some(header.uid),
        bytes: info
            .filter(|_| has_peer)
            .and_then(|info| tcp_info::bytes(info, state, queues)),
        accept_queue: (state == State::Listen).then_some(AcceptQueue {
            length: header.recv_queue,
            limit: header.send_queue,
        }),
        holders: Vec::new(),
    })
}

fn address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

#[cfg(test)]
mod tests;
