//! An attempt that is reset in its handshake. The only half of a handshake that an attempt can have
//! done is a simultaneous open: its SYN crossed with one that came. Here its own was dropped by a
//! listener without room, and the other is made by hand; the listener then gets an answer to a SYN
//! that it never sent, and resets.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with,
};

use super::Family;
use super::network::{Place, full_queue};
use super::pending::wait_for_pending;

/// The protocol number.
const TCP: u8 = 6;

const SYN: u8 = 2;
const HEADER: usize = 20;

/// A place that answers every SYN with one of its own.
pub(super) fn half_done(family: Family, attempts: u16) -> anyhow::Result<Place> {
    let place = full_queue(family, attempts)?;
    let remote = place.remote;
    let meanwhile = Box::new(move || {
        let raw = raw_socket(remote)?;
        for port in wait_for_pending(remote, attempts.into())?.0 {
            let to = SocketAddr::from((remote.ip(), port));
            let host = SocketAddr::from((remote.ip(), 0));
            let packet = [ip_header(remote.ip()), syn(remote, to).to_vec()].concat();
            sendto(&raw, &packet, SendFlags::empty(), &host)?;
        }
        Ok(())
    });
    Ok(Place { meanwhile, ..place })
}

/// Not one for TCP, but for packets with a header of IP: nothing but the attempts is TCP to anybody.
fn raw_socket(to: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if to.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC;
    socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW))
}

/// From `ip` to the same address; the kernel adds lengths and checksum of IPv4.
fn ip_header(ip: IpAddr) -> Vec<u8> {
    const LIFE: u8 = 64;
    match ip {
        IpAddr::V4(ip) => {
            // Version 4, five words of 32 bits.
            let start = [0x45, 0, 0, 0, 0, 0, 0, 0, LIFE, TCP, 0, 0];
            [&start[..], &ip.octets(), &ip.octets()].concat()
        }
        IpAddr::V6(ip) => {
            let length = u8::try_from(HEADER).expect("a short header");
            let start = [0x60, 0, 0, 0, 0, length, TCP, LIFE];
            [&start[..], &ip.octets(), &ip.octets()].concat()
        }
    }
}

/// A TCP header that opens a connection.
fn syn(from: SocketAddr, to: SocketAddr) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..2].copy_from_slice(&from.port().to_be_bytes());
    header[2..4].copy_from_slice(&to.port().to_be_bytes());
    header[4..8].copy_from_slice(&0x0102_0304_u32.to_be_bytes());
    // Its length, in words of 32 bits.
    header[12] = 5 << 4;
    header[13] = SYN;
    header[14..16].copy_from_slice(&0xffff_u16.to_be_bytes());
    let sum = checksum(from.ip(), to.ip(), &header);
    header[16..18].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Over the header and what TCP takes from that of IP.
fn checksum(from: IpAddr, to: IpAddr, header: &[u8; HEADER]) -> u16 {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let length = u8::try_from(HEADER).expect("a short header");
    let parts = [&octets(from)[..], &octets(to), &[0, TCP, 0, length], header];
    let bytes = parts.concat();
    let words = bytes
        .chunks(2)
        .map(|word| u16::from_be_bytes([word[0], word[1]]));
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checked_header_sums_up_to_nothing() {
        for (from, to) in [("127.0.0.1:80", "127.0.0.1:90"), ("[::1]:80", "[::1]:90")] {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            assert_eq!(checksum(from.ip(), to.ip(), &syn(from, to)), 0);
        }
    }
}
