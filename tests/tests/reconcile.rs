//! What the tracer counted against the kernel's own counters of the namespace.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket, socket_with, sockopt,
};
use serde_json::{Value, json};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tracer::{Finished, Tracer};

/// The kernel's counters, in the order of the summary's fields.
const COUNTERS: [(&str, &str); 4] = [
    ("attempts", "ActiveOpens"),
    ("inbound", "PassiveOpens"),
    ("failures", "AttemptFails"),
    ("resets", "EstabResets"),
];

/// A namespace with processes in it, by which the tracer can read its counters. They have a
/// connection that is older than the tracer.
struct Inhabited {
    namespace: Namespace,
    resident: Workload,
    /// Counters before the tracer started, in the order of [`COUNTERS`].
    before: [u64; 4],
}

impl Inhabited {
    fn new() -> Self {
        let namespace = Namespace::new();
        let mut resident = Workload::start(&namespace, "hold --connections 1");
        resident.ready();
        let mut place = Self {
            namespace,
            resident,
            before: [0; 4],
        };
        place.before = place.counters();
        assert_eq!(place.before, [1, 1, 0, 0]);
        place
    }

    /// With what happened so far taken for what was before.
    fn again(mut self) -> Self {
        self.before = self.counters();
        self
    }

    fn counters(&self) -> [u64; 4] {
        COUNTERS.map(|(_, counter)| self.counter(counter))
    }

    fn counter(&self, name: &str) -> u64 {
        let text = self.namespace.run(|| {
            ["snmp", "netstat"]
                .map(|file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")))
                .map(|text| text.expect("the kernel's counters"))
                .concat()
        });
        let lines: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let find = |pair: &[Vec<&str>]| {
            let place = pair[0].iter().position(|it| *it == name)?;
            pair[1][place].parse().ok()
        };
        lines
            .chunks(2)
            .find_map(find)
            .unwrap_or_else(|| panic!("no {name}"))
    }

    /// Stops the tracer and checks that it saw what the kernel says, which is returned.
    fn stop(self, tracer: Tracer) -> (Finished, [u64; 4]) {
        let after = self.counters();
        let counted = std::array::from_fn(|index| after[index] - self.before[index]);
        let finished = tracer.stop().lossless();
        let row = row(&finished);
        for ((field, counter), counted) in COUNTERS.iter().zip(counted) {
            let equal = json!({"seen": counted, "low": counted, "high": counted});
            assert_eq!(row[field], equal, "{counter}; {}", finished.stderr);
        }
        self.resident.finish();
        (finished, counted)
    }
}

/// The only namespace that was compared.
fn row(finished: &Finished) -> &Value {
    let kernel = &finished.summary["kernel"];
    let rows = kernel["compared"].as_array();
    let rows = rows.unwrap_or_else(|| panic!("nothing compared: {kernel}; {}", finished.stderr));
    assert_eq!(rows.len(), 1, "{kernel}");
    &rows[0]
}

#[test]
fn every_number_of_a_churn_is_the_kernels() {
    if !can_trace() {
        return;
    }
    let place = Inhabited::new();
    let tracer = Tracer::start(&place.namespace, "--strict");
    Workload::run(&place.namespace, "churn --connections 1200");
    let (finished, [attempts, inbound, ..]) = place.stop(tracer);
    assert_eq!((attempts, inbound), (1200, 1200));
    let line = "kernel: seen 1,200 of 1,200 outbound attempts, 1,200 of 1,200 inbound connections";
    assert!(finished.stderr.contains(line), "{}", finished.stderr);
}

/// Binds a second socket to an address pair that is in use.
fn fail_without_a_syn(remote: SocketAddr) {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 7150));
    let bound = || {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_reuseaddr(&socket, true).expect("SO_REUSEADDR");
        bind(&socket, &local).expect("binding");
        socket
    };
    let (first, second) = (bound(), bound());
    connect(&first, &remote).expect("connecting");
    assert_eq!(connect(&second, &remote), Err(Errno::ADDRNOTAVAIL));
}

#[test]
fn failed_attempts_and_cut_off_connections_are_the_kernels() {
    if !can_trace() {
        return;
    }
    let place = Inhabited::new();
    let older = place.namespace.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 7153)).expect("a listener");
        let client = TcpStream::connect(listener.local_addr().expect("its address"));
        (
            client.expect("connecting"),
            listener.accept().expect("a client"),
        )
    });
    let place = place.again();
    let tracer = Tracer::start(&place.namespace, "--strict");
    sockopt::set_socket_linger(&older.0, Some(Duration::ZERO)).expect("SO_LINGER");
    drop(older);
    for scenario in ["refused", "never-accepted", "reconnect"] {
        Workload::run(&place.namespace, scenario);
    }
    place.namespace.run(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 7151)).expect("a listener");
        fail_without_a_syn(listener.local_addr().expect("its address"));
    });
    let (_, [.., failures, resets]) = place.stop(tracer);
    assert_eq!(failures, 6);
    assert!(
        resets > 8,
        "an older connection and half of never-accepted, at both ends"
    );
}

#[test]
fn what_the_table_had_no_room_for_is_the_difference() {
    if !can_trace() {
        return;
    }
    let place = Inhabited::new();
    let tracer = Tracer::start(&place.namespace, "--max-connections 8 --strict");
    Workload::run(&place.namespace, "churn --connections 600");
    let finished = tracer.stop();
    place.resident.finish();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let row = row(&finished);
    let missing = |field: &str| {
        let [seen, low, high] = ["seen", "low", "high"].map(|it| row[field][it].as_u64());
        assert_eq!((low, high), (Some(600), Some(600)));
        600 - seen.expect("a number")
    };
    let loss = &finished.summary["loss"];
    assert_eq!(loss["untracked_outbound"], missing("attempts"));
    assert_eq!(loss["untracked_inbound"], missing("inbound"));
    assert!(missing("attempts") + missing("inbound") > 0);
    for field in ["attempts", "inbound"] {
        if missing(field) > 0 {
            assert_eq!(row[field]["cause"], "table_full");
        }
    }
    let text = finished.stderr.replace("\n  ", " ");
    assert!(text.contains("--strict: the kernel counted more"), "{text}");
    assert!(
        text.contains("not seen: the connection table was full, raise --max-connections"),
        "{text}"
    );
}

#[test]
fn with_a_filter_on_anything_but_the_namespace_nothing_is_claimed() {
    if !can_trace() {
        return;
    }
    for filter in ["--port 7014", "--no-loopback", "--direction inbound"] {
        let place = Inhabited::new();
        let tracer = Tracer::start(&place.namespace, filter);
        Workload::run(&place.namespace, "echo");
        let finished = tracer.stop().lossless();
        place.resident.finish();
        assert!(finished.summary["kernel"].is_null(), "{filter}");
        assert!(!finished.stderr.contains("kernel:"), "{}", finished.stderr);
    }
}

#[test]
fn a_namespace_without_a_process_is_named_and_not_compared() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--strict");
    Workload::run(&namespace, "echo");
    let finished = tracer.stop().lossless();
    let inode: u64 = namespace.inode().parse().expect("a number");
    let expected = json!({"compared": [], "not_compared": [inode]});
    assert_eq!(finished.summary["kernel"], expected);
    let line = format!("kernel: not compared: netns {inode}");
    assert!(finished.stderr.contains(&line), "{}", finished.stderr);
}

#[test]
fn what_a_full_accept_queue_drops_is_told() {
    if !can_trace() {
        return;
    }
    let place = Inhabited::new();
    let tracer = Tracer::start(&place.namespace, "--strict");
    place.namespace.run(|| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7152));
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&listener, &address).expect("binding");
        // It takes one more than it is told.
        listen(&listener, 0).expect("listening");
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        let clients = [(); 4].map(|()| {
            let client = socket_with(family, kind, SocketFlags::NONBLOCK, None).expect("a socket");
            assert_eq!(connect(&client, &address), Err(Errno::INPROGRESS));
            client
        });
        // Those that wait go first, so that no SYN of theirs finds the queue empty or closed.
        drop(clients);
        drop(listener);
    });
    let [overflows, drops] =
        ["ListenOverflows", "ListenDrops"].map(|counter| place.counter(counter));
    assert!(overflows >= 3);
    let (finished, counted) = place.stop(tracer);
    assert_eq!(counted[..3], [4, 1, 0]);
    assert_eq!(row(&finished)["listen_overflows"], overflows);
    assert_eq!(row(&finished)["listen_drops"], drops);
    let line = format!("kernel: a listener dropped a handshake {overflows} times");
    assert!(finished.stderr.contains(&line), "{}", finished.stderr);
}
