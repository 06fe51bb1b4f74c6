//! The map as one JSON object, described by `docs/map.schema.json`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::Style;
use crate::address::{self, Class};
use crate::map::options::View;
use crate::map::view::classes::Group;
use crate::map::view::{Member, Service, Shown};
use crate::map::{Forgotten, Relation, Source, Uses};
use crate::record::{Direction, Peer, SCHEMA_VERSION, WallTime};

#[derive(Serialize)]
struct Whole<'a> {
    v: u8,
    event: &'static str,
    time: WallTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Vec<ServiceRow<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relations: Option<Vec<RelationRow<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<ClassRow>>,
    total: Total,
    loopback_hidden: u64,
    forgotten: Forgotten,
}

#[derive(Serialize)]
struct Total {
    relations: usize,
    peers: usize,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Default, Serialize)]
struct Counts {
    connections: u64,
    older: u64,
    failures: u64,
    tx: u64,
    rx: u64,
}

impl Counts {
    fn of(uses: &Uses) -> Self {
        Self {
            connections: uses.connections,
            older: uses.older,
            failures: uses.failures,
            tx: uses.tx,
            rx: uses.rx,
        }
    }
}

#[derive(Serialize)]
struct Times {
    first_seen: WallTime,
    last_seen: WallTime,
    #[serde(flatten)]
    counts: Counts,
}

impl Times {
    fn of(uses: &Uses) -> Self {
        Self {
            first_seen: uses.first_seen,
            last_seen: uses.last_seen,
            counts: Counts::of(uses),
        }
    }
}

/// What the address on the other side is, and what is told of it.
#[derive(Serialize)]
struct Kind<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_rfc: Option<&'static str>,
    #[serde(flatten)]
    known: Option<&'a Peer>,
}

impl<'a> Kind<'a> {
    fn of(ip: Option<IpAddr>, style: &Style<'a>) -> Self {
        let entry = ip.map(address::of);
        Self {
            class: entry.map(|entry| entry.class),
            class_rfc: entry.map(|entry| entry.rfc),
            known: style.peer(ip),
        }
    }
}

#[derive(Serialize)]
struct Address {
    ip: IpAddr,
    port: u16,
}

fn end(address: Option<SocketAddr>) -> Option<Address> {
    address.map(|address| Address {
        ip: address.ip(),
        port: address.port(),
    })
}

#[derive(Serialize)]
struct ServiceRow<'a> {
    host: &'a str,
    direction: Direction,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Address>,
    #[serde(flatten)]
    kind: Kind<'a>,
    users: usize,
    #[serde(flatten)]
    uses: Times,
    members: Vec<MemberRow<'a>>,
}

#[derive(Serialize)]
struct MemberRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    #[serde(flatten)]
    kind: Kind<'a>,
    processes: BTreeSet<&'a str>,
    source: Source,
    #[serde(flatten)]
    uses: Times,
}

#[derive(Serialize)]
struct RelationRow<'a> {
    host: &'a str,
    direction: Direction,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    #[serde(flatten)]
    kind: Kind<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    source: Source,
    #[serde(flatten)]
    uses: Times,
}

#[derive(Serialize)]
struct ClassRow {
    class: Class,
    addresses: usize,
    relations: usize,
    #[serde(flatten)]
    uses: Times,
}

/// One line.
pub(super) fn write(shown: &Shown, view: View, style: &Style<'_>) -> String {
    let services = match view {
        View::OneToMany => shown.services(),
        View::OneToOne | View::ByClass => Vec::new(),
    };
    let mut counts = Counts::default();
    for (_, uses) in &shown.relations {
        counts.connections = counts.connections.saturating_add(uses.connections);
        counts.older = counts.older.saturating_add(uses.older);
        counts.failures = counts.failures.saturating_add(uses.failures);
        counts.tx = counts.tx.saturating_add(uses.tx);
        counts.rx = counts.rx.saturating_add(uses.rx);
    }
    let whole = Whole {
        v: SCHEMA_VERSION,
        event: "map",
        time: style.time,
        services: (view == View::OneToMany).then(|| {
            let rows = services.iter().map(|service| service_row(service, style));
            rows.collect()
        }),
        relations: (view == View::OneToOne).then(|| {
            let rows = shown.relations.iter();
            rows.map(|(relation, uses)| relation_row(relation, uses, style))
                .collect()
        }),
        classes: (view == View::ByClass).then(|| shown.classes().iter().map(class_row).collect()),
        total: Total {
            relations: shown.relations.len(),
            peers: shown.addresses().len(),
            counts,
        },
        loopback_hidden: shown.loopback_hidden,
        forgotten: shown.forgotten,
    };
    let text = serde_json::to_string(&whole);
    text.expect("memory takes every write, and there are no map keys that are not text") + "\n"
}

fn service_row<'a>(service: &'a Service, style: &Style<'a>) -> ServiceRow<'a> {
    let members = service.members.iter();
    ServiceRow {
        host: &service.host,
        direction: service.direction,
        service: end(service.address),
        kind: Kind::of(service.other_side(), style),
        users: service.users(),
        uses: Times::of(&service.uses),
        members: members.map(|member| member_row(member, style)).collect(),
    }
}

fn member_row<'a>(member: &'a Member, style: &Style<'a>) -> MemberRow<'a> {
    MemberRow {
        peer: member.peer,
        kind: Kind::of(member.peer, style),
        processes: member.processes.iter().map(AsRef::as_ref).collect(),
        source: member.source,
        uses: Times::of(&member.uses),
    }
}

fn class_row(group: &Group) -> ClassRow {
    ClassRow {
        class: group.class,
        addresses: group.addresses.len(),
        relations: group.relations,
        uses: Times::of(&group.uses),
    }
}

fn relation_row<'a>(relation: &'a Relation, uses: &Uses, style: &Style<'a>) -> RelationRow<'a> {
    RelationRow {
        host: &relation.host,
        direction: relation.direction,
        service: end(relation.service),
        peer: relation.peer,
        kind: Kind::of(relation.other_side(), style),
        process: relation.process.as_deref(),
        pid: uses.pid,
        uid: uses.uid,
        source: relation.source,
        uses: Times::of(uses),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::map::view::Filter;
    use crate::map::view::samples::map;
    use crate::report::map::Known;
    use crate::report::map::samples::{known, style};

    fn value(view: View, known: Option<&Known>) -> Value {
        let shown = Shown::of(map(), &Filter::default());
        let text = write(&shown, view, &style(known));
        assert_eq!(text.matches('\n').count(), 1);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn services_have_their_members_and_sums() {
        let map = value(View::OneToMany, None);
        assert_eq!(map["event"], "map");
        assert!(map.get("relations").is_none());
        let service = &map["services"][1];
        assert_eq!(service["service"]["ip"], "10.0.0.5");
        assert_eq!(
            (&service["users"], &service["connections"]),
            (&2.into(), &6.into())
        );
        assert_eq!(service["members"][1]["processes"][0], "apache");
        assert_eq!(service["members"][1]["class"], "private-use");
        assert_eq!(service["members"][1]["class_rfc"], "RFC 1918");
        assert!(service.get("class").is_none(), "it is the host's own");
        let elsewhere = map["services"].as_array().unwrap().last().unwrap();
        assert_eq!(elsewhere["class"], "private-use");
        assert!(elsewhere["members"][0].get("class").is_none());
        assert_eq!(map["total"]["relations"], 7);
        assert_eq!(map["loopback_hidden"], 2);
    }

    #[test]
    fn relations_leave_out_what_is_not_known() {
        let map = value(View::OneToOne, None);
        let rows = map["relations"].as_array().unwrap();
        assert_eq!(rows.len(), 7);
        let imported = rows.iter().find(|row| row["source"] == "imported").unwrap();
        assert_eq!(imported["class"], "documentation");
        for absent in ["service", "process", "pid", "uid"] {
            assert!(imported.get(absent).is_none(), "{absent}");
        }
        let outbound = rows.iter().find(|row| row["direction"] == "outbound");
        assert!(outbound.unwrap().get("peer").is_none());
    }

    #[test]
    fn what_is_told_of_a_peer_stands_beside_what_its_address_is() {
        let known = known();
        let map = value(View::OneToMany, Some(&known));
        let members = &map["services"][1]["members"];
        let told: [(&str, Value); 5] = [
            ("reverse_dns", "nine.example".into()),
            ("country", "DE".into()),
            ("city", "Köln".into()),
            ("asn", 64_500.into()),
            ("organization", "Example \"Net\", Ltd".into()),
        ];
        for (field, value) in &told {
            assert_eq!(&members[0][field], value);
            assert!(members[1].get(field).is_none(), "{field} is not known");
            assert!(map["services"][1].get(field).is_none(), "it is this host");
        }
        let elsewhere = &map["services"][3];
        assert_eq!(elsewhere["country"], "FR");
        assert!(elsewhere["members"][0].get("country").is_none());
        let map = value(View::OneToOne, Some(&known));
        let countries: Vec<_> = map["relations"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["country"].as_str())
            .collect();
        assert_eq!(countries, ["DE", "FR", "FR"]);
    }
}
