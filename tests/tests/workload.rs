//! The workloads' own truth, without the tracer: what one end sent is what the other could get.

use std::collections::HashMap;

use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::truth::{End, Truth};
use tests::workload::path_names;

/// Each client's end with its server's end.
fn pairs(truth: &Truth) -> Vec<(&End, &End)> {
    assert_eq!(truth.clients.len(), truth.servers.len());
    let mut servers: HashMap<_, Vec<&End>> = HashMap::new();
    for end in &truth.servers {
        servers
            .entry((end.remote, end.local))
            .or_default()
            .push(end);
    }
    let partner = |end: &End| {
        let candidates = servers.get_mut(&(end.local, end.remote));
        candidates
            .and_then(Vec::pop)
            .unwrap_or_else(|| panic!("no server's end for {end:?}"))
    };
    truth
        .clients
        .iter()
        .zip(truth.clients.iter().map(partner).collect::<Vec<_>>())
        .collect()
}

fn assert_orderly(truth: &Truth, count: usize) {
    assert_eq!(truth.clients.len(), count);
    for (client, server) in pairs(truth) {
        assert_eq!(
            (client.tx, client.rx),
            (server.rx, server.tx),
            "{client:?} {server:?}"
        );
        assert!(client.owner_pid.is_some() && server.owner_pid.is_some());
    }
    for (_, end) in truth.ends() {
        let sum = |bytes: fn(&tests::truth::Share) -> u64| end.users.iter().map(bytes).sum::<u64>();
        assert_eq!(
            (sum(|share| share.tx), sum(|share| share.rx)),
            (end.tx, end.rx),
            "{end:?}"
        );
    }
}

#[test]
fn orderly_scenarios_lose_nothing_between_the_ends() {
    if !can_trace() {
        return;
    }
    for (scenario, connections) in [
        ("echo --connections 10 --bytes 100000", 10),
        ("echo --family ipv6", 10),
        ("echo --family mapped", 10),
        ("fork-after-accept", 6),
        ("fork-after-connect", 6),
        ("worker-io", 6),
        ("hold", 6),
        ("reconnect --connections 3", 6),
        ("blocked --tasks 9 --processes 2", 9),
        ("blocked --tasks 8 --processes 8 --poll", 8),
        ("named --name 0a --name 1b5b41", 2),
    ] {
        assert_orderly(&Workload::run(&Namespace::new(), scenario), connections);
    }
}

#[test]
fn every_path_agrees_with_itself() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    for name in path_names() {
        let truth = Workload::run(&namespace, &format!("path --name {name} --connections 2"));
        if truth.not_here.is_some() {
            continue;
        }
        assert!(truth.clients.len() >= 2, "{name}");
        for (client, server) in pairs(&truth) {
            let (sent, received) = ((client.tx, server.tx), (server.rx, client.rx));
            if client.ending == "orderly" {
                assert_eq!(sent, received, "{name}: {client:?} {server:?}");
            }
            assert!(
                sent.0 >= received.0 && sent.1 >= received.1,
                "{name}: {client:?} {server:?}"
            );
            assert_ne!(client.tx, 0, "{name}");
        }
    }
}

#[test]
fn handed_over_connections_have_different_processes() {
    if !can_trace() {
        return;
    }
    let truth = Workload::run(&Namespace::new(), "fork-after-accept");
    for end in &truth.servers {
        assert_eq!(end.users.len(), 1);
        assert_ne!(Some(end.users[0].pid), end.owner_pid);
        assert_eq!(Some(end.users[0].pid), end.closer_pid);
    }
    let truth = Workload::run(&Namespace::new(), "worker-io");
    let closers: std::collections::HashSet<_> =
        truth.servers.iter().map(|end| end.closer_pid).collect();
    assert_eq!(
        closers.len(),
        3,
        "acceptor, worker and a third process close in turn"
    );
}

#[test]
fn churn_never_receives_more_than_was_sent() {
    if !can_trace() {
        return;
    }
    let truth = Workload::run(&Namespace::new(), "churn --connections 600");
    let mut endings = HashMap::new();
    for (client, server) in pairs(&truth) {
        assert!(
            client.rx <= server.tx && server.rx <= client.tx,
            "{client:?} {server:?}"
        );
        *endings.entry(client.ending.as_str()).or_insert(0) += 1;
        match client.ending.as_str() {
            "client_closes" | "server_closes" | "upload" | "download" | "half_close" => {
                assert_eq!((client.tx, client.rx), (server.rx, server.tx));
                assert_ne!(client.owner_pid, server.owner_pid);
            }
            "client_leaves_unread" => assert_eq!(client.rx, 0),
            "server_leaves_unread" => assert!(server.rx < client.tx),
            "silent" | "reset_at_once" => assert_eq!((client.tx, server.tx), (0, 0)),
            "unsent_reset" => assert!(client.tx > server.rx),
            _ => {}
        }
    }
    assert_eq!(endings.len(), 12);
    assert!(endings.values().all(|count| *count == 50), "{endings:?}");
}

#[test]
fn attempts_without_a_connection_are_counted() {
    if !can_trace() {
        return;
    }
    let truth = Workload::run(&Namespace::new(), "refused --connections 4");
    assert_eq!((truth.failed.len(), truth.clients.len()), (4, 0));
    assert_eq!(
        truth
            .failed
            .iter()
            .filter(|attempt| attempt.local.is_some())
            .count(),
        2
    );
    let truth = Workload::run(&Namespace::new(), "never-accepted --connections 4");
    assert!(truth.servers.iter().all(|end| !end.accepted && end.rx == 0));
    assert!(truth.clients.iter().all(|end| end.tx == 100));
    let truth = Workload::run(&Namespace::new(), "blocked --tasks 5 --surplus 3");
    let taken = truth.servers.iter().filter(|end| end.accepted);
    assert_eq!((taken.count(), truth.servers.len()), (5, 8));
}

#[test]
fn clients_in_another_namespace_and_of_another_user_reach_the_server() {
    if !can_trace() {
        return;
    }
    let [here, there] = [Namespace::new(), Namespace::new()];
    here.link([10, 77, 0, 1].into(), &there, [10, 77, 0, 2].into());
    let path = there.path();
    let mut churn = Workload::start(
        &here,
        &format!(
            "churn --connections 96 --gate --client-uid 65534 --address 10.77.0.1 --client-netns {}",
            path.display()
        ),
    );
    let truth = churn.ready();
    assert_eq!(
        (truth.pids("server").len(), truth.pids("client").len()),
        (3, 4)
    );
    churn.go();
    let truth = churn.finish();
    for (client, server) in pairs(&truth) {
        assert_eq!(client.local.ip().to_string(), "10.77.0.2");
        assert_eq!(server.local.ip().to_string(), "10.77.0.1");
        assert!(
            truth
                .pids("client")
                .contains(&client.owner_pid.expect("an owner"))
        );
        assert!(
            truth
                .pids("server")
                .contains(&server.owner_pid.expect("an owner"))
        );
    }
    let nobody = truth
        .clients
        .iter()
        .filter(|end| end.owner_uid == Some(65_534));
    assert_eq!(nobody.count(), 24);
}
