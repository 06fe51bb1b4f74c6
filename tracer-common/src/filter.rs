//! Which connections are traced. Decided in the kernel, at the first moment the facts allow.

use crate::flow::{Flow, halves, is_loopback, is_v4_mapped};

/// The user's choice, in the object's read-only data. Zero everywhere means "trace everything".
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Filter {
    /// Bits of [`test`]: which tests apply.
    pub tests: u32,
    /// With [`test::FAMILY`]: 4 or 6.
    pub family: u32,
    /// With [`test::DIRECTION`]: 1 = inbound, 0 = outbound.
    pub inbound: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Filter>() == 16);

/// Bits of [`Filter::tests`].
pub mod test {
    /// The local port is in the local port set.
    pub const LOCAL_PORT: u32 = 1 << 0;
    /// The remote port is in the remote port set.
    pub const REMOTE_PORT: u32 = 1 << 1;
    /// The owner is in the pid set.
    pub const PID: u32 = 1 << 2;
    /// The owner's uid is in the uid set.
    pub const UID: u32 = 1 << 3;
    /// IPv4 or IPv6 only; a v4-mapped address is IPv4.
    pub const FAMILY: u32 = 1 << 4;
    /// Inbound or outbound only.
    pub const DIRECTION: u32 = 1 << 5;
    /// The network namespace is in the namespace set.
    pub const NETNS: u32 = 1 << 6;
    /// Not over the loopback device.
    pub const NO_LOOPBACK: u32 = 1 << 7;
}

/// Which set an [`IdKey`] belongs to.
pub mod id {
    /// Process ids.
    pub const PID: u32 = 1;
    /// User ids.
    pub const UID: u32 = 2;
    /// Network namespace inode numbers.
    pub const NETNS: u32 = 3;
}

/// Key of the map that holds the pid, uid and namespace sets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct IdKey {
    /// One of [`id`].
    pub set: u32,
    /// The member.
    pub value: u32,
}

/// Members the pid, uid and namespace sets can have together.
pub const MAX_IDS: u32 = 4096;

/// Words of a port set: one bit a port.
pub const PORT_WORDS: u32 = 65536 / 64;

/// Word and bit of `port` in a port set.
#[inline(always)]
pub const fn port_bit(port: u16) -> (u32, u64) {
    ((port >> 6) as u32, 1 << (port & 63))
}

/// Outcome of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The fact is known and fits.
    Yes,
    /// The fact is known and does not fit.
    No,
    /// The fact is not known yet.
    Unknown,
}

impl From<bool> for Match {
    #[inline(always)]
    fn from(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }
}

/// Outcome of all tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Trace it.
    Keep,
    /// Never trace it.
    Drop,
    /// Hold its news until more is known.
    Undecided,
}

/// What is known of a connection when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The two ends; a local port of 0 is not known.
    pub flow: &'a Flow,
    /// Whether this end accepted.
    pub inbound: bool,
    /// The owner's process id; 0 is not known.
    pub tgid: u32,
    /// The owner's uid, valid with `tgid`.
    pub uid: u32,
    /// Network namespace.
    pub netns: u32,
    /// Whether the route goes over the loopback device; `None` before there is a route.
    pub loopback_route: Option<bool>,
}

/// The sets that are too large for the filter itself.
pub trait Sets {
    /// Whether the local port set has `port`.
    fn has_local_port(&self, port: u16) -> bool;
    /// Whether the remote port set has `port`.
    fn has_remote_port(&self, port: u16) -> bool;
    /// Whether set `set` of [`id`] has `value`.
    fn has_id(&self, set: u32, value: u32) -> bool;
}

impl Filter {
    /// Whether any test applies.
    #[inline(always)]
    pub const fn is_active(&self) -> bool {
        self.tests != 0
    }

    /// Judges a connection by what is known of it now.
    #[inline(always)]
    pub fn verdict(&self, facts: &Facts<'_>, sets: &impl Sets) -> Verdict {
        let mut undecided = false;
        let mut drop = false;
        let mut note = |outcome: Match| match outcome {
            Match::Yes => {}
            Match::No => drop = true,
            Match::Unknown => undecided = true,
        };
        if self.tests & test::DIRECTION != 0 {
            note(Match::from((self.inbound != 0) == facts.inbound));
        }
        if self.tests & test::LOCAL_PORT != 0 {
            note(match facts.flow.local_port {
                0 => Match::Unknown,
                port => Match::from(sets.has_local_port(port)),
            });
        }
        if self.tests & test::REMOTE_PORT != 0 {
            note(Match::from(sets.has_remote_port(facts.flow.remote_port)));
        }
        if self.tests & test::FAMILY != 0 {
            note(Match::from(
                (self.family == 4) == is_v4_mapped(&facts.flow.remote_ip),
            ));
        }
        if self.tests & test::NETNS != 0 {
            note(Match::from(sets.has_id(id::NETNS, facts.netns)));
        }
        if self.tests & test::NO_LOOPBACK != 0 {
            note(not_loopback(facts));
        }
        if self.tests & test::PID != 0 {
            note(match facts.tgid {
                0 => Match::Unknown,
                tgid => Match::from(sets.has_id(id::PID, tgid)),
            });
        }
        if self.tests & test::UID != 0 {
            note(match facts.tgid {
                0 => Match::Unknown,
                _ => Match::from(sets.has_id(id::UID, facts.uid)),
            });
        }
        if drop {
            Verdict::Drop
        } else if undecided {
            Verdict::Undecided
        } else {
            Verdict::Keep
        }
    }
}

/// Traffic between two of this host's own addresses also goes over the loopback device; only the
/// route knows, and an outbound connection has none before its SYN is sent.
#[inline(always)]
fn not_loopback(facts: &Facts<'_>) -> Match {
    let flow = facts.flow;
    if is_loopback(&flow.remote_ip) || halves(&flow.local_ip) == halves(&flow.remote_ip) {
        return Match::No;
    }
    match facts.loopback_route {
        Some(over_loopback) => Match::from(!over_loopback),
        None => Match::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Sets for Fixed {
        fn has_local_port(&self, port: u16) -> bool {
            port == 80
        }
        fn has_remote_port(&self, port: u16) -> bool {
            port == 443
        }
        fn has_id(&self, set: u32, value: u32) -> bool {
            (set, value) == (id::PID, 7)
                || (set, value) == (id::UID, 33)
                || (set, value) == (id::NETNS, 5)
        }
    }

    fn mapped(octets: [u8; 4]) -> [u8; 16] {
        let mut ip = [0; 16];
        ip[10] = 0xff;
        ip[11] = 0xff;
        ip[12..].copy_from_slice(&octets);
        ip
    }

    fn flow(local_port: u16, remote_port: u16) -> Flow {
        Flow {
            local_ip: mapped([10, 0, 0, 1]),
            remote_ip: mapped([10, 0, 0, 2]),
            local_port,
            remote_port,
            socket_family: 2,
            reserved: 0,
        }
    }

    fn facts(flow: &Flow) -> Facts<'_> {
        Facts {
            flow,
            inbound: true,
            tgid: 7,
            uid: 33,
            netns: 5,
            loopback_route: Some(false),
        }
    }

    fn filter(tests: u32) -> Filter {
        Filter {
            tests,
            ..Filter::default()
        }
    }

    #[test]
    fn no_test_keeps_everything() {
        assert_eq!(
            filter(0).verdict(&facts(&flow(1, 2)), &Fixed),
            Verdict::Keep
        );
    }

    #[test]
    fn each_set_keeps_members_and_drops_others() {
        let all = test::LOCAL_PORT | test::REMOTE_PORT | test::PID | test::UID | test::NETNS;
        let fitting = flow(80, 443);
        assert_eq!(filter(all).verdict(&facts(&fitting), &Fixed), Verdict::Keep);
        assert_eq!(
            filter(all).verdict(&facts(&flow(81, 443)), &Fixed),
            Verdict::Drop
        );
        assert_eq!(
            filter(all).verdict(&facts(&flow(80, 444)), &Fixed),
            Verdict::Drop
        );
        for wrong in [
            Facts {
                tgid: 8,
                ..facts(&fitting)
            },
            Facts {
                uid: 0,
                ..facts(&fitting)
            },
            Facts {
                netns: 6,
                ..facts(&fitting)
            },
        ] {
            assert_eq!(filter(all).verdict(&wrong, &Fixed), Verdict::Drop);
        }
    }

    #[test]
    fn what_is_not_known_yet_waits_and_a_failed_test_does_not() {
        let unbound = flow(0, 443);
        assert_eq!(
            filter(test::LOCAL_PORT).verdict(&facts(&unbound), &Fixed),
            Verdict::Undecided
        );
        let queued = Facts {
            tgid: 0,
            ..facts(&unbound)
        };
        assert_eq!(
            filter(test::PID).verdict(&queued, &Fixed),
            Verdict::Undecided
        );
        assert_eq!(
            filter(test::UID).verdict(&queued, &Fixed),
            Verdict::Undecided
        );
        let both = filter(test::PID | test::NETNS);
        assert_eq!(
            both.verdict(&Facts { netns: 6, ..queued }, &Fixed),
            Verdict::Drop
        );
    }

    #[test]
    fn direction_and_family_select() {
        let flow4 = flow(80, 443);
        let mut flow6 = flow4;
        flow6.remote_ip = [0x20; 16];
        let inbound = Filter {
            tests: test::DIRECTION,
            inbound: 1,
            ..Filter::default()
        };
        assert_eq!(inbound.verdict(&facts(&flow4), &Fixed), Verdict::Keep);
        let outbound_fact = Facts {
            inbound: false,
            ..facts(&flow4)
        };
        assert_eq!(inbound.verdict(&outbound_fact, &Fixed), Verdict::Drop);
        let v6 = Filter {
            tests: test::FAMILY,
            family: 6,
            ..Filter::default()
        };
        assert_eq!(v6.verdict(&facts(&flow4), &Fixed), Verdict::Drop);
        assert_eq!(v6.verdict(&facts(&flow6), &Fixed), Verdict::Keep);
    }

    #[test]
    fn own_addresses_over_lo_are_loopback() {
        let no_lo = filter(test::NO_LOOPBACK);
        let mut lo = flow(80, 443);
        lo.remote_ip = mapped([127, 0, 0, 9]);
        assert_eq!(no_lo.verdict(&facts(&lo), &Fixed), Verdict::Drop);
        lo.remote_ip = lo.local_ip;
        assert_eq!(no_lo.verdict(&facts(&lo), &Fixed), Verdict::Drop);
        let other = flow(80, 443);
        let routed = Facts {
            loopback_route: Some(true),
            ..facts(&other)
        };
        assert_eq!(no_lo.verdict(&routed, &Fixed), Verdict::Drop);
        let unrouted = Facts {
            loopback_route: None,
            ..facts(&other)
        };
        assert_eq!(no_lo.verdict(&unrouted, &Fixed), Verdict::Undecided);
        assert_eq!(no_lo.verdict(&facts(&other), &Fixed), Verdict::Keep);
    }

    #[test]
    fn every_port_has_a_bit_of_its_own() {
        assert_eq!(port_bit(0), (0, 1));
        assert_eq!(port_bit(63), (0, 1 << 63));
        assert_eq!(port_bit(64), (1, 1));
        assert_eq!(port_bit(65535), (PORT_WORDS - 1, 1 << 63));
    }
}
