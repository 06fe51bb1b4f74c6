//! What is known of the addresses of peers beyond the addresses: where they are, what they are
//! called. Never waits, but for names at the end.
//!
//! | part | does |
//! |---|---|
//! | `geoip` | databases to countries, cities and AS numbers |
//! | `names` | reverse DNS |
//! | `recent` | a bounded memory; pure |

mod geoip;
mod names;
mod recent;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::options::peers::PeerOptions;
use crate::record::{Peer, Record};
use crate::summary::PeerRow;
use geoip::GeoIp;
use names::{Answer, Names, Told};
use recent::Recent;

/// Addresses that are remembered, each as some 200 bytes.
const MOST: usize = 65_536;
/// How long names are waited for at the end,
const LAST_WAIT: Duration = Duration::from_secs(1);
/// those of the busiest peers.
const ASKED_AT_END: usize = 256;

/// Who tells.
#[derive(Debug)]
pub struct Peers {
    geoip: Option<GeoIp>,
    names: Option<Names>,
    known: Recent<IpAddr, Known>,
    /// Of the databases; counts their replacements.
    edition: u32,
}

/// What is known of an address.
#[derive(Debug)]
struct Known {
    peer: Option<Arc<Peer>>,
    /// Of the databases that were asked; 0 = none was.
    edition: u32,
    name: Due,
}

/// When a name is to be asked for.
#[derive(Debug)]
enum Due {
    At(Instant),
    /// It is being looked up.
    Asked,
    Never,
}

impl Peers {
    /// Opens what `options` name; `None` if they name nothing.
    pub fn start(options: &PeerOptions) -> anyhow::Result<Option<Self>> {
        let PeerOptions { geoip, names } = options;
        let geoip = match &geoip[..] {
            [] => None,
            paths => Some(GeoIp::open(paths)?),
        };
        let names = names.map(Names::start).transpose()?;
        let is_wanted = geoip.is_some() || names.is_some();
        Ok(is_wanted.then(|| Self {
            geoip,
            names,
            known: Recent::new(MOST),
            edition: 1,
        }))
    }

    /// Tells what is known now of the peer of `record`. What it was told before, as a recorded one
    /// was, stays where nothing else is known.
    pub fn complete(&mut self, record: &mut Record) {
        let now = Instant::now();
        self.hear(now);
        let known = self.ask(record.remote.ip, now);
        let told = record.peer.take();
        record.peer = merged(known, told);
    }

    /// The same for the rows of a table, the busiest first, whose names are waited for.
    pub fn describe(&mut self, rows: &mut [PeerRow]) {
        self.wait_for(rows.iter().filter_map(|row| row.ip));
        for row in rows {
            let known = row.ip.and_then(|ip| self.of(ip));
            row.known = merged(known, row.known.take());
        }
    }

    /// What is known of these addresses; names are waited for as in [`Self::describe`].
    pub fn of_all(&mut self, ips: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, Arc<Peer>> {
        self.wait_for(ips.iter().copied());
        let known = ips.iter().map(|ip| Some((*ip, self.of(*ip)?)));
        known.flatten().collect()
    }

    /// Asks for the names of the first of these addresses and waits for them, but not for long.
    fn wait_for(&mut self, ips: impl Iterator<Item = IpAddr>) {
        let now = Instant::now();
        self.hear(now);
        for ip in ips.take(ASKED_AT_END) {
            self.ask(ip, now);
        }
        let deadline = now + LAST_WAIT;
        while let Some(answer) = self.names.as_mut().and_then(|it| it.answer_by(deadline)) {
            self.learn(answer, now);
        }
    }

    /// What is known of `ip`; its name is not asked for.
    fn of(&mut self, ip: IpAddr) -> Option<Arc<Peer>> {
        self.look_up(ip, Instant::now()).peer.clone()
    }

    /// Takes what has come since.
    fn hear(&mut self, now: Instant) {
        let geoip = self.geoip.as_mut();
        if geoip.is_some_and(|geoip| geoip.look_after(now)) {
            self.edition += 1;
        }
        while let Some(answer) = self.names.as_mut().and_then(Names::answer) {
            self.learn(answer, now);
        }
    }

    fn learn(&mut self, answer: Answer, now: Instant) {
        let Some(known) = self.known.get(&answer.ip) else {
            return;
        };
        known.name = Due::At(now + answer.holds);
        let name = match answer.told {
            Told::Name(name) => Some(name),
            Told::Nothing => None,
            // What was known before is better than nothing.
            Told::NoAnswer => return,
        };
        let before = known.peer.as_deref();
        if before.and_then(|peer| peer.reverse_dns.as_ref()) != name.as_ref() {
            let peer = before.cloned().unwrap_or_default();
            known.peer = shared(Peer {
                reverse_dns: name,
                ..peer
            });
        }
    }

    /// What is known of `ip`, whose name is asked for if it is not known, or too old.
    fn ask(&mut self, ip: IpAddr, now: Instant) -> Option<Arc<Peer>> {
        self.look_up(ip, now);
        let known = self.known.get(&ip)?;
        if let (Some(names), Due::At(time)) = (&mut self.names, &known.name)
            && *time <= now
            && names.ask(ip)
        {
            known.name = Due::Asked;
        }
        known.peer.clone()
    }

    /// What is known of `ip`, by the databases as they are now.
    fn look_up(&mut self, ip: IpAddr, now: Instant) -> &mut Known {
        let known = self.known.get_or_insert(ip, || Known {
            peer: None,
            edition: 0,
            name: if Names::asks_about(ip) {
                Due::At(now)
            } else {
                Due::Never
            },
        });
        if known.edition != self.edition {
            known.edition = self.edition;
            if let Some(geoip) = &mut self.geoip {
                let reverse_dns = known.peer.as_ref();
                let reverse_dns = reverse_dns.and_then(|peer| peer.reverse_dns.clone());
                known.peer = shared(Peer {
                    reverse_dns,
                    ..geoip.find(ip)
                });
            }
        }
        known
    }
}

fn shared(peer: Peer) -> Option<Arc<Peer>> {
    (peer != Peer::default()).then(|| Arc::new(peer))
}

/// What is known, and what was told before of the rest.
fn merged(known: Option<Arc<Peer>>, told: Option<Arc<Peer>>) -> Option<Arc<Peer>> {
    let (known, told) = match (known, told) {
        (Some(known), Some(told)) => (known, told),
        (known, told) => return known.or(told),
    };
    if known == told {
        return Some(told);
    }
    let either = |one: &Option<_>, other: &Option<_>| one.as_ref().or(other.as_ref()).cloned();
    shared(Peer {
        reverse_dns: either(&known.reverse_dns, &told.reverse_dns),
        country: either(&known.country, &told.country),
        city: either(&known.city, &told.city),
        asn: known.asn.or(told.asn),
        organization: either(&known.organization, &told.organization),
    })
}

#[cfg(test)]
mod tests;
