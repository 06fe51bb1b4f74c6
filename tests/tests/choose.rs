//! Traffic chosen by address and device: exactly that, on both sides, also what is older than the run.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{IpAddr, TcpStream};
use std::process::ChildStdout;

use rustix::process::Signal;
use serde_json::Value;
use tests::chosen::{Peers, TRAFFIC, peers, play, staying};
use tests::compare::{assert_equal, assert_whole_lives, finals};
use tests::generator::Workload;
use tests::harness::{PATIENCE, can_trace, readable};
use tests::namespace::Namespace;
use tests::replay::Folder;
use tests::stage::{Stage, acts};
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Finished, Tracer};

fn recorded(finished: &Finished) -> Peers {
    let mut peers = Peers::new();
    for record in finals(finished) {
        let ip = record["remote"]["ip"].as_str().expect("an address");
        let key = (
            record["direction"] == "inbound",
            ip.parse().expect("an address"),
        );
        *peers.entry(key).or_default() += 1;
    }
    peers
}

/// Checks that `option` keeps what `fits` (local, remote) takes: of short connections, of those that
/// are older and still open, and with tables only.
fn assert_keeps(option: &str, fits: impl Fn(IpAddr, IpAddr) -> bool) {
    if !can_trace() {
        return;
    }
    let acts = acts(TRAFFIC);
    let expected = peers(&acts, &fits);
    let made: u32 = peers(&acts, |_, _| true).values().sum();
    let kept: u32 = expected.values().sum();
    assert!(
        kept > 0 && kept < made,
        "{option} says nothing: {kept} of {made}"
    );

    let mut stage = Stage::new(&acts);
    let tracer = Tracer::start(&stage.host, option);
    let line = format!("--quiet --netns {} {option}", stage.host.inode());
    let tables_only = Tracer::start_as(Tracer::command(&line));
    play(&mut stage, &acts);
    let finished = tracer.stop().lossless();
    assert_eq!(recorded(&finished), expected, "{option}");
    assert_whole_lives(&finished);
    let total = assert_sums(&finished.summary);
    assert_eq!(total[0] + total[1], u64::from(kept), "{option}");
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
    let quiet = tables_only.stop().lossless();
    assert_eq!(
        quiet.summary["ports"], finished.summary["ports"],
        "{option}"
    );
    assert_eq!(
        quiet.summary["peers"], finished.summary["peers"],
        "{option}"
    );
    assert_eq!(finished.summary["kernel"], Value::Null, "not comparable");

    let mut stage = Stage::new(&acts);
    let (listens, stays) = staying(&acts);
    play(&mut stage, &listens);
    play(&mut stage, &stays);
    let inhabitant = inhabit(&stage);
    let finished = Tracer::start(&stage.host, option).stop().lossless();
    leave(inhabitant);
    assert_eq!(recorded(&finished), expected, "{option}, older");
    assert_eq!(finished.summary["total"]["pre_existing"], kept, "{option}");
}

/// Older connections are found in the namespaces that a process is in.
fn inhabit(stage: &Stage) -> Workload {
    let mut waits = Workload::start(&stage.host, "churn --connections 12 --gate");
    waits.ready();
    waits
}

/// Lets its processes end.
fn leave(mut inhabitant: Workload) {
    inhabitant.go();
    inhabitant.finish();
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn only_keeps_peers() {
    let wanted = [ip("192.0.2.10"), ip("192.0.2.30")];
    assert_keeps("--only 192.0.2.10,192.0.2.30", |_, remote| {
        wanted.contains(&remote)
    });
    assert_keeps("--only 2001:db8::/124", |_, remote| {
        remote == ip("2001:db8::9") || remote == ip("2001:db8::a")
    });
    assert_keeps("--only 0.0.0.0/0", |_, remote| remote.is_ipv4());
    assert_keeps("--only ::/0", |_, remote| remote.is_ipv6());
}

#[test]
fn exclude_leaves_peers_out_and_wins_over_only() {
    assert_keeps(
        "--exclude 192.0.2.8/30 --exclude 2001:db8::30",
        |_, remote| {
            let left_out = ["192.0.2.9", "192.0.2.10", "2001:db8::30"].map(ip);
            !left_out.contains(&remote)
        },
    );
    assert_keeps("--only 192.0.2.0/24 --exclude 192.0.2.9", |_, remote| {
        remote.is_ipv4() && remote != ip("192.0.2.9")
    });
}

#[test]
fn local_keeps_addresses_of_this_host() {
    assert_keeps("--local 192.0.2.1", |local, _| local == ip("192.0.2.1"));
    assert_keeps(
        "--local 2001:db8::/32 --exclude 2001:db8::9",
        |local, remote| local.is_ipv6() && remote != ip("2001:db8::9"),
    );
}

#[test]
fn networks_come_from_files_too() {
    let folder = Folder::new();
    let list = folder.file("list", "# peers\n192.0.2.9\n\n2001:db8::9 ; one more\n");
    let option = format!("--only @{} --only 192.0.2.31", list.display());
    assert_keeps(&option, |_, remote| {
        ["192.0.2.9", "2001:db8::9", "192.0.2.31"]
            .map(ip)
            .contains(&remote)
    });
}

/// As an operator has them: a long list of others' networks, and three of these.
fn long_list(folder: &Folder, lines: u32) -> std::path::PathBuf {
    let mut text = String::new();
    for number in 0..lines {
        // Every second network, so that none can be joined with its neighbour.
        let ip = std::net::Ipv4Addr::from((20 << 24) + (number << 9));
        writeln!(text, "{ip}/24").expect("a line");
    }
    text.push_str("192.0.2.9\n192.0.2.30/31\n2001:db8::8/125\n");
    folder.file("long", text)
}

#[test]
fn a_hundred_thousand_networks_are_no_different() {
    let folder = Folder::new();
    let list = long_list(&folder, 100_000);
    assert_keeps(&format!("--exclude @{}", list.display()), |_, remote| {
        remote == ip("192.0.2.10") || remote == ip("2001:db8::30")
    });
}

#[test]
fn ipv4_on_an_ipv6_socket_is_chosen_as_ipv4() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--only 127.0.0.0/8 --local 127.0.0.1");
    let truth = Workload::run(&namespace, "churn --connections 240");
    let finished = tracer.stop().lossless();
    let v4: Vec<_> = truth
        .ends()
        .filter(|(_, end)| end.local.is_ipv4())
        .collect();
    let mapped = v4.iter().filter(|(_, end)| end.v6_socket).count();
    assert!(mapped > 0 && v4.len() < 480, "{mapped} of {}", v4.len());
    assert_equal(&finished, v4.into_iter());
}

#[test]
fn interface_keeps_what_leaves_through_a_device() {
    if !can_trace() {
        return;
    }
    let text = "listen 192.0.2.1:80\nlisten 192.0.2.30:25\nshort 192.0.2.9 -> 192.0.2.1:80\n\
                short 192.0.2.1 -> 192.0.2.30:25\nshort 192.0.2.1 -> 192.0.2.1:80\n\
                short 192.0.2.1 -> 192.0.2.1:80";
    let acts = acts(text);
    for (option, kept, failed) in [
        ("--interface veth0", vec!["192.0.2.30", "192.0.2.9"], 1),
        ("--interface lo", vec!["192.0.2.1"; 4], 1),
        ("--interface veth1,veth", vec![], 0),
        (
            "--interface veth0 --interface lo --only 192.0.2.9",
            vec!["192.0.2.9"],
            0,
        ),
    ] {
        let mut stage = Stage::new(&acts[..4]);
        let tracer = Tracer::start(&stage.host, option);
        play(&mut stage, &acts);
        // Nobody listens there.
        for to in ["192.0.2.30:1", "192.0.2.1:1"] {
            let refused = stage.host.run(|| TcpStream::connect(to));
            refused.expect_err("nobody listens");
        }
        let finished = tracer.stop().lossless();
        let mut peers: Vec<_> = finals(&finished)
            .iter()
            .map(|record| record["remote"]["ip"].as_str().expect("an address"))
            .collect();
        peers.sort_unstable();
        assert_eq!(peers, kept, "{option}");
        assert_eq!(finished.events("failed").len(), failed, "{option}");
    }
}

#[test]
fn an_older_connection_is_chosen_by_its_device() {
    if !can_trace() {
        return;
    }
    let acts =
        acts("listen 192.0.2.1:80\nopen 192.0.2.9 -> 192.0.2.1:80\nopen 192.0.2.1 -> 192.0.2.1:80");
    let mut stage = Stage::new(&acts[..2]);
    play(&mut stage, &acts);
    let inhabitant = inhabit(&stage);
    for (option, count) in [("--interface veth0", 1), ("--interface lo", 2)] {
        let finished = Tracer::start(&stage.host, option).stop().lossless();
        assert_eq!(finals(&finished).len(), count, "{option}");
    }
    leave(inhabitant);
}

/// A tracer that is on no terminal, and its records as they come.
fn start_service(namespace: &Namespace, option: &str) -> (Tracer, ChildStdout) {
    let line = format!("--format json --netns {} {option}", namespace.inode());
    Tracer::start_with_pipe(Tracer::service(&line))
}

/// Makes connections until one is in the records.
fn connect_until_seen(stage: &Stage, from: &str, stdout: &mut ChildStdout, text: &mut String) {
    let wanted = format!("\"{from}\"");
    let since = std::time::Instant::now();
    let start = text.len();
    while !text[start..].contains(&wanted) {
        assert!(since.elapsed() < PATIENCE, "{from} is not chosen: {text}");
        stage.short(ip(from), "192.0.2.1:80".parse().expect("an address"));
        while readable(stdout, std::time::Duration::from_millis(50)) {
            let mut bytes = [0; 8192];
            let length = stdout.read(&mut bytes).expect("records");
            assert!(length > 0, "the tracer ended: {text}");
            text.push_str(std::str::from_utf8(&bytes[..length]).expect("UTF-8"));
        }
    }
}

#[test]
fn files_are_read_again_on_sighup_and_a_broken_one_changes_nothing() {
    if !can_trace() {
        return;
    }
    let text = "listen 192.0.2.1:80\nshort 192.0.2.9 -> 192.0.2.1:80\n\
                short 192.0.2.10 -> 192.0.2.1:80\nshort 192.0.2.11 -> 192.0.2.1:80\n\
                short 192.0.2.12 -> 192.0.2.1:80";
    let acts = acts(text);
    let mut stage = Stage::new(&acts);
    play(&mut stage, &acts[..1]);
    let folder = Folder::new();
    let list = folder.file("list", "192.0.2.9\n");
    let option = format!("--only @{} --only 192.0.2.11", list.display());
    let (tracer, mut stdout) = start_service(&stage.host, &option);
    let mut seen = String::new();
    connect_until_seen(&stage, "192.0.2.9", &mut stdout, &mut seen);
    // Nothing is chosen by a list that is broken.
    folder.file("list", "192.0.2.10\nnonsense\n");
    tracer.signal(Signal::HUP);
    connect_until_seen(&stage, "192.0.2.9", &mut stdout, &mut seen);
    folder.file("list", "192.0.2.10/31 # now these\n");
    tracer.signal(Signal::HUP);
    connect_until_seen(&stage, "192.0.2.10", &mut stdout, &mut seen);
    connect_until_seen(&stage, "192.0.2.11", &mut stdout, &mut seen);
    // One change follows the other: when what the second adds is there, the first is done.
    folder.file("list", "192.0.2.9\n");
    tracer.signal(Signal::HUP);
    connect_until_seen(&stage, "192.0.2.9", &mut stdout, &mut seen);
    folder.file("list", "192.0.2.9\n192.0.2.12\n");
    tracer.signal(Signal::HUP);
    connect_until_seen(&stage, "192.0.2.12", &mut stdout, &mut seen);
    let before = seen.len();
    for gone in ["192.0.2.10", "192.0.2.9", "192.0.2.11"] {
        stage.short(ip(gone), "192.0.2.1:80".parse().expect("an address"));
    }
    tracer.signal(Signal::INT);
    stdout.read_to_string(&mut seen).expect("records");
    let finished = tracer.finish();
    let has = |ip: &str| seen[before..].contains(&format!("\"{ip}\""));
    assert!(
        has("192.0.2.9") && has("192.0.2.11") && !has("192.0.2.10"),
        "{seen}"
    );
    let words = [
        "error: --only",
        "line 2: `nonsense`",
        "stays",
        "--only 2 networks",
    ];
    for word in words {
        assert!(
            finished.stderr.contains(word),
            "{word}: {}",
            finished.stderr
        );
    }
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
}

#[test]
fn what_is_left_out_and_own_addresses_are_read_again_too() {
    if !can_trace() {
        return;
    }
    let acts = acts("listen 192.0.2.1:80\nshort 192.0.2.9 -> 192.0.2.1:80");
    for (option, before, after) in [
        ("--exclude", "192.0.2.9", "192.0.2.10"),
        ("--local", "192.0.2.2", "192.0.2.1"),
    ] {
        let mut stage = Stage::new(&acts);
        play(&mut stage, &acts[..1]);
        let folder = Folder::new();
        let list = folder.file("list", before);
        let option = format!("{option} @{}", list.display());
        let (tracer, mut stdout) = start_service(&stage.host, &option);
        folder.file("list", after);
        tracer.signal(Signal::HUP);
        connect_until_seen(&stage, "192.0.2.9", &mut stdout, &mut String::new());
        let _ = tracer.stop();
    }
}
