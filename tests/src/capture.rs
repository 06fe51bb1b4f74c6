//! What a network namespace puts on the wire: every packet of TCP that its devices send or receive.
//!
//! What the kernel hands down in one piece, and a device takes apart, counts as the segments that it
//! is taken apart into.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};

use crate::namespace::Namespace;

/// Room for packets until they are read.
const BUFFER: usize = 256 << 20;
/// The largest packet, with what comes before it.
const LARGEST: usize = 66 << 10;
/// Options of packet sockets (`linux/if_packet.h`).
const PACKET_STATISTICS: libc::c_int = 6;
const PACKET_VNET_HDR: libc::c_int = 15;
/// `struct virtio_net_hdr`, which comes before each packet, and an Ethernet header; in the first one
/// `gso_size`.
const HEAD: usize = 10 + 14;
const GSO_SIZE: usize = 4;

/// A capture that runs.
#[derive(Debug)]
pub struct Capture {
    socket: OwnedFd,
}

/// One packet of TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where from.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
    /// Segments that it is, or is taken apart into.
    pub segments: u64,
    /// Bytes of the IP header of each.
    pub ip_header: u64,
    /// Bytes of the TCP header of each, with its options.
    pub header: u64,
    /// Bytes of payload of all.
    pub payload: u64,
    /// Sequence number of the first.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    flags: u8,
}

impl Packet {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;

    /// Bytes of its segments, each from the IP header on.
    pub fn wire_bytes(&self) -> u64 {
        self.payload + self.segments * (self.ip_header + self.header)
    }

    /// Whether it begins a direction.
    pub fn is_syn(&self) -> bool {
        self.flags & Self::SYN != 0
    }

    /// Whether it ends one.
    pub fn is_fin(&self) -> bool {
        self.flags & Self::FIN != 0
    }

    /// Whether it cuts the connection off.
    pub fn is_rst(&self) -> bool {
        self.flags & Self::RST != 0
    }

    /// The sequence number after it.
    pub fn end(&self) -> u32 {
        let control = u32::from(self.is_syn()) + u32::from(self.is_fin());
        let payload = u32::try_from(self.payload).expect("a packet is small");
        self.seq.wrapping_add(payload).wrapping_add(control)
    }
}

impl Capture {
    /// Starts on all devices of a namespace.
    pub fn start(namespace: &Namespace) -> Self {
        let socket = namespace.run(|| {
            socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::EthAll,
            )
        });
        let socket = socket.expect("a packet socket");
        setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).expect("a large buffer");
        let on: libc::c_int = 1;
        // SAFETY: the option takes an `int`, which lives.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_VNET_HDR,
                (&raw const on).cast(),
                length(&on),
            )
        };
        assert_eq!(result, 0, "PACKET_VNET_HDR");
        Self { socket }
    }

    /// The packets so far, in their order. What goes over the loopback device is there once, though
    /// it is sent and received.
    pub fn packets(self) -> Vec<Packet> {
        let mut packets = Vec::new();
        let mut buffer = vec![0; LARGEST];
        loop {
            let (length, device) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer)
            {
                Err(Errno::EAGAIN) => break,
                other => other.expect("a packet"),
            };
            let device = device.expect("a device");
            let is_loopback = device.hatype() == libc::ARPHRD_LOOPBACK;
            if !is_loopback || device.pkttype() == libc::PACKET_OUTGOING {
                packets.extend(parse(&buffer[..length]));
            }
        }
        self.assert_whole();
        packets
    }

    /// Checks that nothing was dropped.
    fn assert_whole(&self) {
        let mut counts = [0_u32; 2];
        let mut size = length(&counts);
        // SAFETY: the option gives a `tpacket_stats`, two words.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_STATISTICS,
                counts.as_mut_ptr().cast(),
                &raw mut size,
            )
        };
        assert_eq!(result, 0, "PACKET_STATISTICS");
        assert_eq!(counts[1], 0, "the capture is not whole");
    }
}

fn length<T>(value: &T) -> libc::socklen_t {
    size_of_val(value).try_into().expect("a small size")
}

/// Nothing for what is not TCP.
fn parse(bytes: &[u8]) -> Option<Packet> {
    const TCP: u8 = 6;
    let gso_size = u16::from_ne_bytes(two(bytes, GSO_SIZE)?);
    let packet = bytes.get(HEAD..)?;
    let (ip_header, length, protocol, from, to): (_, _, _, IpAddr, IpAddr) =
        match packet.first()? >> 4 {
            4 => (
                usize::from(packet[0] & 15) * 4,
                usize::from(u16::from_be_bytes(two(packet, 2)?)),
                *packet.get(9)?,
                Ipv4Addr::from(at::<4>(packet, 12)?).into(),
                Ipv4Addr::from(at::<4>(packet, 16)?).into(),
            ),
            6 => (
                40,
                40 + usize::from(u16::from_be_bytes(two(packet, 4)?)),
                *packet.get(6)?,
                Ipv6Addr::from(at::<16>(packet, 8)?).into(),
                Ipv6Addr::from(at::<16>(packet, 24)?).into(),
            ),
            _ => return None,
        };
    if protocol != TCP {
        return None;
    }
    let tcp = packet.get(ip_header..length)?;
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    let payload = tcp.len().checked_sub(header)?;
    let segments = match usize::from(gso_size) {
        0 => 1,
        size => payload.div_ceil(size).max(1),
    };
    let port = |offset| Some(u16::from_be_bytes(two(tcp, offset)?));
    let number = |offset| Some(u32::from_be_bytes(at(tcp, offset)?));
    Some(Packet {
        from: SocketAddr::new(from, port(0)?),
        to: SocketAddr::new(to, port(2)?),
        segments: segments as u64,
        ip_header: ip_header as u64,
        header: header as u64,
        payload: payload as u64,
        seq: number(4)?,
        ack: number(8)?,
        flags: *tcp.get(13)?,
    })
}

fn two(bytes: &[u8], offset: usize) -> Option<[u8; 2]> {
    at(bytes, offset)
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3,000 bytes of payload from port 80 to 9999, to be taken apart into pieces of 1,448.
    fn packet(version: u8) -> Vec<u8> {
        let ip_header: usize = if version == 4 { 20 } else { 40 };
        let mut bytes = vec![0; HEAD + ip_header + 32 + 3000];
        bytes[GSO_SIZE..][..2].copy_from_slice(&1448_u16.to_ne_bytes());
        let ip = &mut bytes[HEAD..];
        if version == 4 {
            (ip[0], ip[9]) = (0x45, 6);
            ip[2..4].copy_from_slice(&3052_u16.to_be_bytes());
        } else {
            (ip[0], ip[6]) = (0x60, 6);
            ip[4..6].copy_from_slice(&3032_u16.to_be_bytes());
        }
        let tcp = &mut ip[ip_header..];
        (tcp[1], tcp[12], tcp[13]) = (80, 8 << 4, 0x11);
        tcp[2..4].copy_from_slice(&9999_u16.to_be_bytes());
        tcp[4..8].copy_from_slice(&7_u32.to_be_bytes());
        bytes
    }

    #[test]
    fn a_large_packet_is_the_segments_that_are_made_of_it() {
        for (version, header) in [(4, 20 + 32), (6, 40 + 32)] {
            let parsed = parse(&packet(version)).expect("a packet");
            assert_eq!((parsed.from.port(), parsed.to.port()), (80, 9999));
            assert_eq!((parsed.segments, parsed.payload), (3, 3000));
            assert_eq!(parsed.wire_bytes(), 3000 + 3 * header);
            assert!(parsed.is_fin() && !parsed.is_syn());
            assert_eq!(parsed.end(), 7 + 3000 + 1);
        }
    }

    #[test]
    fn what_is_cut_short_or_not_tcp_is_no_packet() {
        let mut udp = packet(4);
        udp[HEAD + 9] = 17;
        assert_eq!(parse(&udp), None);
        let whole = packet(4);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None);
        }
    }
}
