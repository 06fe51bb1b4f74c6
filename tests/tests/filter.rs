//! Filters select exactly what they say, and keep beginnings and ends together.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::read;
use rustix::net::{AddressFamily, SocketType};
use serde_json::Value;
use tests::compare::{assert_equal, assert_whole_lives};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::Tracer;
use tests::truth::End;

const CHURN: &str = "churn --connections 360 --gate --client-uid 65534";

/// Traces churn with `option` and compares with the ends that `fits` (is inbound, end) selects.
/// `{server}` and `{client}` in the option stand for the process ids of one of each.
fn assert_selects(option: &str, fits: impl Fn(bool, &End, &[u32]) -> bool) {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut churn = Workload::start(&namespace, CHURN);
    let truth = churn.ready();
    let pids = [truth.pids("server")[0], truth.pids("client")[0]];
    let option = option
        .replace("{server}", &pids[0].to_string())
        .replace("{client}", &pids[1].to_string());
    let tracer = Tracer::start(&namespace, &option);
    churn.go();
    let truth = churn.finish();
    let finished = tracer.stop().lossless();
    let selected: Vec<_> = truth
        .ends()
        .filter(|(inbound, end)| fits(*inbound, end, &pids))
        .collect();
    assert!(
        !selected.is_empty() && selected.len() < 720,
        "{} selected",
        selected.len()
    );
    assert_equal(&finished, selected.iter().copied());
    assert_whole_lives(&finished);
    let inbound = selected.iter().filter(|(inbound, _)| *inbound).count() as u64;
    let total = assert_sums(&finished.summary);
    assert_eq!(
        (total[0], total[1]),
        (inbound, selected.len() as u64 - inbound)
    );
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
}

#[test]
fn port_selects_by_local_port() {
    assert_selects("--port 7014", |_, end, _| end.local.port() == 7014);
}

#[test]
fn port_takes_ranges_that_reach_source_ports() {
    // Source ports are known only once the connection is on its way.
    assert_selects("--port 7015,32768-48000", |_, end, _| {
        let port = end.local.port();
        port == 7015 || (32_768..=48_000).contains(&port)
    });
}

/// A port that the kernel is to choose can be none that is wanted, or can: by what it chooses from at
/// that moment, which the host can change, and whatever was on the socket before.
#[test]
fn port_selects_what_the_kernel_chooses_from_whatever_it_chooses() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let choose_from = |range: &str| {
        let file = "/proc/sys/net/ipv4/ip_local_port_range";
        namespace.run(|| std::fs::write(file, range).expect("setting the range"));
    };
    let listener = namespace.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 7000)));
    let listener = listener.expect("a listener");
    let server = listener.local_addr().expect("an address");
    let socket = || {
        let socket = || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        namespace.run(socket).expect("a socket")
    };
    let connect = |client: &OwnedFd| {
        rustix::net::connect(client, &server).expect("a connection");
        let (mut server, peer) = listener.accept().expect("a connection");
        server.write_all(b"x").expect("sending");
        read(client, &mut [0; 1]).expect("receiving");
        peer.port()
    };
    let tracer = Tracer::start(&namespace, "--port 20000-20099");
    let mut expected = Vec::new();
    choose_from("30000 30999");
    for _ in 0..5 {
        connect(&socket());
    }
    choose_from("20000 20099");
    for _ in 0..5 {
        expected.push(connect(&socket()));
    }
    // Not wanted, wanted, not wanted on one socket.
    let client = socket();
    for range in ["30000 30999", "20000 20099", "30000 30999"] {
        choose_from(range);
        let port = connect(&client);
        expected.extend((port < 30_000).then_some(port));
        rustix::net::connect_unspec(&client).expect("disconnecting");
    }
    // The caller chooses.
    for (port, wanted) in [(20_050, true), (25_000, false)] {
        let client = socket();
        rustix::net::bind(&client, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .expect("binding");
        assert_eq!(connect(&client), port);
        expected.extend(wanted.then_some(port));
    }
    let finished = tracer.stop().lossless();
    assert_eq!(expected.len(), 5 + 1 + 1);
    let closes = finished.events("close");
    let port = |record: &&Value| record["local"]["port"].as_u64().expect("a port");
    let mut ports: Vec<_> = closes.iter().map(port).collect();
    ports.sort_unstable();
    expected.sort_unstable();
    assert_eq!(
        ports,
        expected
            .iter()
            .map(|port| u64::from(*port))
            .collect::<Vec<_>>()
    );
    for record in closes {
        assert_eq!(
            (&record["direction"], &record["bytes"]["rx"]),
            (&"outbound".into(), &1.into())
        );
    }
    assert_eq!(assert_sums(&finished.summary)[..2], [0, 7]);
}

#[test]
fn remote_port_selects_by_the_peers_port() {
    assert_selects("--remote-port 7014", |_, end, _| end.remote.port() == 7014);
}

#[test]
fn pid_selects_what_a_process_accepted() {
    assert_selects("--pid {server}", |_, end, pids| {
        end.owner_pid == Some(pids[0])
    });
}

#[test]
fn pid_selects_what_a_process_connected() {
    assert_selects("--pid {client}", |_, end, pids| {
        end.owner_pid == Some(pids[1])
    });
}

#[test]
fn pids_add_up() {
    assert_selects("--pid {client},{server}", |_, end, pids| {
        end.owner_pid.is_some_and(|pid| pids.contains(&pid))
    });
}

#[test]
fn uid_selects_by_the_owners_user() {
    assert_selects("--uid 65534", |_, end, _| end.owner_uid == Some(65_534));
}

#[test]
fn family_selects_by_address_and_not_by_socket() {
    assert_selects("--family ipv4", |_, end, _| end.local.is_ipv4());
    assert_selects("--family ipv6", |_, end, _| end.local.is_ipv6());
}

#[test]
fn direction_selects_the_accepting_or_the_connecting_ends() {
    assert_selects("--direction inbound", |inbound, _, _| inbound);
    assert_selects("--direction outbound", |inbound, _, _| !inbound);
}

#[test]
fn filters_must_all_fit() {
    assert_selects(
        "--uid 65534 --family ipv4 --remote-port 7015",
        |_, end, _| {
            end.owner_uid == Some(65_534) && end.local.is_ipv4() && end.remote.port() == 7015
        },
    );
}

#[test]
fn netns_selects_one_of_several_namespaces() {
    if !can_trace() {
        return;
    }
    let [seen, unseen] = [Namespace::new(), Namespace::new()];
    let tracer = Tracer::start(&seen, "");
    let truth = Workload::run(&seen, "echo");
    Workload::run(&unseen, "echo --bytes 5");
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
}

#[test]
fn no_loopback_keeps_what_goes_over_a_network_device_only() {
    if !can_trace() {
        return;
    }
    let [here, there] = [Namespace::new(), Namespace::new()];
    let [address, other] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];
    here.link(address, &there, other);
    let both = format!("--netns {} --no-loopback", there.inode());
    let tracer = Tracer::start(&here, &both);
    Workload::run(&here, "churn --connections 60");
    // An own address that is not a loopback address still goes over the loopback device.
    Workload::run(
        &here,
        &format!("churn --connections 60 --address {address}"),
    );
    let line = format!(
        "churn --connections 240 --address {address} --client-netns {}",
        there.path().display()
    );
    let truth = Workload::run(&here, &line);
    let finished = tracer.stop().lossless();
    assert_eq!(truth.ends().count(), 480);
    assert_equal(&finished, truth.ends());
    assert_whole_lives(&finished);
    assert_sums(&finished.summary);
}
