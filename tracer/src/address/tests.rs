use std::collections::HashSet;

use super::registry::{GLOBAL_V4, Row, UNASSIGNED_V6, V4, V6};
use super::*;

fn entry(ip: &str) -> Entry {
    of(ip.parse().unwrap_or_else(|e| panic!("{ip}: {e}")))
}

/// First and last address of a block in the registries' words, its class, and whether it is
/// globally reachable, each line as the registry has it; then what is just before and just after.
#[rustfmt::skip]
const BLOCKS: &[(&str, &str, &str, bool, &str, &str)] = {
    const T: bool = true;
    const F: bool = false;
    &[
        // first, last, name, reachable, before, after
        ("0.0.0.1", "0.255.255.255", "This network", F, "This host on this network", "Global Unicast"),
        ("0.0.0.0", "0.0.0.0", "This host on this network", F, "", "This network"),
        ("10.0.0.0", "10.255.255.255", "Private-Use", F, "Global Unicast", "Global Unicast"),
        ("100.64.0.0", "100.127.255.255", "Shared Address Space", F, "Global Unicast", "Global Unicast"),
        ("127.0.0.0", "127.255.255.255", "Loopback", F, "Global Unicast", "Global Unicast"),
        ("169.254.0.0", "169.254.255.255", "Link Local", F, "Global Unicast", "Global Unicast"),
        ("172.16.0.0", "172.31.255.255", "Private-Use", F, "Global Unicast", "Global Unicast"),
        ("192.0.0.0", "192.0.0.7", "IPv4 Service Continuity Prefix", F, "Global Unicast", "IPv4 dummy address"),
        ("192.0.0.8", "192.0.0.8", "IPv4 dummy address", F, "IPv4 Service Continuity Prefix", "Port Control Protocol Anycast"),
        ("192.0.0.9", "192.0.0.9", "Port Control Protocol Anycast", T, "IPv4 dummy address", "Traversal Using Relays around NAT Anycast"),
        ("192.0.0.10", "192.0.0.10", "Traversal Using Relays around NAT Anycast", T, "Port Control Protocol Anycast", "IETF Protocol Assignments"),
        ("192.0.0.11", "192.0.0.169", "IETF Protocol Assignments", F, "Traversal Using Relays around NAT Anycast", "NAT64/DNS64 Discovery"),
        ("192.0.0.170", "192.0.0.171", "NAT64/DNS64 Discovery", F, "IETF Protocol Assignments", "IETF Protocol Assignments"),
        ("192.0.0.172", "192.0.0.255", "IETF Protocol Assignments", F, "NAT64/DNS64 Discovery", "Global Unicast"),
        ("192.0.2.0", "192.0.2.255", "Documentation (TEST-NET-1)", F, "Global Unicast", "Global Unicast"),
        ("192.31.196.0", "192.31.196.255", "AS112-v4", T, "Global Unicast", "Global Unicast"),
        ("192.52.193.0", "192.52.193.255", "AMT", T, "Global Unicast", "Global Unicast"),
        ("192.88.99.0", "192.88.99.1", "Deprecated (6to4 Relay Anycast)", F, "Global Unicast", "6a44-relay anycast address"),
        ("192.88.99.2", "192.88.99.2", "6a44-relay anycast address", F, "Deprecated (6to4 Relay Anycast)", "Deprecated (6to4 Relay Anycast)"),
        ("192.88.99.3", "192.88.99.255", "Deprecated (6to4 Relay Anycast)", F, "6a44-relay anycast address", "Global Unicast"),
        ("192.168.0.0", "192.168.255.255", "Private-Use", F, "Global Unicast", "Global Unicast"),
        ("192.175.48.0", "192.175.48.255", "Direct Delegation AS112 Service", T, "Global Unicast", "Global Unicast"),
        ("198.18.0.0", "198.19.255.255", "Benchmarking", F, "Global Unicast", "Global Unicast"),
        ("198.51.100.0", "198.51.100.255", "Documentation (TEST-NET-2)", F, "Global Unicast", "Global Unicast"),
        ("203.0.113.0", "203.0.113.255", "Documentation (TEST-NET-3)", F, "Global Unicast", "Global Unicast"),
        ("224.0.0.0", "224.0.0.255", "Local Network Control Block", F, "Global Unicast", "Internetwork Control Block"),
        ("224.0.1.0", "224.0.1.255", "Internetwork Control Block", T, "Local Network Control Block", "AD-HOC Block I"),
        ("224.0.2.0", "224.0.255.255", "AD-HOC Block I", T, "Internetwork Control Block", "Multicast (reserved)"),
        ("224.1.0.0", "224.1.255.255", "Multicast (reserved)", F, "AD-HOC Block I", "SDP/SAP Block"),
        ("224.2.0.0", "224.2.255.255", "SDP/SAP Block", T, "Multicast (reserved)", "AD-HOC Block II"),
        ("224.3.0.0", "224.4.255.255", "AD-HOC Block II", T, "SDP/SAP Block", "Multicast (reserved)"),
        ("224.5.0.0", "224.251.255.255", "Multicast (reserved)", F, "AD-HOC Block II", "DIS Transient Groups"),
        ("224.252.0.0", "224.255.255.255", "DIS Transient Groups", T, "Multicast (reserved)", "Multicast (reserved)"),
        ("225.0.0.0", "231.255.255.255", "Multicast (reserved)", F, "DIS Transient Groups", "Source-Specific Multicast Block"),
        ("232.0.0.0", "232.255.255.255", "Source-Specific Multicast Block", T, "Multicast (reserved)", "GLOP Block"),
        ("233.0.0.0", "233.251.255.255", "GLOP Block", T, "Source-Specific Multicast Block", "MCAST-TEST-NET"),
        ("233.252.0.0", "233.252.0.255", "MCAST-TEST-NET", F, "GLOP Block", "AD-HOC Block III"),
        ("233.252.1.0", "233.255.255.255", "AD-HOC Block III", T, "MCAST-TEST-NET", "Unicast-Prefix-based Multicast"),
        ("234.0.0.0", "234.255.255.255", "Unicast-Prefix-based Multicast", T, "AD-HOC Block III", "Multicast (reserved)"),
        ("235.0.0.0", "238.255.255.255", "Multicast (reserved)", F, "Unicast-Prefix-based Multicast", "Administratively Scoped"),
        ("239.0.0.0", "239.191.255.255", "Administratively Scoped", F, "Multicast (reserved)", "Organization-Local Scope"),
        ("239.192.0.0", "239.195.255.255", "Organization-Local Scope", F, "Administratively Scoped", "Administratively Scoped"),
        ("239.255.0.0", "239.255.255.255", "Local Scope", F, "Administratively Scoped", "Reserved"),
        ("240.0.0.0", "255.255.255.254", "Reserved", F, "Local Scope", "Limited Broadcast"),
        ("255.255.255.255", "255.255.255.255", "Limited Broadcast", F, "Reserved", ""),
        ("::", "::", "Unspecified Address", F, "", "Loopback Address"),
        ("::1", "::1", "Loopback Address", F, "Unspecified Address", "Deprecated (IPv4-Compatible)"),
        ("::2", "::ffff:ffff", "Deprecated (IPv4-Compatible)", F, "Loopback Address", "Reserved by IETF"),
        ("64:ff9b::", "64:ff9b::ffff:ffff", "IPv4-IPv6 Translat.", T, "Reserved by IETF", "Reserved by IETF"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "IPv4-IPv6 Translat.", F, "Reserved by IETF", "Reserved by IETF"),
        ("100::", "100::ffff:ffff:ffff:ffff", "Discard-Only Address Block", F, "Reserved by IETF", "Dummy IPv6 Prefix"),
        ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "Dummy IPv6 Prefix", F, "Discard-Only Address Block", "Reserved by IETF"),
        ("200::", "3ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "Deprecated (OSI NSAP-mapped)", F, "Reserved by IETF", "Reserved by IETF"),
        ("2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "Global Unicast", T, "Reserved by IETF", "TEREDO"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "TEREDO", F, "Global Unicast", "IETF Protocol Assignments"),
        ("2001:1::1", "2001:1::1", "Port Control Protocol Anycast", T, "IETF Protocol Assignments", "Traversal Using Relays around NAT Anycast"),
        ("2001:1::2", "2001:1::2", "Traversal Using Relays around NAT Anycast", T, "Port Control Protocol Anycast", "DNS-SD Service Registration Protocol Anycast"),
        ("2001:1::3", "2001:1::3", "DNS-SD Service Registration Protocol Anycast", T, "Traversal Using Relays around NAT Anycast", "IETF Protocol Assignments"),
        ("2001:1::4", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", "IETF Protocol Assignments", F, "DNS-SD Service Registration Protocol Anycast", "Benchmarking"),
        ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "Benchmarking", F, "IETF Protocol Assignments", "IETF Protocol Assignments"),
        ("2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", "AMT", T, "IETF Protocol Assignments", "IETF Protocol Assignments"),
        ("2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", "AS112-v6", T, "IETF Protocol Assignments", "IETF Protocol Assignments"),
        ("2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "Deprecated (previously ORCHID)", F, "IETF Protocol Assignments", "ORCHIDv2"),
        ("2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "ORCHIDv2", T, "Deprecated (previously ORCHID)", "Drone Remote ID Protocol Entity Tags (DETs) Prefix"),
        ("2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", "Drone Remote ID Protocol Entity Tags (DETs) Prefix", T, "ORCHIDv2", "IETF Protocol Assignments"),
        ("2001:40::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "IETF Protocol Assignments", F, "Drone Remote ID Protocol Entity Tags (DETs) Prefix", "Global Unicast"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "Documentation", F, "Global Unicast", "Global Unicast"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4", F, "Global Unicast", "Global Unicast"),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "Direct Delegation AS112 Service", T, "Global Unicast", "Global Unicast"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "Documentation", F, "Global Unicast", "Global Unicast"),
        ("3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "Global Unicast", T, "Documentation", "Reserved by IETF"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "Segment Routing (SRv6) SIDs", F, "Reserved by IETF", "Reserved by IETF"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "Unique-Local", F, "Reserved by IETF", "Reserved by IETF"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "Link-Local Unicast", F, "Reserved by IETF", "Deprecated (Site-Local Unicast)"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "Deprecated (Site-Local Unicast)", F, "Link-Local Unicast", "Reserved Scope"),
        ("ff02::1:ff00:0", "ff02::1:ffff:ffff", "Solicited-Node", F, "Link-Local Scope", "Link-Local Scope"),
        ("ff0e::db8:0:0", "ff0e::db8:ffff:ffff", "Documentation", F, "Global Scope", "Global Scope"),
    ]
};

fn before(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => Some(Ipv4Addr::from_bits(ip.to_bits().checked_sub(1)?).into()),
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits().checked_sub(1)?).into()),
    }
}

fn after(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => Some(Ipv4Addr::from_bits(ip.to_bits().checked_add(1)?).into()),
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits().checked_add(1)?).into()),
    }
}

#[test]
fn every_block_begins_and_ends_where_the_registry_says() {
    for (first, last, name, reachable, left, right) in BLOCKS {
        let (first, last): (IpAddr, IpAddr) = (first.parse().unwrap(), last.parse().unwrap());
        for ip in [first, last] {
            let entry = of(ip);
            assert_eq!(
                (entry.name, entry.globally_reachable),
                (*name, *reachable),
                "{ip}"
            );
        }
        let name_of = |ip: Option<IpAddr>| ip.map_or("", |ip| of(ip).name);
        assert_eq!(name_of(before(first)), *left, "before {first}");
        assert_eq!(name_of(after(last)), *right, "after {last}");
    }
}

#[test]
fn every_row_is_tested() {
    let tested: HashSet<_> = BLOCKS
        .iter()
        .map(|(_, _, name, reachable, ..)| (*name, *reachable))
        .collect();
    let v4 = V4.iter().map(|row| row.entry);
    // Scopes have a test of their own; the address inside a mapped one counts.
    let v6 = V6.iter().map(|row| row.entry);
    let rest = v6.filter(|entry| entry.rfc != "RFC 7346" && entry.name != "IPv4-mapped Address");
    for entry in v4.chain(rest).chain([GLOBAL_V4]) {
        assert!(
            tested.contains(&(entry.name, entry.globally_reachable)),
            "{entry:?}"
        );
    }
}

#[test]
fn the_index_by_the_first_byte_leaves_out_nothing_that_fits() {
    for byte in 0..=255_u8 {
        let fits_v4 =
            |row: &Row<u32>| row.mask.to_be_bytes()[0] & byte == row.bits.to_be_bytes()[0];
        let fits_v6 =
            |row: &Row<u128>| row.mask.to_be_bytes()[0] & byte == row.bits.to_be_bytes()[0];
        let first = |found: Option<usize>, rows: usize| found.unwrap_or(rows);
        let v4 = first(V4.iter().position(fits_v4), V4.len());
        let v6 = first(V6.iter().position(fits_v6), V6.len());
        assert_eq!(registry::STARTS_V4[usize::from(byte)], v4);
        assert_eq!(registry::STARTS_V6[usize::from(byte)], v6);
    }
}

#[test]
fn classes_are_what_their_names_say() {
    for (ip, class) in [
        ("0.0.0.0", Class::Unspecified),
        ("::", Class::Unspecified),
        ("0.1.2.3", Class::Reserved),
        ("127.9.9.9", Class::Loopback),
        ("::1", Class::Loopback),
        ("169.254.1.1", Class::LinkLocal),
        ("fe80::1", Class::LinkLocal),
        ("10.1.1.1", Class::PrivateUse),
        ("172.31.0.1", Class::PrivateUse),
        ("192.168.1.1", Class::PrivateUse),
        ("fd00::1", Class::UniqueLocal),
        ("100.100.1.1", Class::Shared),
        ("198.51.100.7", Class::Documentation),
        ("2001:db8::7", Class::Documentation),
        ("3fff::7", Class::Documentation),
        ("198.19.0.1", Class::Benchmarking),
        ("2001:2::1", Class::Benchmarking),
        ("192.0.0.9", Class::Protocol),
        ("64:ff9b::8.8.8.8", Class::Protocol),
        ("224.0.0.1", Class::Multicast),
        ("ff02::1", Class::Multicast),
        ("255.255.255.255", Class::Broadcast),
        ("250.0.0.1", Class::Reserved),
        ("4000::1", Class::Reserved),
        ("8.8.8.8", Class::Global),
        ("2a00:1450::1", Class::Global),
    ] {
        assert_eq!(entry(ip).class, class, "{ip}");
    }
}

#[test]
fn a_mapped_address_is_what_the_address_inside_is() {
    for ip in [
        "0.0.0.0",
        "8.8.8.8",
        "10.0.0.1",
        "127.0.0.1",
        "192.0.0.10",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        assert_eq!(entry(&format!("::ffff:{ip}")), entry(ip), "{ip}");
    }
    // Other prefixes with an IPv4 address at their end are not mapped.
    assert_eq!(entry("::10.0.0.1").name, "Deprecated (IPv4-Compatible)");
    assert_eq!(entry("::fffe:10.0.0.1"), UNASSIGNED_V6);
    assert_eq!(entry("::1:0:0:0"), UNASSIGNED_V6);
}

#[test]
fn the_scope_of_a_multicast_address_is_its_fourth_digit_whatever_the_flags() {
    let names = [
        "Reserved",
        "Interface-Local",
        "Link-Local",
        "Realm-Local",
        "Admin-Local",
        "Site-Local",
        "Unassigned",
        "Unassigned",
        "Organization-Local",
        "Unassigned",
        "Unassigned",
        "Unassigned",
        "Unassigned",
        "Unassigned",
        "Global",
        "Reserved",
    ];
    for flags in 0..16 {
        for (scope, name) in names.iter().enumerate() {
            let entry = entry(&format!("ff{flags:x}{scope:x}::1"));
            assert_eq!(entry.name, format!("{name} Scope"), "{flags:x} {scope:x}");
            assert_eq!(entry.class, Class::Multicast);
            assert_eq!(entry.globally_reachable, scope == 0xe);
        }
    }
    assert_eq!(entry("ff05::db8:1:2").name, "Documentation");
    assert_eq!(entry("ff15::db8:1:2").name, "Site-Local Scope");
}

#[test]
fn the_tables_are_sorted_and_no_row_hides_another() {
    fn check<T: Copy + PartialEq + std::ops::BitAnd<Output = T>>(
        rows: &[Row<T>],
        ones: impl Fn(T) -> u32,
    ) {
        assert!(rows.is_sorted_by(|a, b| ones(a.mask) >= ones(b.mask)));
        for (index, row) in rows.iter().enumerate() {
            assert!(
                row.bits & row.mask == row.bits,
                "{:?} has bits outside its mask",
                row.entry
            );
            let same = |other: &Row<T>| other.bits == row.bits && other.mask == row.mask;
            assert!(
                !rows[..index].iter().any(same),
                "{:?} is there twice",
                row.entry
            );
        }
    }
    check(&V4, u32::count_ones);
    check(&V6, u128::count_ones);
}

#[test]
fn classes_have_names_of_their_own_in_the_order_of_their_numbers() {
    let names: HashSet<_> = Class::ALL.map(Class::name).into();
    assert_eq!(names.len(), Class::ALL.len());
    assert!(
        Class::ALL
            .iter()
            .enumerate()
            .all(|(index, class)| *class as usize == index)
    );
    assert!(!names.contains("private") && !names.contains("public"));
}
