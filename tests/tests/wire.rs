//! `--wire`: segments and wire bytes of each connection, against a capture of the same packets.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;
use tests::capture::{Capture, Packet};
use tests::compare::{address, number};
use tests::generator::Workload;
use tests::harness::{PATIENCE, can_trace, program};
use tests::intervals::wire;
use tests::namespace::{Namespace, ip};
use tests::replay::{Folder, replay};
use tests::schema::closed;
use tests::tracer::{Finished, Tracer};

const HOST: [u8; 4] = [10, 79, 0, 1];
const WORLD: [u8; 4] = [10, 79, 0, 2];
const HOST_V6: &str = "fd00:79::1";
const WORLD_V6: &str = "fd00:79::2";

/// A host that is traced, and the world, on two ends of a wire.
struct Scene {
    host: Namespace,
    world: Namespace,
}

impl Scene {
    fn new() -> Self {
        let (host, world) = (Namespace::new(), Namespace::new());
        host.link(HOST.into(), &world, WORLD.into());
        host.run(|| ip(&format!("addr add {HOST_V6}/64 dev veth0 nodad")));
        world.run(|| ip(&format!("addr add {WORLD_V6}/64 dev veth1 nodad")));
        Self { host, world }
    }

    fn wait_for_goodbyes(&self) {
        self.world.wait_for_goodbyes();
        self.host.wait_for_goodbyes();
    }

    /// An acknowledgement may be late: none is on its way then.
    fn wait_for_acknowledgements(&self) {
        self.world.wait_for_acknowledgements();
        self.host.wait_for_acknowledgements();
    }
}

fn host(is_v6: bool) -> IpAddr {
    if is_v6 {
        HOST_V6.parse().expect("an address")
    } else {
        Ipv4Addr::from(HOST).into()
    }
}

fn world(is_v6: bool) -> IpAddr {
    if is_v6 {
        WORLD_V6.parse().expect("an address")
    } else {
        Ipv4Addr::from(WORLD).into()
    }
}

/// A connection between two sockets of this test.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    /// From a namespace to an address in another one.
    fn new(from: &Namespace, to: &Namespace, at: IpAddr) -> Self {
        let listener = to.run(|| TcpListener::bind((at, 0)).expect("a listener"));
        let address = listener.local_addr().expect("an address");
        let client = from.run(|| TcpStream::connect(address).expect("a connection"));
        let (server, _) = listener.accept().expect("a connection");
        for end in [&client, &server] {
            end.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        }
        Self { client, server }
    }

    /// Sends so many bytes each way, one after the other.
    fn exchange(mut self, request: usize, answer: usize) -> Self {
        pass(&mut self.client, &mut self.server, request);
        pass(&mut self.server, &mut self.client, answer);
        self
    }

    fn close(self, server_first: bool) {
        let (first, mut second) = if server_first {
            (self.server, self.client)
        } else {
            (self.client, self.server)
        };
        drop(first);
        assert_eq!(second.read(&mut [0]).expect("the end"), 0);
    }
}

/// More than a socket has room for needs a reader meanwhile.
fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    std::thread::scope(|scope| {
        scope.spawn(|| from.write_all(&vec![7; bytes]).expect("sending"));
        to.read_exact(&mut vec![0; bytes]).expect("receiving");
    });
}

/// The packets of a connection that a socket here sends or gets until TCP is over for it.
fn until_close<'a>(packets: &'a [Packet], record: &Value) -> Vec<&'a Packet> {
    let (local, remote) = (address(&record["local"]), address(&record["remote"]));
    let mut mine: Vec<_> = packets
        .iter()
        .filter(|packet| {
            let ends = (packet.from, packet.to);
            ends == (local, remote) || ends == (remote, local)
        })
        .collect();
    // The end that closes first is over when its FIN is acknowledged: the other's FIN, if that is
    // not the same packet, and the answer to it are TIME_WAIT's.
    let fin = mine
        .iter()
        .find(|packet| packet.from == local && packet.is_fin())
        .map(|packet| packet.end());
    let acknowledged = fin.and_then(|fin| {
        mine.iter()
            .position(|it| it.from == remote && it.ack == fin)
    });
    if let Some(at) = acknowledged {
        let answer = usize::from(mine[at].is_fin());
        mine.truncate(at + 1 + answer);
    }
    mine
}

fn from(packets: &[&Packet], end: SocketAddr) -> Vec<Packet> {
    let packets = packets.iter().filter(|packet| packet.from == end);
    packets.map(|packet| (*packet).clone()).collect()
}

fn segments(packets: &[Packet]) -> u64 {
    packets.iter().map(|packet| packet.segments).sum()
}

fn wire_bytes(packets: &[Packet]) -> u64 {
    packets.iter().map(Packet::wire_bytes).sum()
}

fn payload(packets: &[Packet]) -> u64 {
    packets.iter().map(|packet| packet.payload).sum()
}

/// Each byte of payload once. Without a gap on the way it is all there was.
fn payload_once(packets: &[Packet]) -> u64 {
    let first = packets.first().map_or(0, |packet| packet.seq);
    let syn = packets.first().is_some_and(Packet::is_syn);
    let end = |packet: &Packet| packet.end() - u32::from(packet.is_fin());
    let ends = packets.iter().filter(|packet| packet.payload > 0);
    let most = ends.map(|packet| end(packet).wrapping_sub(first)).max();
    most.map_or(0, |most| u64::from(most) - u64::from(syn))
}

/// What wire bytes are an estimate of: every header but those of SYNs and RSTs as most are, and of
/// what came (`once`) each byte of payload once.
fn estimated(packets: &[Packet], once: bool) -> u64 {
    let is_usual = |packet: &&Packet| !packet.is_syn() && !packet.is_rst();
    let usual = packets.iter().filter(is_usual).map(|packet| packet.header);
    let usual = usual.min().unwrap_or_default();
    let header = |packet: &Packet| {
        let tcp = if is_usual(&packet) {
            usual
        } else {
            packet.header
        };
        packet.segments * (packet.ip_header + tcp)
    };
    let headers: u64 = packets.iter().map(header).sum();
    let payload = if once {
        payload_once(packets)
    } else {
        payload(packets)
    };
    payload + headers
}

/// What a capture has of these connections, and their records tell. Returns the number of records.
fn assert_exact(records: &[&Value], packets: &[Packet]) -> usize {
    for record in records {
        let mine = until_close(packets, record);
        let (out, in_) = (
            from(&mine, address(&record["local"])),
            from(&mine, address(&record["remote"])),
        );
        let wire = &record["wire"];
        let told = ["segments_out", "segments_in"].map(|name| number(&wire[name]));
        assert_eq!(
            told,
            [segments(&out), segments(&in_)],
            "{record}: {mine:#?}"
        );
        let told = ["wire_bytes_out", "wire_bytes_in"].map(|name| number(&wire[name]));
        let captured = [estimated(&out, false), estimated(&in_, true)];
        assert_eq!(told, captured, "{record}: {mine:#?}");
        // Even a loopback device loses packets, if the receiver has no memory for them: it tells of
        // the gap in longer headers, unless what it lost was the last, and gets them again.
        let headers = || mine.iter().filter(|it| !it.is_syn() && !it.is_rst());
        let usual = headers().map(|it| it.header).min();
        let lost = headers().any(|it| Some(it.header) > usual);
        let again = [&out, &in_].map(|it| payload(it) > payload_once(it));
        if !lost && again == [false; 2] {
            assert_eq!(told, [wire_bytes(&out), wire_bytes(&in_)], "{record}");
        }
        assert_eq!(wire["estimate"], "wire_bytes", "{record}");
    }
    records.len()
}

fn lasts(finished: &Finished) -> Vec<&Value> {
    let lasts = ["close", "open_at_exit", "failed"];
    let records = finished.records.iter();
    records
        .filter(|record| lasts.iter().any(|event| record["event"] == *event))
        .collect()
}

/// A wire without loss: every header is the usual one.
#[test]
fn what_a_connection_put_on_the_wire_is_what_a_capture_has_of_it() {
    if !can_trace() {
        return;
    }
    for timestamps in ["1", "0"] {
        let scene = Scene::new();
        for namespace in [&scene.host, &scene.world] {
            namespace.run(|| {
                std::fs::write("/proc/sys/net/ipv4/tcp_timestamps", timestamps)
                    .expect("setting tcp_timestamps");
            });
        }
        let capture = Capture::start(&scene.host);
        let tracer = Tracer::start(&scene.host, "--wire");
        for is_v6 in [false, true] {
            for server_first in [false, true] {
                for (request, answer) in [(100, 300), (1, 0), (2_000_000, 10), (10, 2_000_000)] {
                    Pair::new(&scene.world, &scene.host, host(is_v6))
                        .exchange(request, answer)
                        .close(server_first);
                    Pair::new(&scene.host, &scene.world, world(is_v6))
                        .exchange(request, answer)
                        .close(server_first);
                }
            }
        }
        scene.wait_for_goodbyes();
        let finished = tracer.stop().lossless();
        assert_eq!(assert_exact(&lasts(&finished), &capture.packets()), 32);
    }
}

#[test]
fn both_ends_on_the_loopback_device_tell_of_the_same_wire() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let capture = Capture::start(&namespace);
    let tracer = Tracer::start(&namespace, "--wire");
    for at in ["127.0.0.1", "::1"] {
        for (request, answer) in [(100, 300), (3_000_000, 5), (5, 3_000_000)] {
            let at = at.parse().expect("an address");
            Pair::new(&namespace, &namespace, at)
                .exchange(request, answer)
                .close(request > answer);
        }
    }
    namespace.wait_for_goodbyes();
    let finished = tracer.stop().lossless();
    assert_eq!(assert_exact(&lasts(&finished), &capture.packets()), 12);
}

/// Every way in which a connection can be cut off, and an attempt that is refused.
#[test]
fn resets_are_segments_on_both_sides() {
    if !can_trace() {
        return;
    }
    let scene = Scene::new();
    let capture = Capture::start(&scene.host);
    let tracer = Tracer::start(&scene.host, "--wire");
    let to_host = || Pair::new(&scene.world, &scene.host, host(false)).exchange(100, 300);
    let no_linger = |socket: &TcpStream| {
        set_socket_linger(socket, Some(Duration::ZERO)).expect("SO_LINGER");
    };
    // The host's side aborts: by request, and because something is left to read.
    let mut pair = to_host();
    no_linger(&pair.server);
    drop(pair.server);
    let error = pair.client.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let mut pair = to_host();
    pair.client.write_all(&[1; 50]).expect("sending");
    assert_eq!(pair.server.peek(&mut [0]).expect("what came"), 1);
    drop(pair.server);
    let error = pair.client.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    // The other side does.
    let mut pair = to_host();
    no_linger(&pair.client);
    drop(pair.client);
    let error = pair.server.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    drop(pair.server);
    // Nobody listens.
    let at = scene.world.run(|| {
        let listener = TcpListener::bind((world(false), 0)).expect("a listener");
        listener.local_addr().expect("an address")
    });
    let refused = scene.host.run(|| TcpStream::connect(at));
    let error = refused.expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);

    let finished = tracer.stop().lossless();
    let packets = capture.packets();
    assert_eq!(assert_exact(&lasts(&finished), &packets), 4);
    let failed = finished.events("failed");
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["wire"]["segments_out"], 1);
    assert_eq!(failed[0]["wire"]["segments_in"], 1);
}

#[test]
fn of_older_connections_only_what_came_since_the_start_counts() {
    if !can_trace() {
        return;
    }
    let scene = Scene::new();
    let older = |request, answer| {
        Pair::new(&scene.world, &scene.host, host(false)).exchange(request, answer)
    };
    // The tracer finds a namespace by a process in it.
    let mut inhabitant = Workload::start(&scene.host, "churn --connections 12 --gate");
    inhabitant.ready();
    let (closed, open) = (older(1000, 70_000), older(500, 0));
    scene.wait_for_acknowledgements();
    let tracer = Tracer::start(&scene.host, "--wire");
    let capture = Capture::start(&scene.host);
    closed.exchange(10, 20).close(false);
    let open = open.exchange(30, 40);
    scene.wait_for_goodbyes();
    scene.wait_for_acknowledgements();
    let finished = tracer.stop().lossless();
    let packets = capture.packets();
    drop(open);
    inhabitant.go();
    inhabitant.finish();
    assert_eq!(finished.events("open_at_exit").len(), 1);
    let records = lasts(&finished);
    assert!(records.iter().all(|it| it["pre_existing"] == true));
    assert_eq!(assert_exact(&records, &packets), 2);
}

/// How often this thread's namespace has sent a segment again.
fn retransmitted() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("the counters");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let (_, number) = pairs
        .find(|(name, _)| *name == "RetransSegs")
        .expect("RetransSegs");
    number.parse().expect("a number")
}

#[test]
fn what_is_sent_again_counts_each_time() {
    if !can_trace() {
        return;
    }
    let scene = Scene::new();
    let capture = Capture::start(&scene.host);
    let tracer = Tracer::start(&scene.host, "--wire");
    let mut pair = Pair::new(&scene.world, &scene.host, host(false)).exchange(100, 300);
    let network = format!("{}/24", Ipv4Addr::from(WORLD));
    // Packets to an address that is not there go nowhere.
    scene
        .world
        .run(|| ip(&format!("addr del {network} dev veth1")));
    pair.server.write_all(&[3; 700]).expect("sending");
    let since = Instant::now();
    while scene.host.run(retransmitted) < 2 {
        assert!(since.elapsed() < PATIENCE, "nothing is sent again");
        std::thread::sleep(Duration::from_millis(5));
    }
    scene
        .world
        .run(|| ip(&format!("addr add {network} dev veth1")));
    pair.client.read_exact(&mut [0; 700]).expect("receiving");
    pair.close(false);
    scene.wait_for_goodbyes();
    let finished = tracer.stop().lossless();
    let records = lasts(&finished);
    let [record] = records[..] else {
        panic!("{records:#?}")
    };
    assert!(number(&record["retransmits"]) >= 2, "{record}");
    assert_eq!(number(&record["bytes"]["tx"]), 300 + 700);
    let packets = capture.packets();
    let mine = until_close(&packets, record);
    let out = from(&mine, address(&record["local"]));
    let in_ = from(&mine, address(&record["remote"]));
    let wire = &record["wire"];
    assert_eq!(number(&wire["segments_out"]), segments(&out), "{mine:#?}");
    assert_eq!(number(&wire["segments_in"]), segments(&in_), "{mine:#?}");
    assert_eq!(number(&wire["wire_bytes_out"]), wire_bytes(&out));
    assert!(number(&wire["wire_bytes_out"]) > 300 + 3 * 700);
}

/// The sum over records, by the names in `wire`.
fn sum(records: &[&Value]) -> [u64; 4] {
    let told: Vec<_> = records.iter().map(|record| wire(record)).collect();
    std::array::from_fn(|column| told.iter().map(|row| row[column]).sum())
}

#[test]
fn tables_add_up_to_the_records_however_bytes_are_counted() {
    if !can_trace() {
        return;
    }
    let schema = |text| {
        let schema = serde_json::from_str(text).expect("the schema is JSON");
        jsonschema::validator_for(&closed(schema)).expect("a valid schema")
    };
    let record_schema = schema(include_str!("../../docs/record.schema.json"));
    let summary_schema = schema(include_str!("../../docs/summary.schema.json"));
    for options in ["--wire", "--wire --accounting socket"] {
        let namespace = Namespace::new();
        let tracer = Tracer::start(&namespace, options);
        let mut held = Workload::start(&namespace, "hold --connections 3");
        held.ready();
        Workload::run(&namespace, "churn --connections 60");
        Workload::run(&namespace, "refused");
        let finished = tracer.stop().lossless();
        held.finish();
        let records = lasts(&finished);
        assert!(!finished.events("failed").is_empty());
        assert_eq!(finished.events("open_at_exit").len(), 6);
        for record in &records {
            assert!(number(&record["wire"]["segments_out"]) > 0, "{record}");
        }
        for record in &finished.records {
            if let Err(error) = record_schema.validate(record) {
                panic!("{error}: {record}");
            }
        }
        let summary = &finished.summary;
        if let Err(error) = summary_schema.validate(summary) {
            panic!("{error}: {summary}");
        }
        let total = sum(&records);
        assert_eq!(wire(&summary["total"]), total);
        for table in ["ports", "processes", "peers"] {
            let rows = summary[table].as_array().expect("a table");
            let rows: Vec<_> = rows.iter().filter(|row| !row["wire"].is_null()).collect();
            assert_eq!(sum(&rows), total, "{table}");
        }
        let folder = Folder::new();
        let file = folder.file("c.jsonl", &finished.stdout);
        let replayed = replay("", &[&file]).clean();
        for table in ["ports", "peers", "total"] {
            assert_eq!(replayed.summary[table], summary[table], "{table}");
        }
        assert!(
            replayed.stdout.contains("SEGMENTS OUT"),
            "{}",
            replayed.stdout
        );
        assert!(replayed.stdout.contains("are an estimate"));
    }
}

/// An accept is told without the socket's lock, and so at the same time as an end on another processor.
/// Where each wrote what the other notes, too, some 4 in 100,000 ends were without their counters.
#[test]
fn an_accept_and_an_end_at_once_take_nothing_from_each_other() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--wire");
    Workload::run(&namespace, "churn --connections 20000");
    let finished = tracer.stop().lossless();
    let ends = finished.events("close");
    assert_eq!(ends.len(), 2 * 20_000);
    for end in ends {
        let has = |object: &Value, name| !object[name].is_null();
        assert!(has(end, "wire") && has(&end["bytes"], "unread"), "{end}");
    }
}

#[test]
fn tables_alone_have_the_wire_and_nothing_has_it_unasked() {
    if !can_trace() {
        return;
    }
    for options in ["--wire --quiet", "--quiet", ""] {
        let namespace = Namespace::new();
        let tracer = Tracer::start(&namespace, options);
        let pair = Pair::new(&namespace, &namespace, Ipv4Addr::LOCALHOST.into());
        pair.exchange(100, 300).close(false);
        namespace.wait_for_goodbyes();
        let finished = tracer.stop().lossless();
        let text = finished.summary.to_string() + &String::from_utf8_lossy(&finished.stdout);
        if options.contains("--wire") {
            let wire = &finished.summary["total"]["wire"];
            assert!(number(&wire["segments_out"]) >= 8, "{wire}");
            assert!(number(&wire["wire_bytes_out"]) > 400, "{wire}");
        } else {
            assert!(!text.contains("\"wire\"") && !finished.stderr.contains("SEGMENTS"));
        }
    }
}

#[test]
fn sampling_cannot_have_it() {
    // Not by `Tracer::command`, which may name another backend.
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command.args(["--backend", "poll", "--wire"]);
    let output = command.output().expect("running conntracer");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("--wire cannot be had with --backend poll"),
        "{text}"
    );
}
