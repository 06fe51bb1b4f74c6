//! Which connections are traced. Decided in the kernel, at the first moment the facts allow.

use crate::connection::NAME_LEN;
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
    /// Bits of [`mod@test`]: which tests apply.
    pub tests: u32,
    /// With `test::FAMILY`: 4 or 6.
    pub family: u32,
    /// With `test::DIRECTION`: 1 = inbound, 0 = outbound.
    pub inbound: u32,
    /// With `test::LOCAL_PORT`: the lowest port of the set.
    pub lowest_port: u16,
    /// Likewise the highest.
    pub highest_port: u16,
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
    /// The owner is a process that is followed.
    pub const FOLLOW: u32 = 1 << 14;
    /// The peer's address is in the set of those to keep.
    pub const ONLY: u32 = 1 << 8;
    /// The peer's address is not in the set of those to leave out.
    pub const EXCLUDE: u32 = 1 << 9;
    /// This host's address is in the set of local ones.
    pub const LOCAL: u32 = 1 << 10;
    /// The route leaves through a device of the device set.
    pub const INTERFACE: u32 = 1 << 11;
    /// The owner's name is in the name set.
    pub const COMM: u32 = 1 << 12;
    /// The owner's cgroup, or one above it, is in the cgroup set.
    pub const CGROUP: u32 = 1 << 13;

    /// Tests on the owner.
    pub const OWNER: u32 = PID | UID | COMM | CGROUP | FOLLOW;
    /// Tests on the route, which an outbound attempt has only once its SYN is about to be sent.
    pub const ROUTE: u32 = NO_LOOPBACK | INTERFACE;
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

/// Which set a [`NameKey`] belongs to.
pub mod name {
    /// Names of processes.
    pub const COMM: u32 = 1;
    /// Names of network devices.
    pub const INTERFACE: u32 = 2;
}

/// Key of the map that holds the sets of names.
#[repr(C, align(8))]
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
pub struct NameKey {
    /// One of [`mod@name`].
    pub set: u32,
    /// Zero.
    pub reserved: u32,
    /// The member, filled up with NULs.
    pub name: [u8; NAME_LEN],
}

const _: () = assert!(size_of::<NameKey>() == 24 && align_of::<NameKey>() == 8);

/// Which set a [`PrefixKey`] belongs to.
pub mod prefix {
    /// Peers to keep.
    pub const ONLY: u32 = 1;
    /// Peers to leave out.
    pub const EXCLUDE: u32 = 2;
    /// Addresses of this host.
    pub const LOCAL: u32 = 3;
    /// Added for IPv4, so that no IPv6 prefix, however short, has an IPv4 address in it.
    pub const IPV4: u32 = 1 << 8;
}

/// Key of the trie that holds the sets of prefixes. All bits of the set belong to the prefix, so that
/// each set is a trie of its own.
#[repr(C, align(8))]
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
pub struct PrefixKey {
    /// Bits that count, from the beginning of `set` on.
    pub bits: u32,
    /// One of [`prefix`].
    pub set: u32,
    /// The address as in [`Flow`], in two halves.
    pub ip: [u64; 2],
}

const _: () = assert!(size_of::<PrefixKey>() == 24 && align_of::<PrefixKey>() == 8);

impl PrefixKey {
    /// Bits of the set.
    pub const SET_BITS: u32 = u32::BITS;
    /// Bits of the address.
    pub const IP_BITS: u32 = u128::BITS;

    /// Of a whole address, to look up: the two halves are what [`halves`] makes of it.
    #[inline(always)]
    pub const fn of((high, low): (u64, u64), set: u32) -> Self {
        let is_v4 = high == 0 && low >> 32 == 0xffff;
        Self {
            bits: Self::SET_BITS + Self::IP_BITS,
            set: if is_v4 { set | prefix::IPV4 } else { set },
            ip: [high.to_be(), low.to_be()],
        }
    }

    /// Of the first `length` bits of the address, a v4-mapped one counted as a whole.
    pub const fn prefix(self, length: u32) -> Self {
        Self {
            bits: Self::SET_BITS + length,
            ..self
        }
    }
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

/// The lowest and the highest port that the kernel chooses from, in the first 8 bytes of
/// `net.ipv4.ip_local_ports.range`: two `int`, or since 6.8 one with the highest in its upper half,
/// which is never 0.
#[inline(always)]
pub const fn chosen_ports(range: u64) -> (u16, u16) {
    let packed = (range >> 16) as u16;
    let highest = if packed != 0 {
        packed
    } else {
        (range >> 32) as u16
    };
    (range as u16, highest)
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
    /// Whether the owner is followed, valid with `tgid`.
    pub followed: bool,
    /// Network namespace.
    pub netns: u32,
    /// `comm` of the owner, valid with `tgid`.
    pub name: &'a [u8; NAME_LEN],
    /// Whether the owner is in a cgroup of the cgroup set, valid with `tgid`.
    pub in_cgroup: bool,
    /// Where the route leaves; `None` before there is one.
    pub route: Option<Route>,
}

/// The network device through which a connection's packets leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Whether it is the loopback device; only with [`test::NO_LOOPBACK`].
    pub loopback: bool,
    /// Whether its name is in the set of [`name::INTERFACE`]; only with [`test::INTERFACE`].
    pub chosen: bool,
}

impl Route {
    /// Through no device.
    pub const NOWHERE: Self = Self {
        loopback: false,
        chosen: false,
    };
}

/// The sets that are too large for the filter itself.
pub trait Sets {
    /// Whether the local port set has `port`.
    fn has_local_port(&self, port: u16) -> bool;
    /// Whether the remote port set has `port`.
    fn has_remote_port(&self, port: u16) -> bool;
    /// Whether set `set` of [`id`] has `value`.
    fn has_id(&self, set: u32, value: u32) -> bool;
    /// Whether set `set` of [`prefix`] has this address.
    fn has_prefix(&self, set: u32, ip: &[u8; 16]) -> bool;
    /// Whether set `set` of [`mod@name`] has `name`, up to its first NUL.
    fn has_name(&self, set: u32, name: &[u8; NAME_LEN]) -> bool;
}

impl Filter {
    /// Whether any test applies.
    #[inline(always)]
    pub const fn is_active(&self) -> bool {
        self.tests != 0
    }

    /// Whether ports alone tell that a connection is none of these, which costs no look-up in a
    /// hash table; 0 is a port that is not known.
    #[inline(always)]
    pub fn has_other_ports(
        &self,
        local: u16,
        remote: impl FnOnce() -> u16,
        sets: &impl Sets,
    ) -> bool {
        if self.tests & test::LOCAL_PORT != 0 && local != 0 && !sets.has_local_port(local) {
            return true;
        }
        if self.tests & test::REMOTE_PORT == 0 {
            return false;
        }
        let remote = remote();
        remote != 0 && !sets.has_remote_port(remote)
    }

    /// Whether no port from `lowest` to `highest` can be in the local port set.
    #[inline(always)]
    pub const fn has_no_local_port_in(&self, (lowest, highest): (u16, u16)) -> bool {
        self.tests & test::LOCAL_PORT != 0
            && (highest < self.lowest_port || self.highest_port < lowest)
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
            note(owned(facts, || sets.has_id(id::PID, facts.tgid)));
        }
        if self.tests & test::UID != 0 {
            note(owned(facts, || sets.has_id(id::UID, facts.uid)));
        }
        if self.tests & test::FOLLOW != 0 {
            note(owned(facts, || facts.followed));
        }
        if self.tests & test::COMM != 0 {
            note(owned(facts, || sets.has_name(name::COMM, facts.name)));
        }
        if self.tests & test::CGROUP != 0 {
            note(owned(facts, || facts.in_cgroup));
        }
        if self.tests & test::INTERFACE != 0 {
            note(match &facts.route {
                None => Match::Unknown,
                Some(route) => Match::from(route.chosen),
            });
        }
        if self.tests & test::LOCAL != 0 {
            note(Match::from(
                sets.has_prefix(prefix::LOCAL, &facts.flow.local_ip),
            ));
        }
        if self.tests & test::ONLY != 0 {
            note(Match::from(
                sets.has_prefix(prefix::ONLY, &facts.flow.remote_ip),
            ));
        }
        if self.tests & test::EXCLUDE != 0 {
            note(Match::from(
                !sets.has_prefix(prefix::EXCLUDE, &facts.flow.remote_ip),
            ));
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

/// A test on the owner.
#[inline(always)]
fn owned(facts: &Facts<'_>, fits: impl FnOnce() -> bool) -> Match {
    if facts.tgid == 0 {
        Match::Unknown
    } else {
        Match::from(fits())
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
    match facts.route {
        Some(route) => Match::from(!route.loopback),
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
        fn has_prefix(&self, set: u32, ip: &[u8; 16]) -> bool {
            match set {
                prefix::ONLY => *ip == mapped([10, 0, 0, 2]),
                prefix::EXCLUDE => *ip == mapped([10, 0, 0, 3]),
                _ => *ip == mapped([10, 0, 0, 1]),
            }
        }
        fn has_name(&self, set: u32, name: &[u8; NAME_LEN]) -> bool {
            (set, name) == (name::COMM, &NGINX)
        }
    }

    const NGINX: [u8; NAME_LEN] = *b"nginx\0\0\0\0\0\0\0\0\0\0\0";
    const OTHER: [u8; NAME_LEN] = *b"eth\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const THROUGH_CHOSEN: Route = Route {
        loopback: false,
        chosen: true,
    };

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
            followed: true,
            netns: 5,
            name: &NGINX,
            in_cgroup: true,
            route: Some(THROUGH_CHOSEN),
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
    fn ports_alone_rule_out_what_has_others() {
        let rules_out =
            |tests, local, remote| filter(tests).has_other_ports(local, || remote, &Fixed);
        let (local, remote) = (test::LOCAL_PORT, test::REMOTE_PORT);
        for (tests, local, remote, expected) in [
            (0, 1, 1, false),
            (local, 80, 1, false),
            (local, 81, 1, true),
            (local, 0, 1, false),
            (remote, 1, 443, false),
            (remote, 1, 444, true),
            (remote, 1, 0, false),
            (local | remote, 80, 443, false),
            (local | remote, 80, 444, true),
            (local | remote, 81, 443, true),
        ] {
            assert_eq!(
                rules_out(tests, local, remote),
                expected,
                "{tests} {local} {remote}"
            );
        }
    }

    #[test]
    fn ports_that_the_kernel_chooses_from_are_in_the_set_or_not() {
        let two_words = 32768 | 60999 << 32;
        let packed = 32768 | 60999 << 16;
        assert_eq!(chosen_ports(two_words), (32768, 60999));
        assert_eq!(chosen_ports(packed), (32768, 60999));
        // What follows in memory.
        assert_eq!(chosen_ports(packed | 1 << 32), (32768, 60999));
        assert_eq!(chosen_ports(1 | 1 << 16), (1, 1));
        let set = |lowest_port, highest_port| Filter {
            tests: test::LOCAL_PORT,
            lowest_port,
            highest_port,
            ..Filter::default()
        };
        let range = (32768, 60999);
        for (lowest, highest, expected) in [
            (80, 80, true),
            (1, 32767, true),
            (61000, 65535, true),
            (80, 32768, false),
            (60999, 65535, false),
            (40000, 40000, false),
            (1, 65535, false),
        ] {
            let set = set(lowest, highest);
            assert_eq!(set.has_no_local_port_in(range), expected, "{set:?}");
        }
        assert!(!filter(0).has_no_local_port_in(range));
    }

    #[test]
    fn the_owner_has_to_be_followed_once_it_is_known() {
        let flow = flow(80, 443);
        let follow = filter(test::FOLLOW);
        assert_eq!(follow.verdict(&facts(&flow), &Fixed), Verdict::Keep);
        let other = Facts {
            followed: false,
            ..facts(&flow)
        };
        assert_eq!(follow.verdict(&other, &Fixed), Verdict::Drop);
        let nobody = Facts { tgid: 0, ..other };
        assert_eq!(follow.verdict(&nobody, &Fixed), Verdict::Undecided);
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
            route: Some(Route {
                loopback: true,
                chosen: true,
            }),
            ..facts(&other)
        };
        assert_eq!(no_lo.verdict(&routed, &Fixed), Verdict::Drop);
        let unrouted = Facts {
            route: None,
            ..facts(&other)
        };
        assert_eq!(no_lo.verdict(&unrouted, &Fixed), Verdict::Undecided);
        assert_eq!(no_lo.verdict(&facts(&other), &Fixed), Verdict::Keep);
    }

    #[test]
    fn only_and_exclude_are_of_the_peer_and_local_is_of_this_host() {
        let fitting = flow(80, 443);
        let all = filter(test::ONLY | test::EXCLUDE | test::LOCAL);
        assert_eq!(all.verdict(&facts(&fitting), &Fixed), Verdict::Keep);
        let turned = Flow {
            local_ip: fitting.remote_ip,
            remote_ip: fitting.local_ip,
            ..fitting
        };
        let excluded = Flow {
            remote_ip: mapped([10, 0, 0, 3]),
            ..fitting
        };
        for (tests, flow, verdict) in [
            (test::ONLY, &turned, Verdict::Drop),
            (test::LOCAL, &turned, Verdict::Drop),
            (test::EXCLUDE, &turned, Verdict::Keep),
            (test::EXCLUDE, &excluded, Verdict::Drop),
            (test::LOCAL, &excluded, Verdict::Keep),
        ] {
            assert_eq!(filter(tests).verdict(&facts(flow), &Fixed), verdict);
        }
    }

    #[test]
    fn names_and_cgroups_are_of_the_owner_and_devices_of_the_route() {
        let flow = flow(80, 443);
        let tests = [test::COMM, test::CGROUP, test::INTERFACE];
        let wrong = Facts {
            name: &OTHER,
            in_cgroup: false,
            route: Some(Route::NOWHERE),
            ..facts(&flow)
        };
        let unknown = Facts {
            tgid: 0,
            route: None,
            ..wrong
        };
        for tests in tests {
            let filter = filter(tests);
            assert_eq!(filter.verdict(&facts(&flow), &Fixed), Verdict::Keep);
            assert_eq!(filter.verdict(&wrong, &Fixed), Verdict::Drop);
            assert_eq!(filter.verdict(&unknown, &Fixed), Verdict::Undecided);
        }
    }

    #[test]
    fn an_address_is_looked_up_among_those_of_its_version() {
        let v4 = PrefixKey::of(halves(&mapped([10, 1, 2, 3])), prefix::ONLY);
        assert_eq!((v4.bits, v4.set), (160, prefix::ONLY | prefix::IPV4));
        assert_eq!(v4.ip.map(u64::to_be), [0, 0xffff_0a01_0203]);
        assert_eq!(v4.prefix(104).bits, 136);
        let mut ip = mapped([10, 1, 2, 3]);
        ip[0] = 0x20;
        let v6 = PrefixKey::of(halves(&ip), prefix::LOCAL);
        assert_eq!((v6.bits, v6.set), (160, prefix::LOCAL));
    }

    #[test]
    fn every_port_has_a_bit_of_its_own() {
        assert_eq!(port_bit(0), (0, 1));
        assert_eq!(port_bit(63), (0, 1 << 63));
        assert_eq!(port_bit(64), (1, 1));
        assert_eq!(port_bit(65535), (PORT_WORDS - 1, 1 << 63));
    }
}
