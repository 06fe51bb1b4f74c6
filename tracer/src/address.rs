//! What an address is, by IANA's special-purpose and multicast registries: the table is
//! [`registry`], what a user selects with it is a [`ClassSet`]. Pure, and fast enough to be asked
//! for every connection.

pub mod registry;
pub mod set;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use set::{ClassError, ClassSet};

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// No address: `0.0.0.0`, `::`.
    Unspecified,
    /// This host itself.
    Loopback,
    /// Valid on one link only.
    LinkLocal,
    /// RFC 1918: anybody's own networks.
    PrivateUse,
    /// RFC 4193: the same for IPv6.
    UniqueLocal,
    /// RFC 6598: between a provider and its customers, behind carrier-grade NAT.
    Shared,
    /// For examples in texts.
    Documentation,
    /// For tests of network devices.
    Benchmarking,
    /// Has a meaning in an IETF protocol, such as translation, tunnels and anycast services.
    Protocol,
    /// A group.
    Multicast,
    /// Every host of the link: `255.255.255.255`.
    Broadcast,
    /// Not given out.
    Reserved,
    /// Of a host on the internet.
    Global,
}

impl Class {
    /// Every class, in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::Unspecified,
        Self::Loopback,
        Self::LinkLocal,
        Self::PrivateUse,
        Self::UniqueLocal,
        Self::Shared,
        Self::Documentation,
        Self::Benchmarking,
        Self::Protocol,
        Self::Multicast,
        Self::Broadcast,
        Self::Reserved,
        Self::Global,
    ];

    /// The name in options and output. RFC 1918 is `private-use`, as in the registry: `private` is
    /// everything that is not globally reachable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::PrivateUse => "private-use",
            Self::UniqueLocal => "unique-local",
            Self::Shared => "shared",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Protocol => "protocol",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::Global => "global",
        }
    }
}

impl serde::Serialize for Class {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What the registries say of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its kind.
    pub class: Class,
    /// The name of its block.
    pub name: &'static str,
    /// The document that set the block aside.
    pub rfc: &'static str,
    /// Whether packets to it may leave an administrative domain. `false` where the registry says
    /// that this does not apply (6to4, Teredo, deprecated blocks).
    pub globally_reachable: bool,
}

/// The most specific entry that `ip` is in. An IPv4-mapped IPv6 address is what the IPv4 address
/// in it is: that is whom the packets go to.
pub fn of(ip: IpAddr) -> Entry {
    match ip {
        IpAddr::V4(ip) => of_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| of_v6(ip), of_v4),
    }
}

fn of_v4(ip: Ipv4Addr) -> Entry {
    let bits = ip.to_bits();
    let start = registry::STARTS_V4[usize::from(ip.octets()[0])];
    let mut rows = registry::V4.iter().skip(start);
    let row = rows.find(|row| bits & row.mask == row.bits);
    row.map_or(registry::GLOBAL_V4, |row| row.entry)
}

fn of_v6(ip: Ipv6Addr) -> Entry {
    let bits = ip.to_bits();
    let start = registry::STARTS_V6[usize::from(ip.octets()[0])];
    let mut rows = registry::V6.iter().skip(start);
    let row = rows.find(|row| bits & row.mask == row.bits);
    row.map_or(registry::UNASSIGNED_V6, |row| row.entry)
}
