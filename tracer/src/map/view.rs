//! What of a map is shown, and how it is grouped. Pure.

pub mod classes;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use compact_str::CompactString;

use super::{Forgotten, Map, Relation, Source, Uses};
use crate::address::{self, ClassSet, Entry};
use crate::ports::PortSet;
use crate::record::{Direction, WallTime};

/// Which relations are shown: those that fit all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Ports of services, here or elsewhere; `None` = all.
    pub ports: Option<PortSet>,
    /// `None` = both.
    pub direction: Option<Direction>,
    /// Those that were seen at this time or later.
    pub since: Option<WallTime>,
    /// What the address on the other side is; `None` = anything.
    pub classes: Option<ClassSet>,
    /// Also those whose other side is a loopback or an unspecified address.
    pub loopback: bool,
}

impl Filter {
    fn admits(&self, relation: &Relation, uses: &Uses) -> bool {
        let port = relation.service.map(|service| service.port());
        let other_side = relation.other_side();
        let has_class =
            |classes: &ClassSet| other_side.is_some_and(|ip| classes.contains(&address::of(ip)));
        let has_port = |ports: &PortSet| port.is_some_and(|port| ports.contains(port));
        self.ports.as_ref().is_none_or(has_port)
            && self.classes.as_ref().is_none_or(has_class)
            && self
                .direction
                .is_none_or(|direction| direction == relation.direction)
            && self.since.is_none_or(|since| uses.last_seen >= since)
    }
}

/// What is shown of a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Relations by host, direction, service, peer and process; addresses by number, IPv4 first.
    pub relations: Vec<(Relation, Uses)>,
    /// Relations that fit and are not shown, because the other side is a loopback or an unspecified
    /// address.
    pub loopback_hidden: u64,
    /// What is missing from the map.
    pub forgotten: Forgotten,
}

impl Shown {
    /// What `filter` lets pass.
    pub fn of(map: Map, filter: &Filter) -> Self {
        let mut shown = Self {
            relations: map.relations,
            loopback_hidden: 0,
            forgotten: map.forgotten,
        };
        let hidden = &mut shown.loopback_hidden;
        shown.relations.retain(|(relation, uses)| {
            let is_admitted = filter.admits(relation, uses);
            let is_hidden = is_admitted && !filter.loopback && is_inside(relation);
            *hidden += u64::from(is_hidden);
            is_admitted && !is_hidden
        });
        shown
            .relations
            .sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        shown
    }

    /// Whether what is shown comes from several hosts.
    pub fn has_hosts(&self) -> bool {
        let first = self.relations.first();
        self.relations
            .iter()
            .any(|(relation, _)| first.is_some_and(|(first, _)| first.host != relation.host))
    }

    /// Whether all of it was traced.
    pub fn is_traced(&self) -> bool {
        self.relations
            .iter()
            .all(|(relation, _)| relation.source == Source::Traced)
    }

    /// The addresses on the other side: peers that used services here, and hosts whose services
    /// were used.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.relations
            .iter()
            .filter_map(|(relation, _)| relation.other_side())
            .collect()
    }

    /// One to many: each service with those that use it.
    pub fn services(&self) -> Vec<Service> {
        let mut services: Vec<Service> = Vec::new();
        for (relation, uses) in &self.relations {
            match services.last_mut() {
                Some(service) if service.is_of(relation) => service.add(relation, *uses),
                _ => services.push(Service::new(relation, *uses)),
            }
        }
        services
    }
}

/// Whether the other side is this host itself, or nowhere.
fn is_inside(relation: &Relation) -> bool {
    relation
        .other_side()
        .is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// A service and those that use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Of which host this is told.
    pub host: Arc<str>,
    /// Inbound: it is that host's own.
    pub direction: Direction,
    /// Where it is; `None` = imported peers, whose service is not known.
    pub address: Option<SocketAddr>,
    /// Everything added up.
    pub uses: Uses,
    /// Inbound: one a peer address and source. Outbound: one a process name and source.
    pub members: Vec<Member>,
}

/// Who uses a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Inbound: the address.
    pub peer: Option<IpAddr>,
    /// Inbound: the processes that served it. Outbound: the process that connected.
    pub processes: Vec<CompactString>,
    /// How it is known.
    pub source: Source,
    /// How often and when.
    pub uses: Uses,
}

impl Service {
    fn new(relation: &Relation, uses: Uses) -> Self {
        Self {
            host: Arc::clone(&relation.host),
            direction: relation.direction,
            address: relation.service,
            uses,
            members: vec![Member::new(relation, uses)],
        }
    }

    fn is_of(&self, relation: &Relation) -> bool {
        (&self.host, self.direction, self.address)
            == (&relation.host, relation.direction, relation.service)
    }

    fn add(&mut self, relation: &Relation, uses: Uses) {
        self.uses += uses;
        // Relations are sorted by peer.
        let same = |member: &&mut Member| member.peer == relation.peer;
        let mut last = self.members.iter_mut().rev().take_while(same);
        let found = (relation.direction == Direction::Inbound)
            .then(|| last.find(|member| member.source == relation.source))
            .flatten();
        match found {
            Some(member) => member.add(relation, uses),
            None => self.members.push(Member::new(relation, uses)),
        }
    }

    /// Its address, where it is elsewhere. Of a service of the host itself the peers' addresses
    /// are on the other side.
    pub fn other_side(&self) -> Option<IpAddr> {
        let elsewhere = self
            .address
            .filter(|_| self.direction == Direction::Outbound);
        elsewhere.map(|address| address.ip())
    }

    /// What that address is.
    pub fn class(&self) -> Option<Entry> {
        self.other_side().map(address::of)
    }

    /// How many peers or processes there are.
    pub fn users(&self) -> usize {
        let mut users: Vec<_> = self
            .members
            .iter()
            .map(|member| (member.peer, &member.processes))
            .collect();
        match self.direction {
            Direction::Inbound => users.dedup_by_key(|(peer, _)| *peer),
            Direction::Outbound => users.dedup(),
        }
        users.len()
    }
}

impl Member {
    /// What its address is, if it is one.
    pub fn class(&self) -> Option<Entry> {
        self.peer.map(address::of)
    }

    fn new(relation: &Relation, uses: Uses) -> Self {
        Self {
            peer: relation.peer,
            processes: relation.process.iter().cloned().collect(),
            source: relation.source,
            uses,
        }
    }

    fn add(&mut self, relation: &Relation, uses: Uses) {
        self.uses += uses;
        if let Some(process) = &relation.process
            && !self.processes.contains(process)
        {
            self.processes.push(process.clone());
        }
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
