//! Whether a recorded connection is one of those asked for. Pure.
//!
//! The judge is the one of the kernel side, so a filter means the same here and there. What it
//! cannot judge by a record it does not keep, as the kernel side at a connection's end; only the
//! route is not in a record: between two different addresses of the host it is not known to be
//! loopback.

use std::net::IpAddr;

use tracer_common::connection::NAME_LEN;
use tracer_common::filter::{Facts, Filter, Route, Verdict, test};
use tracer_common::flow::{AF_INET, AF_INET6, Flow};

use crate::address::{self, ClassSet};
use crate::options::FilterOptions;
use crate::record::{Direction, Family, Record};

/// The choice.
#[derive(Debug)]
pub struct Selector {
    options: FilterOptions,
    filter: Filter,
    /// A test that the kernel side does not know.
    classes: Option<ClassSet>,
}

impl Selector {
    /// Keeps what `options` say, whose ids are sorted, with peers of these classes.
    pub fn new(options: FilterOptions, classes: Option<ClassSet>) -> Self {
        let mut filter = options.to_kernel();
        // Records have names as text.
        filter.tests &= !test::COMM;
        Self {
            options,
            filter,
            classes,
        }
    }

    /// Whether `record` is of such a connection.
    pub fn keeps(&self, record: &Record) -> bool {
        let of = |classes: &ClassSet| classes.contains(&address::of(record.remote.ip));
        self.classes.as_ref().is_none_or(of)
            && self.passes_owner(record)
            && (!self.filter.is_active() || self.judge(record))
    }

    /// Whether the tests on the name and the program of the owner are passed.
    fn passes_owner(&self, record: &Record) -> bool {
        let choice = &self.options.choice;
        if choice.comms.is_empty() && choice.exe.is_empty() {
            return true;
        }
        record.process.as_ref().is_some_and(|owner| {
            let details = owner.details.as_ref();
            let exe = details.and_then(|details| details.exe.as_deref());
            choice.passes_comm(&owner.name) && choice.exe.pass(exe)
        })
    }

    fn judge(&self, record: &Record) -> bool {
        let flow = Flow {
            local_ip: mapped(record.local.ip),
            remote_ip: mapped(record.remote.ip),
            local_port: record.local.port.unwrap_or(0),
            remote_port: record.remote.port.unwrap_or(0),
            socket_family: match record.socket_family.unwrap_or(record.family) {
                Family::Ipv4 => AF_INET,
                Family::Ipv6 => AF_INET6,
            },
            reserved: 0,
        };
        let owner = record.process.as_ref();
        let facts = Facts {
            flow: &flow,
            inbound: record.direction == Direction::Inbound,
            tgid: owner.map_or(0, |owner| owner.pid),
            uid: owner.map_or(0, |owner| owner.uid),
            // No record tells who started a process.
            followed: false,
            netns: record.netns,
            name: &[0; NAME_LEN],
            in_cgroup: false,
            route: Some(Route::NOWHERE),
        };
        self.filter.verdict(&facts, &self.options) == Verdict::Keep
    }
}

fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::EventKind;
    use crate::sink::samples::{between, endpoint, inbound, outbound};

    type Change<'a> = &'a dyn Fn(&mut FilterOptions);

    fn keeps(options: FilterOptions, record: &Record) -> bool {
        Selector::new(options, None).keeps(record)
    }

    fn none() -> FilterOptions {
        FilterOptions::default()
    }

    #[test]
    fn each_filter_keeps_what_fits_and_nothing_else() {
        let ports = |list: &str| list.parse().ok();
        // 10.0.0.5:80 <- 10.0.0.9:20122, pid 1234, uid 33.
        let record = inbound(EventKind::Close);
        let fits: [Change<'_>; 9] = [
            &|_| (),
            &|it| it.local_ports = ports("80"),
            &|it| it.remote_ports = ports("20000-21000"),
            &|it| it.pids = vec![7, 1234],
            &|it| it.uids = vec![33],
            &|it| it.netns = vec![4_026_531_840],
            &|it| it.family = Some(Family::Ipv4),
            &|it| it.direction = Some(Direction::Inbound),
            &|it| it.loopback = false,
        ];
        let does_not: [Change<'_>; 8] = [
            &|it| it.local_ports = ports("81"),
            &|it| it.remote_ports = ports("80"),
            &|it| it.pids = vec![33],
            &|it| it.uids = vec![1234],
            &|it| it.netns = vec![5],
            &|it| it.family = Some(Family::Ipv6),
            &|it| it.direction = Some(Direction::Outbound),
            // All must fit.
            &|it| (it.local_ports, it.uids) = (ports("80"), vec![0]),
        ];
        let fits = fits.into_iter().map(|change| (change, true));
        let does_not = does_not.into_iter().map(|change| (change, false));
        for (change, kept) in fits.chain(does_not) {
            let mut options = none();
            change(&mut options);
            assert_eq!(keeps(options.clone(), &record), kept, "{options:?}");
        }
    }

    #[test]
    fn a_class_is_that_of_the_peer_and_one_test_more() {
        let record = inbound(EventKind::Close);
        let keeps = |classes: &str, port: &str| {
            let options = FilterOptions {
                local_ports: port.parse().ok(),
                ..none()
            };
            Selector::new(options, classes.parse().ok()).keeps(&record)
        };
        assert!(keeps("private-use,public", "80"));
        assert!(!keeps("private", "81"));
        assert!(!keeps("public,loopback", "80"));
    }

    #[test]
    fn what_is_not_known_is_not_kept() {
        let mut record = outbound(EventKind::Open);
        record.local.port = None;
        record.process = None;
        for options in [
            FilterOptions {
                local_ports: Some("1-65535".parse().unwrap()),
                ..none()
            },
            FilterOptions {
                pids: vec![1234],
                ..none()
            },
            FilterOptions {
                uids: vec![0],
                ..none()
            },
        ] {
            assert!(!keeps(options.clone(), &record), "{options:?}");
        }
        assert!(keeps(none(), &record));
    }

    #[test]
    fn loopback_is_by_address() {
        let leaves = |local: &str, remote: &str| {
            let ends = (endpoint(local, 1), endpoint(remote, 2));
            let record = between(EventKind::Close, Direction::Outbound, ends.0, ends.1);
            keeps(
                FilterOptions {
                    loopback: false,
                    ..none()
                },
                &record,
            )
        };
        assert!(!leaves("127.0.0.1", "127.9.9.9"));
        assert!(!leaves("::1", "::1"));
        assert!(!leaves("10.0.0.5", "10.0.0.5"));
        assert!(leaves("10.0.0.5", "10.0.0.6"));
        assert!(leaves("2001:db8::1", "2001:db8::2"));
    }
}
