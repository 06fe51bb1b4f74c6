//! The options that choose connections, the same for a run, a replay and a list of sockets.

use std::collections::HashSet;

use super::choose::ChooseArgs;
use super::{SELECT, UsageError, choice, each};
use crate::address::ClassSet;
use crate::list::place::Place;
use crate::options::FilterOptions;
use crate::options::netns::parse_netns;
use crate::options::values::{parse_pids, parse_uids};
use crate::ports::PortSet;
use crate::record::{Direction, Family};

const FAMILIES: &[(&str, Family)] = &[("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)];
pub(super) const DIRECTIONS: &[(&str, Direction)] = &[
    ("inbound", Direction::Inbound),
    ("outbound", Direction::Outbound),
];

#[derive(clap::Args)]
pub(super) struct SelectArgs {
    #[arg(long = "port", value_name = "PORTS", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections with these local ports: numbers and ranges, as in 80,8000-8100; \
                may be repeated. Default: all.")]
    ports: Vec<String>,

    #[arg(long, value_name = "PORTS", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections with these ports on the peer's side, written likewise. \
                Default: all.")]
    remote_port: Vec<String>,

    #[arg(short, long, value_name = "PIDS", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections of these processes: process ids, as in \
                812,813; may be repeated. Default: all.")]
    pid: Vec<String>,

    #[arg(long, value_name = "UIDS", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep connections of processes of these users: numeric ids, as in 33,1000; may \
                be repeated. Default: all.")]
    uid: Vec<String>,

    #[arg(long, value_name = "FAMILY", help_heading = SELECT, value_parser = choice(FAMILIES),
        help = "Keep one IP version; IPv4 on an IPv6 socket counts as IPv4. Default: both.")]
    family: Option<Family>,

    #[arg(short = '4', help_heading = SELECT, conflicts_with_all = ["ipv6", "family"],
        help = "Short for --family ipv4.")]
    ipv4: bool,

    #[arg(short = '6', help_heading = SELECT, conflicts_with = "family",
        help = "Short for --family ipv6.")]
    ipv6: bool,

    #[arg(long, value_name = "DIRECTION", help_heading = SELECT, value_parser = choice(DIRECTIONS),
        help = "Keep connections that this host accepted (inbound) or opened (outbound). \
                Default: both.")]
    direction: Option<Direction>,

    #[arg(long, help_heading = SELECT,
        help = "Leave out connections over the loopback device, also those between this host's \
                own addresses. Default: they are kept.")]
    no_loopback: bool,

    #[command(flatten)]
    choose: ChooseArgs,
}

impl SelectArgs {
    pub(super) fn check(&self) -> Result<FilterOptions, UsageError> {
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::Ipv4),
            (_, true) => Some(Family::Ipv6),
            _ => self.family,
        };
        Ok(FilterOptions {
            local_ports: port_set("--port", &self.ports)?,
            remote_ports: port_set("--remote-port", &self.remote_port)?,
            pids: each("--pid", &self.pid, parse_pids)?.concat(),
            follow: false,
            uids: each("--uid", &self.uid, parse_uids)?.concat(),
            family,
            direction: self.direction,
            netns: Vec::new(),
            loopback: !self.no_loopback,
            choice: self.choose.check()?,
        })
    }
}

/// With those of a network namespace.
#[derive(clap::Args)]
pub(super) struct FilterArgs {
    #[command(flatten)]
    select: SelectArgs,

    #[arg(long, value_name = "NETNS", help_heading = SELECT, allow_hyphen_values = true,
        help = "Keep this network namespace: its inode number, `self`, or a path such as \
                /proc/PID/ns/net or /run/netns/NAME; may be repeated. Default: all.")]
    netns: Vec<String>,
}

impl FilterArgs {
    /// The network namespaces as what can be entered.
    pub(super) fn places(&self) -> Result<Vec<Place>, UsageError> {
        places(&self.netns)
    }

    pub(super) fn check(&self) -> Result<FilterOptions, UsageError> {
        let mut filter = FilterOptions {
            netns: each("--netns", &self.netns, parse_netns)?,
            ..self.select.check()?
        };
        filter
            .normalize_ids()
            .map_err(|error| UsageError::message(&error.to_string()))?;
        Ok(filter)
    }
}

/// Network namespaces, each once.
pub(super) fn places(netns: &[String]) -> Result<Vec<Place>, UsageError> {
    let mut places = each("--netns", netns, Place::parse)?;
    let mut seen = HashSet::new();
    places.retain(|place| seen.insert(place.inode()));
    Ok(places)
}

/// The classes of addresses that an option names; `None` without it.
pub(super) fn class_set(lists: &[String]) -> Result<Option<ClassSet>, UsageError> {
    let parsed = each("--class", lists, str::parse::<ClassSet>)?;
    Ok(parsed.into_iter().reduce(|mut set, more| {
        set.insert(more);
        set
    }))
}

pub(super) fn port_set(option: &str, lists: &[String]) -> Result<Option<PortSet>, UsageError> {
    let mut set = PortSet::default();
    each(option, lists, |list| set.insert_list(list))?;
    Ok((!set.is_empty()).then_some(set))
}
