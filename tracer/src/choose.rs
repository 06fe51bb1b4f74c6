//! Which traffic, beyond ports and ids: by addresses, device, name, program and cgroup.
//!
//! | part | does |
//! |---|---|
//! | [`prefixes`] | sets of addresses; pure |
//! | [`source`] | those that options and files name |
//! | [`name`] | names as the kernel keeps them; pure |
//! | [`cgroups`] | the cgroups of units and containers |
//! | [`exe`] | programs by path, which only user space knows |
//! | [`reload`] | files and cgroups looked at again, on SIGHUP |
//!
//! All but the programs is judged in the kernel, by `tracer_common::filter`.

pub mod cgroups;
pub mod exe;
pub mod name;
pub mod prefixes;
pub mod reload;
pub mod source;

use tracer_common::connection::NAME_LEN;
use tracer_common::filter::{NameKey, PrefixKey, name as name_set, prefix, test};

use crate::track::address;
use cgroups::{CgroupError, Cgroups};
use exe::Globs;
use name::Name;
use source::{Prefixes, SourceError};

/// What was chosen; nothing by default, which is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Peers to keep; `None` = all.
    pub only: Option<Prefixes>,
    /// Peers to leave out.
    pub exclude: Option<Prefixes>,
    /// This host's addresses; `None` = all.
    pub local: Option<Prefixes>,
    /// Devices that the route leaves through; empty = any.
    pub interfaces: Vec<Name>,
    /// Names of owners; empty = any.
    pub comms: Vec<Name>,
    /// Programs of owners; empty = any.
    pub exe: Globs,
    /// Cgroups of owners; empty = any.
    pub cgroups: Cgroups,
}

/// Prefixes that there is room for in the kernel beyond those of the start, where files may grow.
const ROOM: usize = 1 << 20;

impl Choice {
    /// The tests that the kernel side applies: bits of [`mod@test`].
    pub fn tests(&self) -> u32 {
        let tests = [
            (self.only.is_some(), test::ONLY),
            (self.exclude.is_some(), test::EXCLUDE),
            (self.local.is_some(), test::LOCAL),
            (!self.interfaces.is_empty(), test::INTERFACE),
            (!self.comms.is_empty(), test::COMM),
            (!self.cgroups.is_empty(), test::CGROUP),
        ];
        let given = tests.into_iter().filter(|(given, _)| *given);
        given.fold(0, |bits, (_, bit)| bits | bit)
    }

    /// The sets of prefixes that were chosen: by which option, which of [`prefix`], and what.
    fn prefixes(&self) -> impl Iterator<Item = (&'static str, u32, &Prefixes)> {
        let sets = [
            ("--only", prefix::ONLY, &self.only),
            ("--exclude", prefix::EXCLUDE, &self.exclude),
            ("--local", prefix::LOCAL, &self.local),
        ];
        sets.into_iter()
            .filter_map(|(option, set, prefixes)| Some((option, set, prefixes.as_ref()?)))
    }

    /// The members of the map [`tracer_common::map::PREFIXES`].
    pub fn prefix_keys(&self) -> impl Iterator<Item = PrefixKey> {
        self.prefixes()
            .flat_map(|(_, set, prefixes)| prefixes.set().keys(set))
    }

    /// Most members that it is made for.
    pub fn prefix_room(&self) -> u32 {
        let (mut room, mut may_grow) = (0_usize, false);
        for (.., prefixes) in self.prefixes() {
            room = room.saturating_add(prefixes.set().len());
            may_grow |= prefixes.has_files();
        }
        // A change adds what is new before it takes away what is gone.
        let grown = room.saturating_mul(2).saturating_add(ROOM);
        let room = if may_grow { grown } else { room };
        u32::try_from(room).unwrap_or(u32::MAX).max(1)
    }

    /// The members of the map [`tracer_common::map::NAMES`].
    pub fn name_keys(&self) -> impl Iterator<Item = NameKey> {
        let sets = [
            (name_set::COMM, &self.comms),
            (name_set::INTERFACE, &self.interfaces),
        ];
        sets.into_iter().flat_map(|(set, names)| {
            names.iter().map(move |name| NameKey {
                set,
                reserved: 0,
                name: name.bytes(),
            })
        })
    }

    /// Whether anything of it can change while a run goes on.
    pub fn can_change(&self) -> bool {
        !self.cgroups.is_empty() || self.prefixes().any(|(.., prefixes)| prefixes.has_files())
    }

    /// Looks again at files and cgroups.
    pub fn again(&self) -> Result<Self, AgainError> {
        let read = |option: &'static str, prefixes: &Option<Prefixes>| {
            let again = prefixes.as_ref().map(Prefixes::again).transpose();
            again.map_err(|error| AgainError::Source { option, error })
        };
        Ok(Self {
            only: read("--only", &self.only)?,
            exclude: read("--exclude", &self.exclude)?,
            local: read("--local", &self.local)?,
            cgroups: self.cgroups.again()?,
            ..self.clone()
        })
    }

    /// As [`tracer_common::filter::Sets::has_prefix`].
    pub fn has_prefix(&self, set: u32, ip: &[u8; 16]) -> bool {
        let chosen = match set {
            prefix::ONLY => &self.only,
            prefix::EXCLUDE => &self.exclude,
            _ => &self.local,
        };
        let ip = address(*ip);
        chosen
            .as_ref()
            .is_some_and(|chosen| chosen.set().contains(ip))
    }

    /// As [`tracer_common::filter::Sets::has_name`].
    pub fn has_name(&self, set: u32, name: &[u8; NAME_LEN]) -> bool {
        let names = match set {
            name_set::COMM => &self.comms,
            _ => &self.interfaces,
        };
        names.contains(&Name::of_kernel(name))
    }

    /// Whether a process of this escaped name is chosen.
    pub fn passes_comm(&self, name: &str) -> bool {
        self.comms.is_empty() || self.comms.iter().any(|comm| comm.text() == name)
    }
}

/// Why the choice stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    /// A file cannot be used.
    #[error("{option} {error}")]
    Source {
        /// Of which option.
        option: &'static str,
        /// What is wrong.
        error: SourceError,
    },
    /// A cgroup cannot be found.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(text: &str) -> Prefixes {
        Prefixes::of(&[text]).unwrap()
    }

    fn names(text: &str) -> Vec<Name> {
        name::parse_comms(text).unwrap()
    }

    #[test]
    fn nothing_chosen_is_no_test_and_takes_no_room() {
        let choice = Choice::default();
        assert_eq!((choice.tests(), choice.prefix_room()), (0, 1));
        assert!(!choice.can_change());
        assert!(choice.passes_comm("anything"));
    }

    #[test]
    fn each_option_is_a_test_of_its_own() {
        let none = Choice::default;
        for (choice, tests) in [
            (
                Choice {
                    only: Some(prefixes("10.0.0.0/8")),
                    ..none()
                },
                test::ONLY,
            ),
            (
                Choice {
                    exclude: Some(prefixes("10.0.0.0/8")),
                    ..none()
                },
                test::EXCLUDE,
            ),
            (
                Choice {
                    local: Some(prefixes("10.0.0.0/8")),
                    ..none()
                },
                test::LOCAL,
            ),
            (
                Choice {
                    comms: names("nginx"),
                    ..none()
                },
                test::COMM,
            ),
            (
                Choice {
                    interfaces: names("eth0"),
                    ..none()
                },
                test::INTERFACE,
            ),
            (
                Choice {
                    exe: Globs::parse("*/nginx").unwrap(),
                    ..none()
                },
                0,
            ),
        ] {
            assert_eq!(choice.tests(), tests, "{choice:?}");
        }
    }

    #[test]
    fn each_set_is_its_own() {
        let choice = Choice {
            only: Some(prefixes("10.0.0.0/8,2001:db8::/32")),
            exclude: Some(prefixes("10.1.0.0/16")),
            comms: names("nginx"),
            interfaces: names("eth0"),
            ..Choice::default()
        };
        let ip = |text: &str| {
            let ip: std::net::Ipv4Addr = text.parse().unwrap();
            ip.to_ipv6_mapped().octets()
        };
        assert!(choice.has_prefix(prefix::ONLY, &ip("10.2.0.0")));
        assert!(!choice.has_prefix(prefix::EXCLUDE, &ip("10.2.0.0")));
        assert!(choice.has_prefix(prefix::EXCLUDE, &ip("10.1.9.9")));
        assert!(!choice.has_prefix(prefix::LOCAL, &ip("10.1.9.9")));
        let sets: Vec<_> = choice
            .prefix_keys()
            .map(|key| (key.set, key.bits))
            .collect();
        assert_eq!(
            sets,
            [
                (prefix::ONLY | prefix::IPV4, 32 + 96 + 8),
                (prefix::ONLY, 32 + 32),
                (prefix::EXCLUDE | prefix::IPV4, 32 + 96 + 16),
            ]
        );
        assert_eq!(choice.prefix_room(), 3);
        // What is left of a longer name does not count.
        assert!(choice.has_name(name_set::COMM, b"nginx\0worker\0\0\0\0"));
        assert!(!choice.has_name(name_set::INTERFACE, b"nginx\0\0\0\0\0\0\0\0\0\0\0"));
        assert_eq!(choice.name_keys().count(), 2);
        assert!(choice.passes_comm("nginx") && !choice.passes_comm("ngin"));
    }
}
