use super::*;
use crate::record::EventKind;
use crate::sink::samples::inbound;

fn peer(country: Option<&str>, name: Option<&str>) -> Peer {
    Peer {
        country: country.map(Into::into),
        reverse_dns: name.map(Into::into),
        ..Peer::default()
    }
}

/// Nobody is asked; what is learned is learned.
fn silent() -> Peers {
    Peers {
        geoip: None,
        names: None,
        known: Recent::new(16),
        edition: 1,
    }
}

fn told(told: Told) -> Answer {
    Answer {
        ip: "10.0.0.9".parse().unwrap(),
        told,
        holds: Duration::from_mins(1),
    }
}

fn completed(peers: &mut Peers, before: Option<Peer>) -> Option<Peer> {
    let mut record = inbound(EventKind::Accept);
    record.peer = before.map(Arc::new);
    peers.complete(&mut record);
    record.peer.as_deref().cloned()
}

#[test]
fn without_anything_known_a_record_stays_as_it_is() {
    assert_eq!(completed(&mut silent(), None), None);
    let recorded = peer(Some("DE"), None);
    let kept = completed(&mut silent(), Some(recorded.clone()));
    assert_eq!(kept, Some(recorded));
    assert!(Peers::start(&PeerOptions::default()).unwrap().is_none());
}

#[test]
fn a_name_is_told_once_it_came_until_another_one_does() {
    let mut peers = silent();
    let now = Instant::now();
    // Of an address that nobody remembers.
    peers.learn(told(Told::Name("early".into())), now);
    assert_eq!(completed(&mut peers, None), None);
    for (answer, name) in [
        (Told::NoAnswer, None),
        (Told::Name("a.example".into()), Some("a.example")),
        (Told::NoAnswer, Some("a.example")),
        (Told::Name("b.example".into()), Some("b.example")),
        (Told::Nothing, None),
    ] {
        peers.learn(told(answer), now);
        let expected = name.map(|name| peer(None, Some(name)));
        assert_eq!(completed(&mut peers, None), expected);
    }
}

#[test]
fn records_of_one_peer_share_what_is_known() {
    let mut peers = silent();
    completed(&mut peers, None);
    peers.learn(told(Told::Name("a.example".into())), Instant::now());
    let mut records = [inbound(EventKind::Accept), inbound(EventKind::Close)];
    for record in &mut records {
        peers.complete(record);
    }
    let [accept, close] = records.map(|record| record.peer.unwrap());
    assert!(Arc::ptr_eq(&accept, &close));
}

#[test]
fn what_was_recorded_stays_where_nothing_else_is_known() {
    let mut peers = silent();
    completed(&mut peers, None);
    peers.learn(told(Told::Name("now.example".into())), Instant::now());
    let recorded = peer(Some("DE"), Some("then.example"));
    let merged = completed(&mut peers, Some(recorded));
    assert_eq!(merged, Some(peer(Some("DE"), Some("now.example"))));
}

#[test]
fn rows_are_described_and_those_without_an_address_are_not() {
    use crate::report::text::samples::peer as row;

    let mut peers = silent();
    completed(&mut peers, None);
    peers.learn(told(Told::Name("a.example".into())), Instant::now());
    let mut rows = [row(Some("10.0.0.9"), [0; 6]), row(None, [0; 6])];
    peers.describe(&mut rows);
    let known = rows.map(|row| row.known.as_deref().cloned());
    assert_eq!(known, [Some(peer(None, Some("a.example"))), None]);
}
