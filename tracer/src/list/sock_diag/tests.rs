use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DoneMessage, ErrorMessage};
use netlink_packet_sock_diag::inet::InetResponseHeader;
use smallvec::smallvec;

use super::*;

fn response(family: u8, state: State, source: IpAddr, destination: IpAddr) -> InetResponse {
    let header = InetResponseHeader {
        family,
        state: state as u8,
        timer: None,
        socket_id: SocketId {
            source_port: 80,
            destination_port: if state == State::Listen { 0 } else { 5000 },
            source_address: source,
            destination_address: destination,
            interface_id: 0,
            cookie: [0; 8],
        },
        recv_queue: 3,
        send_queue: 128,
        uid: 0,
        inode: 9,
    };
    InetResponse {
        header,
        nlas: smallvec![],
    }
}

fn v4(state: State) -> InetResponse {
    let (ours, theirs) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(9, 9, 9, 9));
    response(AF_INET, state, ours.into(), theirs.into())
}

fn encode(payload: NetlinkPayload<SockDiagMessage>) -> Vec<u8> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn found(response: InetResponse) -> Vec<u8> {
    encode(SockDiagMessage::InetResponse(Box::new(response)).into())
}

#[test]
fn a_listening_socket_has_no_peer_and_a_queue() {
    let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let mut response = response(AF_INET6, State::Listen, any, any);
    let listening = socket(&response, 5).unwrap();
    assert_eq!((listening.remote, listening.bytes), (None, None));
    assert!(listening.dual_stack);
    let queue = AcceptQueue {
        length: 3,
        limit: 128,
    };
    assert_eq!(listening.accept_queue, Some(queue));
    assert_eq!(
        (listening.netns, listening.inode, listening.uid),
        (5, Some(9), Some(0))
    );
    response.nlas = smallvec![Nla::SkV6Only(true)];
    assert!(!socket(&response, 5).unwrap().dual_stack);
}

#[test]
fn ipv4_on_an_ipv6_socket_is_ipv4() {
    let mapped = |last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped());
    let found = socket(
        &response(AF_INET6, State::Established, mapped(1), mapped(2)),
        1,
    )
    .unwrap();
    assert_eq!(found.local.to_string(), "10.0.0.1:80");
    assert_eq!(found.remote.unwrap().to_string(), "10.0.0.2:5000");
    assert_eq!(
        (found.family(), found.socket_family),
        (Family::Ipv4, Family::Ipv6)
    );
}

#[test]
fn a_socket_of_nobody_has_no_user() {
    let mut response = v4(State::TimeWait);
    response.header.inode = 0;
    let of_nobody = socket(&response, 1).unwrap();
    assert_eq!((of_nobody.inode, of_nobody.uid), (None, None));
    response.header.uid = 33;
    assert_eq!(socket(&response, 1).unwrap().uid, Some(33));
    response.header.state = 99;
    assert_eq!(socket(&response, 1), None);
}

#[test]
fn messages_are_read_up_to_the_last() {
    let mut bytes = found(v4(State::Established));
    bytes.extend(found(v4(State::CloseWait)));
    let mut states = Vec::new();
    let mut each = |response: InetResponse| states.push(response.header.state);
    assert!(!read_messages(&bytes, &mut each).unwrap());
    let mut done = DoneMessage::default();
    done.code = 0;
    bytes.extend(encode(NetlinkPayload::Done(done)));
    bytes.extend(found(v4(State::Listen)));
    assert!(read_messages(&bytes, &mut each).unwrap());
    assert_eq!(states, [1, 8, 1, 8]);
}

#[test]
fn refusals_of_the_kernel_are_told_with_a_cure() {
    let mut refusal = ErrorMessage::default();
    refusal.code = std::num::NonZeroI32::new(-libc::ENOENT);
    let refused = read_messages(&encode(NetlinkPayload::Error(refusal)), &mut |_| ());
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("modprobe tcp_diag"), "{text}");
    let mut done = DoneMessage::default();
    done.code = -libc::ENOMEM;
    let failed = read_messages(&encode(NetlinkPayload::Done(done)), &mut |_| ());
    assert!(failed.unwrap_err().to_string().contains("memory"));
}

#[test]
fn garbage_is_an_error_and_no_panic() {
    let whole = found(v4(State::Established));
    for length in 1..whole.len() {
        let read = read_messages(&whole[..length], &mut |_| ());
        assert!(matches!(read, Err(DiagError::Format(_))), "{length}");
    }
    for byte in 0..whole.len() {
        let mut broken = whole.clone();
        broken[byte] ^= 0xff;
        let _ = read_messages(&broken, &mut |_| ());
    }
    for length in [0_u32, 1, 15] {
        let mut broken = whole.clone();
        broken[..4].copy_from_slice(&length.to_ne_bytes());
        let _ = read_messages(&broken, &mut |_| ());
    }
}

#[test]
fn the_sockets_of_this_process_are_in_the_list() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = listener.local_addr().unwrap();
    let own = &crate::namespaces::all(&[])[0];
    let sockets = match read(own) {
        // A kernel without it is told as such.
        Err(DiagError::Unsupported(_)) => return,
        sockets => sockets.unwrap(),
    };
    let found = sockets.iter().find(|socket| socket.local == ours);
    assert_eq!(found.unwrap().state, State::Listen);
}
