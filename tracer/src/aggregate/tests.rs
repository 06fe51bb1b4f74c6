use super::*;
use crate::record::{Bytes, Process, User};
use crate::sink::samples::{between, endpoint};

fn record(event: EventKind, direction: Direction) -> Record {
    let (local, remote) = (endpoint("10.0.0.1", 80), endpoint("10.0.0.2", 20_000));
    Record {
        process: Some(process(10)),
        netns: 4,
        bytes: Some(Bytes::default()),
        ..between(event, direction, local, remote)
    }
}

fn process(pid: u32) -> Process {
    Process {
        pid,
        tid: pid,
        name: "nginx".into(),
        thread: "nginx".into(),
        uid: 33,
        start_ns: 5,
        details: None,
    }
}

fn user(pid: u32, tx: u64, rx: u64) -> User {
    User {
        pid,
        name: "worker".into(),
        uid: 33,
        start_ns: 6,
        tx,
        rx,
    }
}

fn with_bytes(mut record: Record, tx: u64, rx: u64, users: Vec<User>) -> Record {
    let moved = users
        .iter()
        .fold((0, 0), |(tx, rx), user| (tx + user.tx, rx + user.rx));
    record.bytes = Some(Bytes {
        tx,
        rx,
        unattributed_tx: Some(tx - moved.0),
        unattributed_rx: Some(rx - moved.1),
        ..Bytes::default()
    });
    record.users = users.into();
    record
}

fn run() -> Run {
    Run {
        time: WallTime(0),
        host: Some("host".into()),
        traced: None,
        loss: Some(Loss::default()),
        kernel: None,
        replay: None,
        sampled: None,
    }
}

fn summary(aggregate: Aggregate) -> Summary {
    let summary = aggregate.finish(run());
    let mut sums = [Counts::default(); 3];
    summary.ports.iter().for_each(|row| sums[0] += row.counts);
    summary
        .processes
        .iter()
        .for_each(|row| sums[1] += row.counts);
    summary.peers.iter().for_each(|row| sums[2] += row.counts);
    let others = summary.other;
    for (sum, other) in sums
        .iter_mut()
        .zip([others.ports, others.processes, others.peers])
    {
        *sum += other.unwrap_or_default().counts;
    }
    assert_eq!(
        sums, [summary.total; 3],
        "every table adds up to the grand total"
    );
    summary
}

#[test]
fn only_records_with_totals_count() {
    let mut aggregate = Aggregate::new(1000);
    for event in [
        EventKind::Open,
        EventKind::Established,
        EventKind::Accept,
        EventKind::Traffic,
        EventKind::Io,
        EventKind::Ended,
    ] {
        aggregate.add(&with_bytes(
            record(event, Direction::Inbound),
            5,
            5,
            vec![user(11, 5, 5)],
        ));
    }
    assert_eq!(summary(aggregate).total, Counts::default());
}

#[test]
fn the_owner_gets_the_accept_and_the_workers_get_the_bytes() {
    let mut aggregate = Aggregate::new(1000);
    let close = record(EventKind::Close, Direction::Inbound);
    aggregate.add(&with_bytes(
        close,
        100,
        50,
        vec![user(11, 60, 50), user(12, 30, 0)],
    ));
    let summary = summary(aggregate);
    let by_pid = |pid| {
        summary
            .processes
            .iter()
            .find(|row| row.pid == pid)
            .unwrap()
            .counts
    };
    assert_eq!((by_pid(Some(10)).accepts, by_pid(Some(10)).tx), (1, 0));
    assert_eq!((by_pid(Some(11)).tx, by_pid(Some(11)).rx), (60, 50));
    assert_eq!(by_pid(Some(12)).tx, 30);
    assert_eq!(by_pid(None).tx, 10);
    assert_eq!((summary.unattributed_tx, summary.unattributed_rx), (10, 0));
    assert_eq!(
        (summary.ports[0].port, summary.ports[0].counts.accepts),
        (80, 1)
    );
}

#[test]
fn outbound_connections_are_counted_at_the_port_they_went_to() {
    let mut aggregate = Aggregate::new(1000);
    let mut connect = record(EventKind::Close, Direction::Outbound);
    connect.latency_ns = Some(1);
    connect.remote.port = Some(443);
    aggregate.add(&connect);
    let mut failed = connect;
    failed.event = EventKind::Failed;
    aggregate.add(&failed);
    let summary = summary(aggregate);
    assert_eq!(
        (summary.ports[0].port, summary.ports[0].direction),
        (443, Direction::Outbound)
    );
    assert_eq!((summary.total.connects, summary.total.failures), (1, 1));
}

#[test]
fn the_same_numbers_of_two_hosts_are_two_rows_and_their_host_is_told() {
    let mut aggregate = Aggregate::of_recorded(1000);
    let close = with_bytes(record(EventKind::Close, Direction::Inbound), 9, 8, vec![]);
    for host in ["web1", "web2", "web1"] {
        aggregate.add(&Record {
            host: host.into(),
            ..close.clone()
        });
    }
    let run = Run {
        host: None,
        loss: None,
        ..run()
    };
    assert_eq!(aggregate.seen.namespaces().count(), 0);
    let several = aggregate.finish(run.clone());
    let hosts = |hosts: Vec<&Option<Arc<str>>>| {
        let hosts: Vec<_> = hosts.into_iter().map(|host| host.as_deref()).collect();
        assert_eq!(&hosts[..2], [Some("web1"), Some("web2")]);
    };
    hosts(several.ports.iter().map(|row| &row.host).collect());
    hosts(several.processes.iter().map(|row| &row.host).collect());
    hosts(several.peers.iter().map(|row| &row.host).collect());
    assert_eq!(
        several.processes.len(),
        4,
        "two hosts, with and without a process"
    );
    assert_eq!((several.total.accepts, several.unattributed_tx), (3, 27));
    assert_eq!(several.host, None);
    let mut one = Aggregate::of_recorded(1000);
    one.add(&close);
    let one = one.finish(run);
    assert_eq!(
        (one.host.as_deref(), &one.ports[0].host),
        (Some("box"), &None)
    );
}

#[test]
fn sums_of_impossible_numbers_end_at_the_largest() {
    let mut aggregate = Aggregate::of_recorded(1);
    for peer in 1..4 {
        let mut close = record(EventKind::Close, Direction::Inbound);
        close.remote.ip = [10, 0, 0, peer].into();
        let bytes = Bytes {
            tx: u64::MAX,
            rx: u64::MAX,
            unattributed_tx: Some(u64::MAX),
            ..Bytes::default()
        };
        close.bytes = Some(bytes);
        close.users = vec![user(11, u64::MAX, 1)].into();
        aggregate.add(&close);
    }
    let summary = aggregate.finish(run());
    assert_eq!(
        (summary.total.tx, summary.total.bytes()),
        (u64::MAX, u64::MAX)
    );
}

#[test]
fn what_nobody_took_is_counted_apart() {
    let mut aggregate = Aggregate::new(1000);
    let mut close = record(EventKind::Close, Direction::Inbound);
    close.process = None;
    aggregate.add(&close);
    let summary = summary(aggregate);
    assert_eq!((summary.total.accepts, summary.total.unaccepted), (0, 1));
    assert_eq!(summary.processes[0].pid, None);
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut aggregate = Aggregate::new(1000);
    let mut close = record(EventKind::Close, Direction::Inbound);
    aggregate.add(&close);
    close.process = Some(Process {
        start_ns: 99,
        details: None,
        ..process(10)
    });
    aggregate.add(&close);
    assert_eq!(summary(aggregate).processes.len(), 2);
}

#[test]
fn sums_without_a_peer_are_in_every_table() {
    let mut aggregate = Aggregate::new(1000);
    aggregate.add(&with_bytes(
        record(EventKind::Close, Direction::Inbound),
        1,
        2,
        vec![],
    ));
    let key = FoldedKey {
        start_ns: 5,
        remote_ip: [0; 16],
        netns: 4,
        tgid: 10,
        uid: 33,
        port: 80,
        inbound: 1,
    };
    let totals = FoldedTotals {
        connections: 7,
        tx: 70,
        rx: 30,
        owner_tx: 60,
        owner_rx: 30,
        ..FoldedTotals::EMPTY
    };
    aggregate.add_folded(&key, &totals);
    aggregate.add_folded(
        &FoldedKey {
            tgid: 0,
            start_ns: 0,
            ..key
        },
        &totals,
    );
    let out = FoldedKey {
        inbound: 0,
        port: 443,
        ..key
    };
    aggregate.add_folded(
        &out,
        &FoldedTotals {
            failures: 3,
            ..totals
        },
    );
    let summary = summary(aggregate);
    let total = summary.total;
    assert_eq!(
        (
            total.accepts,
            total.unaccepted,
            total.connects,
            total.failures
        ),
        (8, 7, 7, 3)
    );
    assert_eq!((total.tx, total.rx), (211, 92));
    assert_eq!(summary.unattributed_tx, 1 + 3 * 10 + 60);
    assert!(
        summary
            .peers
            .iter()
            .any(|row| row.ip.is_none() && row.counts.tx == 210)
    );
}

#[test]
fn the_busiest_row_comes_first_and_ties_are_in_key_order() {
    let mut aggregate = Aggregate::new(1000);
    for (peer, times) in [(3, 1), (2, 1), (9, 4)] {
        for _ in 0..times {
            let mut close = record(EventKind::Close, Direction::Inbound);
            close.remote.ip = [10, 0, 0, peer].into();
            aggregate.add(&close);
        }
    }
    let peers: Vec<_> = summary(aggregate)
        .peers
        .iter()
        .map(|row| row.ip.unwrap().to_string())
        .collect();
    assert_eq!(peers, ["10.0.0.9", "10.0.0.2", "10.0.0.3"]);
}

#[test]
fn beyond_the_rows_that_a_table_may_have_there_is_one_more_and_what_is_unknown_stays_apart() {
    let mut aggregate = Aggregate::new(4);
    for number in 0..100_u8 {
        let mut close = record(EventKind::Close, Direction::Inbound);
        close.remote.ip = [10, 0, 0, number].into();
        close.local.port = Some(u16::from(number) + 1);
        close.process = (number % 2 == 0).then(|| process(u32::from(number) + 1));
        aggregate.add(&with_bytes(close, 3, 2, vec![]));
    }
    let totals = FoldedTotals {
        connections: 7,
        ..FoldedTotals::EMPTY
    };
    aggregate.add_folded(&FoldedKey::default(), &totals);
    let summary = summary(aggregate);
    let total = summary.total;
    assert_eq!(
        (total.accepts, total.unaccepted, total.connects),
        (50, 50, 7)
    );
    assert_eq!(
        (summary.peers[0].ip, summary.peers[0].at_least),
        (None, false)
    );
    for rows in [
        summary.ports.len(),
        summary.peers.len() - 1,
        summary.processes.len() - 1,
    ] {
        assert!((1..=4).contains(&rows), "{rows}");
    }
    let nobody = &summary.processes[0];
    assert_eq!((nobody.pid, nobody.at_least), (None, false));
    assert_eq!((nobody.counts.unaccepted, nobody.counts.tx), (50, 300));
    assert_eq!(nobody.counts.connects, 7);
    assert_eq!(summary.unattributed_tx, 300);
    let peers = summary.other.peers.unwrap();
    assert_eq!(peers.rows + summary.peers.len() as u64, 101);
    assert!(peers.most_missing.connections >= 1);
    assert!(summary.peers.iter().any(|row| row.at_least));
    let few = Aggregate::new(4).finish(run());
    assert!(few.other.is_empty());
}

#[test]
fn sums_with_a_peer_are_the_peers() {
    let mut aggregate = Aggregate::new(1000);
    let totals = FoldedTotals {
        connections: 7,
        tx: 70,
        ..FoldedTotals::EMPTY
    };
    let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
    let key = FoldedKey {
        remote_ip: mapped.octets(),
        ..FoldedKey::default()
    };
    aggregate.add_folded(&key, &totals);
    let summary = summary(aggregate);
    let rows: Vec<_> = summary
        .peers
        .iter()
        .map(|row| (row.ip, row.counts.tx))
        .collect();
    assert_eq!(rows, [(Some("192.0.2.1".parse().unwrap()), 70)]);
}
