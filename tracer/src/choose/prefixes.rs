//! Sets of addresses, as networks. Pure.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tracer_common::filter::PrefixKey;
use tracer_common::flow::halves;

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Something else.
    #[error(
        "`{}` is no address and no network; write such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
        .0.escape_debug()
    )]
    NotAPrefix(String),
    /// An address in a network.
    #[error(
        "`{given}` is an address in the network {}; write {} for the network, or {} for the address \
         alone",
        .given.trunc(), .given.trunc(), .given.addr()
    )]
    HostBits {
        /// What was given.
        given: IpNet,
    },
}

/// The network that `text` is; an address is a network of its own.
pub fn parse_prefix(text: &str) -> Result<IpNet, PrefixError> {
    let text = text.trim();
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(unmapped(IpNet::from(ip)));
    }
    let error = |_| PrefixError::NotAPrefix(text.to_owned());
    let given: IpNet = text.parse().map_err(error)?;
    if given.addr() != given.network() {
        return Err(PrefixError::HostBits { given });
    }
    Ok(unmapped(given))
}

/// IPv4 if that is what it is.
fn unmapped(net: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let v4 = |net: Ipv6Net| {
        let ip = net.addr().to_ipv4_mapped()?;
        Ipv4Net::new(ip, net.prefix_len().checked_sub(MAPPED)?).ok()
    };
    match net {
        IpNet::V6(v6) => v4(v6).map_or(net, IpNet::V4),
        IpNet::V4(_) => net,
    }
}

/// Addresses: networks that have none in common, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixSet {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

impl PrefixSet {
    /// Those of any of `nets`.
    pub fn of(nets: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        // Two networks have nothing in common, or one has all of the other, which comes later then.
        v4.sort_unstable_by_key(|net| (net.network(), net.prefix_len()));
        v4.dedup_by(|next, kept| kept.contains(&*next));
        v6.sort_unstable_by_key(|net| (net.network(), net.prefix_len()));
        v6.dedup_by(|next, kept| kept.contains(&*next));
        Self { v4, v6 }
    }

    /// Whether `ip` is one of them.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => {
                let after = self.v4.partition_point(|net| net.network() <= ip);
                let at = after.checked_sub(1).and_then(|at| self.v4.get(at));
                at.is_some_and(|net| net.contains(&ip))
            }
            IpAddr::V6(ip) => {
                let after = self.v6.partition_point(|net| net.network() <= ip);
                let at = after.checked_sub(1).and_then(|at| self.v6.get(at));
                at.is_some_and(|net| net.contains(&ip))
            }
        }
    }

    /// How many networks.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether it has no address.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As the kernel side takes them, for one of its sets.
    pub fn keys(&self, set: u32) -> impl Iterator<Item = PrefixKey> {
        const MAPPED: u32 = 96;
        let v4 = self.v4.iter().map(move |net| {
            let ip = net.network().to_ipv6_mapped().octets();
            PrefixKey::of(halves(&ip), set).prefix(MAPPED + u32::from(net.prefix_len()))
        });
        let v6 = self.v6.iter().map(move |net| {
            let ip = net.network().octets();
            PrefixKey::of(halves(&ip), set).prefix(u32::from(net.prefix_len()))
        });
        v4.chain(v6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(list: &str) -> PrefixSet {
        PrefixSet::of(
            list.split_whitespace()
                .map(|net| parse_prefix(net).unwrap()),
        )
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_a_network_of_its_own() {
        for (text, net) in [
            ("10.0.0.1", "10.0.0.1/32"),
            (" 10.0.0.0/8 ", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            // What is IPv4 on the wire is IPv4 here.
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(parse_prefix(text).unwrap().to_string(), net, "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "x",
            "10.0.0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::/129",
            "10.0.0.256",
            "fe80::1%eth0",
            "10.0.0.0-10.0.0.9",
            "example.org",
            "10.0.0.0/255.0.0.0",
        ] {
            let expected = PrefixError::NotAPrefix(text.to_owned());
            assert_eq!(parse_prefix(text), Err(expected));
        }
    }

    #[test]
    fn an_address_in_a_network_is_told_both() {
        let error = parse_prefix("10.1.2.3/8").unwrap_err().to_string();
        for part in ["10.1.2.3/8", "10.0.0.0/8 for", "10.1.2.3 for"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(parse_prefix("2001:db8::1/32").is_err());
    }

    #[test]
    fn an_address_is_in_the_set_if_it_is_in_a_network_of_it() {
        let nets = set("10.0.0.0/8 192.0.2.7 10.1.0.0/16 2001:db8::/32 ::1 255.255.255.255");
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "10.1.2.3",
            "192.0.2.7",
            "2001:db8::",
            "::1",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "255.255.255.255",
        ] {
            assert!(nets.contains(ip(inside)), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "::",
            "::2",
            "2001:db9::",
            "2001:db7:ffff::",
            "255.255.255.254",
            "0.0.0.0",
        ] {
            assert!(!nets.contains(ip(outside)), "{outside}");
        }
        assert!(!PrefixSet::default().contains(ip("10.0.0.1")));
    }

    #[test]
    fn all_of_one_version_is_none_of_the_other() {
        assert!(set("::/0").contains(ip("2001:db8::1")));
        assert!(!set("::/0").contains(ip("10.0.0.1")));
        assert!(set("0.0.0.0/0").contains(ip("255.255.255.255")));
        assert!(!set("0.0.0.0/0").contains(ip("::1")));
        let all = ("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        assert!(set(all.0).contains(ip(all.1)));
    }

    #[test]
    fn what_adds_nothing_is_not_kept() {
        let nets = set("10.3.0.0/16 10.0.0.0/9 10.128.0.0/9 10.0.0.1 10.0.0.0/9");
        assert_eq!(nets, set("10.0.0.0/9 10.128.0.0/9"));
        assert_eq!(set("::/0 2001:db8::/32 ::1").len(), 1);
        assert_eq!(set("").len(), 0);
    }

    /// The same set by looking at each network, for sets that are hard to make by hand.
    #[test]
    fn many_networks_have_what_each_has() {
        let mut random = 1_u64;
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u32::try_from(random >> 40).unwrap()
        };
        for _ in 0..50 {
            let nets: Vec<IpNet> = (0..40)
                .map(|_| {
                    let bits = 8 + u8::try_from(next() % 25).unwrap();
                    let ip = std::net::Ipv4Addr::from((10 << 24) | (next() & 0xff_ffff));
                    IpNet::from(Ipv4Net::new(ip, bits).unwrap().trunc())
                })
                .collect();
            let set = PrefixSet::of(nets.iter().copied());
            for _ in 0..200 {
                let ip = IpAddr::from(std::net::Ipv4Addr::from((10 << 24) | (next() & 0xff_ffff)));
                let expected = nets.iter().any(|net| net.contains(&ip));
                assert_eq!(set.contains(ip), expected, "{ip} in {nets:?}");
            }
        }
    }
}
