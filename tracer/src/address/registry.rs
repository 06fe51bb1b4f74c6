//! The registries as data:
//!
//! - IANA IPv4 and IPv6 Special-Purpose Address Registries, both as of 2025-10-09
//! - IPv4 Multicast Address Space Registry, its blocks
//! - IPv6 Multicast Address Space Registry, its scopes (RFC 7346), as of 2025-04-07
//! - of the Internet Protocol Version 6 Address Space: what is unicast, and the blocks with a past
//!
//! No multicast registry says what is globally reachable: that is what may leave a site.

use super::{Class, Entry};

/// Addresses whose bits under `mask` are `bits`.
#[derive(Clone, Copy, Debug)]
pub struct Row<T> {
    /// What the bits must be.
    pub bits: T,
    /// Which bits; those of a prefix, but for the scope of a multicast address.
    pub mask: T,
    /// What such an address is.
    pub entry: Entry,
}

/// What is in no row of [`V4`].
pub const GLOBAL_V4: Entry = entry(Class::Global, "Global Unicast", "RFC 791", true);

/// What is in no row of [`V6`].
pub const UNASSIGNED_V6: Entry = entry(Class::Reserved, "Reserved by IETF", "RFC 4291", false);

/// IPv4, the most specific first.
#[rustfmt::skip]
pub static V4: [Row<u32>; 42] = {
    use Class::{
        Benchmarking, Broadcast, Documentation, LinkLocal, Loopback, Multicast, PrivateUse, Protocol,
        Reserved, Shared, Unspecified,
    };
    longest_first_v4([
        v4([0, 0, 0, 0], 8, Reserved, "This network", "RFC 791", false),
        v4([0, 0, 0, 0], 32, Unspecified, "This host on this network", "RFC 1122", false),
        v4([10, 0, 0, 0], 8, PrivateUse, "Private-Use", "RFC 1918", false),
        v4([100, 64, 0, 0], 10, Shared, "Shared Address Space", "RFC 6598", false),
        v4([127, 0, 0, 0], 8, Loopback, "Loopback", "RFC 1122", false),
        v4([169, 254, 0, 0], 16, LinkLocal, "Link Local", "RFC 3927", false),
        v4([172, 16, 0, 0], 12, PrivateUse, "Private-Use", "RFC 1918", false),
        v4([192, 0, 0, 0], 24, Protocol, "IETF Protocol Assignments", "RFC 6890", false),
        v4([192, 0, 0, 0], 29, Protocol, "IPv4 Service Continuity Prefix", "RFC 7335", false),
        v4([192, 0, 0, 8], 32, Protocol, "IPv4 dummy address", "RFC 7600", false),
        v4([192, 0, 0, 9], 32, Protocol, "Port Control Protocol Anycast", "RFC 7723", true),
        v4([192, 0, 0, 10], 32, Protocol, "Traversal Using Relays around NAT Anycast", "RFC 8155", true),
        v4([192, 0, 0, 170], 32, Protocol, "NAT64/DNS64 Discovery", "RFC 8880", false),
        v4([192, 0, 0, 171], 32, Protocol, "NAT64/DNS64 Discovery", "RFC 8880", false),
        v4([192, 0, 2, 0], 24, Documentation, "Documentation (TEST-NET-1)", "RFC 5737", false),
        v4([192, 31, 196, 0], 24, Protocol, "AS112-v4", "RFC 7535", true),
        v4([192, 52, 193, 0], 24, Protocol, "AMT", "RFC 7450", true),
        v4([192, 88, 99, 0], 24, Protocol, "Deprecated (6to4 Relay Anycast)", "RFC 7526", false),
        v4([192, 88, 99, 2], 32, Protocol, "6a44-relay anycast address", "RFC 6751", false),
        v4([192, 168, 0, 0], 16, PrivateUse, "Private-Use", "RFC 1918", false),
        v4([192, 175, 48, 0], 24, Protocol, "Direct Delegation AS112 Service", "RFC 7534", true),
        v4([198, 18, 0, 0], 15, Benchmarking, "Benchmarking", "RFC 2544", false),
        v4([198, 51, 100, 0], 24, Documentation, "Documentation (TEST-NET-2)", "RFC 5737", false),
        v4([203, 0, 113, 0], 24, Documentation, "Documentation (TEST-NET-3)", "RFC 5737", false),
        v4([240, 0, 0, 0], 4, Reserved, "Reserved", "RFC 1112", false),
        v4([255, 255, 255, 255], 32, Broadcast, "Limited Broadcast", "RFC 919", false),
        // Multicast. What no block below is for is reserved.
        v4([224, 0, 0, 0], 4, Multicast, "Multicast (reserved)", "RFC 5771", false),
        v4([224, 0, 0, 0], 24, Multicast, "Local Network Control Block", "RFC 5771", false),
        v4([224, 0, 1, 0], 24, Multicast, "Internetwork Control Block", "RFC 5771", true),
        // 224.0.2.0 to 224.0.255.255: the rest of 224.0/16.
        v4([224, 0, 0, 0], 16, Multicast, "AD-HOC Block I", "RFC 5771", true),
        v4([224, 2, 0, 0], 16, Multicast, "SDP/SAP Block", "RFC 5771", true),
        v4([224, 3, 0, 0], 16, Multicast, "AD-HOC Block II", "RFC 5771", true),
        v4([224, 4, 0, 0], 16, Multicast, "AD-HOC Block II", "RFC 5771", true),
        v4([224, 252, 0, 0], 14, Multicast, "DIS Transient Groups", "RFC 2365", true),
        v4([232, 0, 0, 0], 8, Multicast, "Source-Specific Multicast Block", "RFC 4607", true),
        v4([233, 0, 0, 0], 8, Multicast, "GLOP Block", "RFC 3180", true),
        v4([233, 252, 0, 0], 14, Multicast, "AD-HOC Block III", "RFC 5771", true),
        v4([233, 252, 0, 0], 24, Multicast, "MCAST-TEST-NET", "RFC 6676", false),
        v4([234, 0, 0, 0], 8, Multicast, "Unicast-Prefix-based Multicast", "RFC 6034", true),
        v4([239, 0, 0, 0], 8, Multicast, "Administratively Scoped", "RFC 2365", false),
        v4([239, 192, 0, 0], 14, Multicast, "Organization-Local Scope", "RFC 2365", false),
        v4([239, 255, 0, 0], 16, Multicast, "Local Scope", "RFC 2365", false),
    ])
};

/// IPv6, the most specific first.
#[rustfmt::skip]
pub static V6: [Row<u128>; 47] = {
    use Class::{
        Benchmarking, Documentation, Global, LinkLocal, Loopback, Multicast, Protocol, Reserved,
        UniqueLocal, Unspecified,
    };
    longest_first_v6([
        v6(&[0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback, "Loopback Address", "RFC 4291", false),
        v6(&[0, 0, 0, 0, 0, 0, 0, 0], 128, Unspecified, "Unspecified Address", "RFC 4291", false),
        // `of` never gets here: the address inside counts.
        v6(&[0, 0, 0, 0, 0, 0xffff], 96, Protocol, "IPv4-mapped Address", "RFC 4291", false),
        v6(&[0x64, 0xff9b], 96, Protocol, "IPv4-IPv6 Translat.", "RFC 6052", true),
        v6(&[0x64, 0xff9b, 1], 48, Protocol, "IPv4-IPv6 Translat.", "RFC 8215", false),
        v6(&[0x100], 64, Protocol, "Discard-Only Address Block", "RFC 6666", false),
        v6(&[0x100, 0, 0, 1], 64, Protocol, "Dummy IPv6 Prefix", "RFC 9780", false),
        v6(&[0x2001], 23, Protocol, "IETF Protocol Assignments", "RFC 2928", false),
        v6(&[0x2001, 0], 32, Protocol, "TEREDO", "RFC 4380", false),
        v6(&[0x2001, 1, 0, 0, 0, 0, 0, 1], 128, Protocol, "Port Control Protocol Anycast", "RFC 7723", true),
        v6(&[0x2001, 1, 0, 0, 0, 0, 0, 2], 128, Protocol, "Traversal Using Relays around NAT Anycast", "RFC 8155", true),
        v6(&[0x2001, 1, 0, 0, 0, 0, 0, 3], 128, Protocol, "DNS-SD Service Registration Protocol Anycast", "RFC 9665", true),
        v6(&[0x2001, 2, 0], 48, Benchmarking, "Benchmarking", "RFC 5180", false),
        v6(&[0x2001, 3], 32, Protocol, "AMT", "RFC 7450", true),
        v6(&[0x2001, 4, 0x112], 48, Protocol, "AS112-v6", "RFC 7535", true),
        v6(&[0x2001, 0x10], 28, Protocol, "Deprecated (previously ORCHID)", "RFC 4843", false),
        v6(&[0x2001, 0x20], 28, Protocol, "ORCHIDv2", "RFC 7343", true),
        v6(&[0x2001, 0x30], 28, Protocol, "Drone Remote ID Protocol Entity Tags (DETs) Prefix", "RFC 9374", true),
        v6(&[0x2001, 0xdb8], 32, Documentation, "Documentation", "RFC 3849", false),
        v6(&[0x2002], 16, Protocol, "6to4", "RFC 3056", false),
        v6(&[0x2620, 0x4f, 0x8000], 48, Protocol, "Direct Delegation AS112 Service", "RFC 7534", true),
        v6(&[0x3fff], 20, Documentation, "Documentation", "RFC 9637", false),
        v6(&[0x5f00], 16, Protocol, "Segment Routing (SRv6) SIDs", "RFC 9602", false),
        v6(&[0xfc00], 7, UniqueLocal, "Unique-Local", "RFC 4193", false),
        v6(&[0xfe80], 10, LinkLocal, "Link-Local Unicast", "RFC 4291", false),
        // Address space.
        v6(&[0x2000], 3, Global, "Global Unicast", "RFC 4291", true),
        v6(&[0xfec0], 10, Reserved, "Deprecated (Site-Local Unicast)", "RFC 3879", false),
        v6(&[0x200], 7, Reserved, "Deprecated (OSI NSAP-mapped)", "RFC 4048", false),
        v6(&[0], 96, Reserved, "Deprecated (IPv4-Compatible)", "RFC 4291", false),
        // Multicast.
        v6(&[0xff02, 0, 0, 0, 0, 1, 0xff00], 104, Multicast, "Solicited-Node", "RFC 4291", false),
        v6_masked(
            (0xff00 << 112) | (0xdb8 << 32), !0 << 32 & !(0xf << 112),
            Multicast, "Documentation", "RFC 6676", false,
        ),
        scope(0x0, "Reserved Scope", false),
        scope(0x1, "Interface-Local Scope", false),
        scope(0x2, "Link-Local Scope", false),
        scope(0x3, "Realm-Local Scope", false),
        scope(0x4, "Admin-Local Scope", false),
        scope(0x5, "Site-Local Scope", false),
        scope(0x6, "Unassigned Scope", false),
        scope(0x7, "Unassigned Scope", false),
        scope(0x8, "Organization-Local Scope", false),
        scope(0x9, "Unassigned Scope", false),
        scope(0xa, "Unassigned Scope", false),
        scope(0xb, "Unassigned Scope", false),
        scope(0xc, "Unassigned Scope", false),
        scope(0xd, "Unassigned Scope", false),
        scope(0xe, "Global Scope", true),
        scope(0xf, "Reserved Scope", false),
    ])
};

const fn entry(
    class: Class,
    name: &'static str,
    rfc: &'static str,
    globally_reachable: bool,
) -> Entry {
    Entry {
        class,
        name,
        rfc,
        globally_reachable,
    }
}

const fn v4(
    prefix: [u8; 4],
    length: u32,
    class: Class,
    name: &'static str,
    rfc: &'static str,
    globally_reachable: bool,
) -> Row<u32> {
    Row {
        bits: u32::from_be_bytes(prefix),
        mask: u32::MAX << (32 - length),
        entry: entry(class, name, rfc, globally_reachable),
    }
}

/// `groups` are the first ones; the others are zero.
const fn v6(
    groups: &[u16],
    length: u32,
    class: Class,
    name: &'static str,
    rfc: &'static str,
    globally_reachable: bool,
) -> Row<u128> {
    let mut bits = 0;
    let mut index = 0;
    while index < groups.len() {
        bits |= (groups[index] as u128) << (112 - 16 * index);
        index += 1;
    }
    let mask = u128::MAX << (128 - length);
    v6_masked(bits, mask, class, name, rfc, globally_reachable)
}

const fn v6_masked(
    bits: u128,
    mask: u128,
    class: Class,
    name: &'static str,
    rfc: &'static str,
    globally_reachable: bool,
) -> Row<u128> {
    Row {
        bits,
        mask,
        entry: entry(class, name, rfc, globally_reachable),
    }
}

/// `ffXS::/16`: scope S, whatever the flags X.
const fn scope(scope: u128, name: &'static str, globally_reachable: bool) -> Row<u128> {
    let bits = (0xff00 | scope) << 112;
    v6_masked(
        bits,
        0xff0f << 112,
        Class::Multicast,
        name,
        "RFC 7346",
        globally_reachable,
    )
}

/// By the first byte of an address: before which row there is none that can fit.
pub static STARTS_V4: [usize; 256] = starts_v4(&V4);

/// The same for IPv6.
pub static STARTS_V6: [usize; 256] = starts_v6(&V6);

/// The first row that fits is then the most specific one. Sorts while it is compiled, so that the
/// tables above can be in the order of the registries.
macro_rules! longest_first {
    ($name:ident, $starts:ident, $bits:ty) => {
        const fn $name<const N: usize>(mut rows: [Row<$bits>; N]) -> [Row<$bits>; N] {
            let mut sorted = 1;
            while sorted < N {
                let mut at = sorted;
                while at > 0 && rows[at - 1].mask.count_ones() < rows[at].mask.count_ones() {
                    (rows[at - 1], rows[at]) = (rows[at], rows[at - 1]);
                    at -= 1;
                }
                sorted += 1;
            }
            rows
        }

        const fn $starts(rows: &[Row<$bits>]) -> [usize; 256] {
            let mut starts = [0; 256];
            let mut byte = 0;
            while byte < starts.len() {
                let mut at = 0;
                while at < rows.len() {
                    let (bits, mask) = (rows[at].bits.to_be_bytes(), rows[at].mask.to_be_bytes());
                    if byte & mask[0] as usize == bits[0] as usize {
                        break;
                    }
                    at += 1;
                }
                starts[byte] = at;
                byte += 1;
            }
            starts
        }
    };
}

longest_first!(longest_first_v4, starts_v4, u32);
longest_first!(longest_first_v6, starts_v6, u128);
