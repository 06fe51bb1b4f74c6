//! Which connections the user wants, and what the kernel side is told of it.

use tracer_common::connection::NAME_LEN;
use tracer_common::filter::{Filter, IdKey, MAX_IDS, Sets, id, test};

use crate::choose::Choice;
use crate::ports::PortSet;
use crate::record::{Direction, Family};

/// Which connections are traced; those that pass every test given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterOptions {
    /// Local ports; never an empty set.
    pub local_ports: Option<PortSet>,
    /// Remote ports; never an empty set.
    pub remote_ports: Option<PortSet>,
    /// Owners by process id; empty = any.
    pub pids: Vec<u32>,
    /// Whether all that `pids`, or a command, started and start are owners, too.
    pub follow: bool,
    /// Owners by effective uid; empty = any.
    pub uids: Vec<u32>,
    /// IP version; `None` = both.
    pub family: Option<Family>,
    /// `None` = both.
    pub direction: Option<Direction>,
    /// Network namespaces by inode number; empty = any.
    pub netns: Vec<u32>,
    /// Whether loopback connections are traced.
    pub loopback: bool,
    /// By address, device, name, program and cgroup.
    pub choice: Choice,
}

impl Default for FilterOptions {
    fn default() -> Self {
        Self {
            local_ports: None,
            remote_ports: None,
            pids: Vec::new(),
            follow: false,
            uids: Vec::new(),
            family: None,
            direction: None,
            netns: Vec::new(),
            loopback: true,
            choice: Choice::default(),
        }
    }
}

/// More ids than the kernel side has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--pid, --uid and --netns name {count} different ids and {max} fit; \
     name fewer, or filter by --port instead",
    max = MAX_IDS
)]
pub struct TooManyIds {
    /// Different ids given.
    pub count: usize,
}

impl FilterOptions {
    /// Sorts the ids, drops repeated ones and checks that they fit.
    pub fn normalize_ids(&mut self) -> Result<(), TooManyIds> {
        for ids in [&mut self.pids, &mut self.uids, &mut self.netns] {
            ids.sort_unstable();
            ids.dedup();
        }
        match self.ids().count() {
            count if count > MAX_IDS as usize => Err(TooManyIds { count }),
            _ => Ok(()),
        }
    }

    /// The members of the map [`tracer_common::map::IDS`].
    pub fn ids(&self) -> impl Iterator<Item = IdKey> {
        // Who is followed has a map of its own, which changes while it runs.
        let pids: &[u32] = if self.follow { &[] } else { &self.pids };
        let sets = [
            (id::PID, pids),
            (id::UID, &self.uids[..]),
            (id::NETNS, &self.netns[..]),
        ];
        sets.into_iter()
            .flat_map(|(set, ids)| ids.iter().map(move |value| IdKey { set, value: *value }))
    }

    /// The tests that the kernel side applies.
    pub fn to_kernel(&self) -> Filter {
        let tests = [
            (self.local_ports.is_some(), test::LOCAL_PORT),
            (self.remote_ports.is_some(), test::REMOTE_PORT),
            (!self.pids.is_empty() && !self.follow, test::PID),
            (!self.uids.is_empty(), test::UID),
            (self.family.is_some(), test::FAMILY),
            (self.direction.is_some(), test::DIRECTION),
            (!self.netns.is_empty(), test::NETNS),
            (!self.loopback, test::NO_LOOPBACK),
            (self.follow, test::FOLLOW),
        ];
        let ports = self.local_ports.as_ref();
        let (lowest_port, highest_port) = ports.map_or((0, 0), PortSet::bounds);
        Filter {
            tests: tests
                .into_iter()
                .filter(|(applies, _)| *applies)
                .fold(self.choice.tests(), |bits, (_, bit)| bits | bit),
            family: match self.family {
                None => 0,
                Some(Family::Ipv4) => 4,
                Some(Family::Ipv6) => 6,
            },
            inbound: u32::from(self.direction == Some(Direction::Inbound)),
            lowest_port,
            highest_port,
        }
    }
}

/// For what is judged in user space; ids must be sorted, as [`FilterOptions::normalize_ids`] does.
impl Sets for FilterOptions {
    fn has_local_port(&self, port: u16) -> bool {
        let ports = self.local_ports.as_ref();
        ports.is_none_or(|ports| ports.contains(port))
    }

    fn has_remote_port(&self, port: u16) -> bool {
        let ports = self.remote_ports.as_ref();
        ports.is_none_or(|ports| ports.contains(port))
    }

    fn has_id(&self, set: u32, value: u32) -> bool {
        let ids = match set {
            id::PID => &self.pids,
            id::UID => &self.uids,
            _ => &self.netns,
        };
        ids.binary_search(&value).is_ok()
    }

    fn has_prefix(&self, set: u32, ip: &[u8; 16]) -> bool {
        self.choice.has_prefix(set, ip)
    }

    fn has_name(&self, set: u32, name: &[u8; NAME_LEN]) -> bool {
        self.choice.has_name(set, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_is_no_test() {
        assert_eq!(FilterOptions::default().to_kernel(), Filter::default());
    }

    #[test]
    fn each_option_sets_its_own_test() {
        let ports = || Some("80".parse().unwrap());
        let none = FilterOptions::default;
        for (options, tests) in [
            (
                FilterOptions {
                    local_ports: ports(),
                    ..none()
                },
                test::LOCAL_PORT,
            ),
            (
                FilterOptions {
                    remote_ports: ports(),
                    ..none()
                },
                test::REMOTE_PORT,
            ),
            (
                FilterOptions {
                    pids: vec![7],
                    ..none()
                },
                test::PID,
            ),
            (
                FilterOptions {
                    uids: vec![0],
                    ..none()
                },
                test::UID,
            ),
            (
                FilterOptions {
                    netns: vec![5],
                    ..none()
                },
                test::NETNS,
            ),
            (
                FilterOptions {
                    loopback: false,
                    ..none()
                },
                test::NO_LOOPBACK,
            ),
            (
                FilterOptions {
                    pids: vec![7],
                    follow: true,
                    ..none()
                },
                test::FOLLOW,
            ),
        ] {
            let port = if tests == test::LOCAL_PORT { 80 } else { 0 };
            let expected = Filter {
                tests,
                lowest_port: port,
                highest_port: port,
                ..Filter::default()
            };
            assert_eq!(options.to_kernel(), expected, "{options:?}");
        }
    }

    #[test]
    fn family_and_direction_are_told_apart() {
        for (family, number) in [(Family::Ipv4, 4), (Family::Ipv6, 6)] {
            let options = FilterOptions {
                family: Some(family),
                ..FilterOptions::default()
            };
            let expected = Filter {
                tests: test::FAMILY,
                family: number,
                ..Filter::default()
            };
            assert_eq!(options.to_kernel(), expected);
        }
        for (direction, inbound) in [(Direction::Inbound, 1), (Direction::Outbound, 0)] {
            let options = FilterOptions {
                direction: Some(direction),
                ..FilterOptions::default()
            };
            let expected = Filter {
                tests: test::DIRECTION,
                inbound,
                ..Filter::default()
            };
            assert_eq!(options.to_kernel(), expected);
        }
    }

    #[test]
    fn tests_add_up() {
        let options = FilterOptions {
            pids: vec![1],
            uids: vec![2],
            family: Some(Family::Ipv6),
            loopback: false,
            ..FilterOptions::default()
        };
        let kernel = options.to_kernel();
        assert_eq!(
            kernel.tests,
            test::PID | test::UID | test::FAMILY | test::NO_LOOPBACK
        );
        assert_eq!(kernel.family, 6);
    }

    #[test]
    fn ids_carry_their_set() {
        let options = FilterOptions {
            pids: vec![10, 11],
            uids: vec![10],
            netns: vec![12],
            ..FilterOptions::default()
        };
        let ids: Vec<_> = options.ids().map(|key| (key.set, key.value)).collect();
        assert_eq!(
            ids,
            [(id::PID, 10), (id::PID, 11), (id::UID, 10), (id::NETNS, 12)]
        );
    }

    #[test]
    fn different_ids_are_counted_across_the_sets() {
        let fits: u32 = MAX_IDS - 1;
        let mut options = FilterOptions {
            pids: (0..fits).rev().chain(0..fits).collect(),
            uids: vec![7, 7],
            ..FilterOptions::default()
        };
        assert_eq!(options.normalize_ids(), Ok(()));
        assert_eq!(options.pids, (0..fits).collect::<Vec<_>>());
        assert_eq!(options.uids, [7]);
        options.netns.push(9);
        let error = options.normalize_ids().unwrap_err();
        assert_eq!(error.count, MAX_IDS as usize + 1);
        assert!(
            error
                .to_string()
                .contains("4097 different ids and 4096 fit"),
            "{error}"
        );
    }
}
