//! Names of peers, by a name server of the test's own: told once they are known, for as long as
//! they hold; and a server that says nothing costs nothing.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::Value;
use tests::dns::{NameServer, Reply};
use tests::harness::program;
use tests::mapped::map;
use tests::peering::{Place, row};
use tests::replay::replay;
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Tracer, run};

fn named(name: &str) -> impl Fn(&Value) -> bool {
    move |record| record["peer"]["reverse_dns"] == name
}

#[test]
fn a_name_is_told_once_it_is_known_and_asked_for_once() {
    let Some(place) = Place::new() else { return };
    let server = NameServer::start(Reply::NoName);
    server.say("192.0.2.7", Reply::name("host.example.org", 3600));
    server.say("2001:db8::9", Reply::name("six.example.org", 3600));
    server.say("127.0.0.1", Reply::name("never.example.org", 3600));
    let tracer = place.trace(&format!("--names={}", server.address()));
    tracer.until("192.0.2.7", named("host.example.org"));
    tracer.until("2001:db8::9", named("six.example.org"));
    place.connect("127.0.0.1");
    for _ in 0..20 {
        place.connect("192.0.2.7");
    }
    let (records, finished) = tracer.stop();
    let finished = finished.lossless();
    assert_eq!(
        Tables::of_records(&records),
        Tables::of_summary(&finished.summary)
    );
    for (ip, name) in [
        ("192.0.2.7", Some("host.example.org")),
        ("2001:db8::9", Some("six.example.org")),
        ("192.0.2.1", None),
        ("127.0.0.1", None),
    ] {
        assert_eq!(row(&finished.summary, ip)["reverse_dns"].as_str(), name);
    }
    for (ip, times) in [("192.0.2.7", 1), ("192.0.2.1", 1), ("127.0.0.1", 0)] {
        assert_eq!(server.asked(ip), times, "{ip}");
    }
    // Nothing of it is in the records of anybody.
    let ours = |record: &&Value| record["process"]["name"] == "conntracer";
    assert_eq!(records.iter().filter(ours).count(), 0);
}

#[test]
fn a_name_that_holds_no_longer_is_asked_for_again() {
    let Some(place) = Place::new() else { return };
    let server = NameServer::start(Reply::NoName);
    server.say("192.0.2.7", Reply::name("then.example.org", 1));
    let tracer = place.trace(&format!("--names={}", server.address()));
    tracer.until("192.0.2.7", named("then.example.org"));
    server.say("192.0.2.7", Reply::name("now.example.org", 1));
    tracer.until("192.0.2.7", named("now.example.org"));
    server.say("192.0.2.7", Reply::NoName);
    tracer.until("192.0.2.7", |record| record["peer"].is_null());
    let (_, finished) = tracer.stop();
    // What some of its connections were told with stays in the tables.
    let row = row(&finished.lossless().summary, "192.0.2.7").clone();
    assert_eq!(row["reverse_dns"], "now.example.org");
}

#[test]
fn hostile_names_are_escaped_and_look_like_no_other_name() {
    let Some(place) = Place::new() else { return };
    let server = NameServer::start(Reply::NoName);
    for (ip, label) in [
        ("192.0.2.11", &b"\x1b]0;owned\x07"[..]),
        ("192.0.2.12", b"a\nb\r\"c"),
        ("192.0.2.13", b"good.example\0"),
        ("192.0.2.14", "\u{202e}gpj".as_bytes()),
    ] {
        let labels = vec![label.to_vec(), b"evil".to_vec()];
        server.say(ip, Reply::Name(labels, 3600));
    }
    // Longer than a name can be, if it is written so that it does no harm.
    server.say("192.0.2.15", Reply::Name(vec![vec![1; 63]; 3], 3600));
    let tracer = place.trace(&format!("--names={}", server.address()));
    for (ip, name) in [
        ("192.0.2.11", r"\x1b]0;owned\x07.evil"),
        ("192.0.2.12", r#"a\nb\r"c.evil"#),
        ("192.0.2.13", r"good\x2eexample\x00.evil"),
        ("192.0.2.14", r"\u{202e}gpj.evil"),
    ] {
        tracer.until(ip, named(name));
    }
    place.connect("192.0.2.15");
    let (_, finished) = tracer.stop();
    assert!(row(&finished.summary, "192.0.2.15")["reverse_dns"].is_null());
    let text = replay("--format live", &[&place.path("records.jsonl")]).clean();
    let shown = text.stdout;
    assert!(
        shown.contains(r"\x1b]0;owned\x07.evil?"),
        "marked as looked up: {shown}"
    );
    assert!(
        !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
        "{shown:?}"
    );
}

#[test]
fn without_records_the_names_of_the_tables_are_asked_for_at_the_end() {
    let Some(place) = Place::new() else { return };
    let server = NameServer::start(Reply::NoName);
    server.say("192.0.2.7", Reply::name("host.example.org", 3600));
    let options = format!("--quiet --names={}", server.address());
    let tracer = Tracer::start(&place.namespace, &options);
    place.connect("192.0.2.7");
    place.namespace.wait_for_goodbyes();
    assert_eq!(server.asked("192.0.2.7"), 0);
    let finished = tracer.stop().lossless();
    let row = row(&finished.summary, "192.0.2.7");
    assert_eq!(row["reverse_dns"], "host.example.org");
}

/// Everything is there that is there without names, and the end comes soon.
fn assert_costs_nothing(options: &str, said: &str) {
    let Some(place) = Place::new() else { return };
    let tracer = place.trace(options);
    for round in 0..4 {
        for last in 2..32 {
            place.connect(&format!("192.0.2.{last}"));
        }
        // So that some have been given up when others come.
        if round == 1 {
            std::thread::sleep(Duration::from_secs(5));
        }
    }
    let since = Instant::now();
    let (records, finished) = tracer.stop();
    let took = since.elapsed();
    let finished = finished.lossless();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(finished.summary["total"]["connects"], 120);
    assert_eq!(finished.summary["total"]["accepts"], 120);
    assert_sums(&finished.summary);
    assert_eq!(
        Tables::of_records(&records),
        Tables::of_summary(&finished.summary)
    );
    assert!(records.iter().all(|record| record["peer"].is_null()));
    assert!(finished.stderr.contains(said), "{}", finished.stderr);
}

#[test]
fn a_server_that_says_nothing_costs_nothing() {
    let server = NameServer::start(Reply::Silence);
    let options = format!("--names={}", server.address());
    assert_costs_nothing(&options, "nobody is asked for names");
}

#[test]
fn neither_does_one_that_is_not_there() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("its address");
    drop(socket);
    assert_costs_nothing(&format!("--names={address}"), "nobody is asked for names");
}

#[test]
fn one_that_cannot_find_out_is_asked_on() {
    let Some(place) = Place::new() else { return };
    let server = NameServer::start(Reply::Failure);
    server.say("192.0.2.40", Reply::name("host.example.org", 3600));
    let tracer = place.trace(&format!("--names={}", server.address()));
    for last in 2..32 {
        place.connect(&format!("192.0.2.{last}"));
    }
    tracer.until("192.0.2.40", named("host.example.org"));
    let (records, finished) = tracer.stop();
    let finished = finished.lossless();
    assert!(
        !finished.stderr.contains("nobody is asked"),
        "{}",
        finished.stderr
    );
    assert_eq!(
        Tables::of_records(&records),
        Tables::of_summary(&finished.summary)
    );
}

#[test]
fn a_replay_asks_for_names_now() {
    let Some(place) = Place::new() else { return };
    let tracer = place.trace("");
    place.connect("192.0.2.7");
    let _ = tracer.stop();
    let server = NameServer::start(Reply::NoName);
    server.say("192.0.2.7", Reply::name("host.example.org", 3600));
    let options = format!("--names={}", server.address());
    let replayed = replay(&options, &[&place.path("records.jsonl")]).clean();
    let row = row(&replayed.summary, "192.0.2.7");
    assert_eq!(row["reverse_dns"], "host.example.org");
    assert!(
        replayed.stdout.contains("host.example.org"),
        "{}",
        replayed.stdout
    );
}

/// Has it find this folder as `/etc`.
#[test]
fn maps_lists_and_samples_tell_names_too() {
    let Some(place) = Place::new() else { return };
    let server = NameServer::start(Reply::NoName);
    server.say("192.0.2.7", Reply::name("host.example.org", 3600));
    let names = format!("--names={}", server.address());
    let state = place.path("state");
    let tracer = place.trace(&format!("--state {}", state.display()));
    place.connect("192.0.2.7");
    let _ = tracer.stop();
    let shown = map(&state, &names).stdout;

    let (_listener, client, server_end) = place.namespace.run(|| {
        let listener = TcpListener::bind("192.0.2.7:0").expect("listening");
        let address = listener.local_addr().expect("its address");
        let client = TcpStream::connect(address).expect("connecting");
        let (server, _) = listener.accept().expect("accepting");
        (listener, client, server)
    });
    // The sockets hold it, and no process is in it.
    let namespace = place.namespace.path();
    let print = |line: &str| {
        let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
        command.args(line.split_whitespace());
        let output = command
            .arg(&names)
            .arg("--netns")
            .arg(&namespace)
            .output()
            .expect("running it");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {text}");
        output.stdout
    };
    let listed = print("list --format json");
    let sampled = print("--backend poll --duration 100ms --format json");
    drop((client, server_end));
    for (what, text) in [("map", shown), ("list", listed), ("poll", sampled)] {
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(text.contains("host.example.org"), "{what}: {text}");
    }
}

fn with_etc(command: &mut Command, etc: PathBuf) {
    // A VM has none.
    std::fs::create_dir_all("/etc").expect("a folder");
    let make = move || {
        // SAFETY: a process that is about to execute a program has one thread.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )?;
        mount_bind(&etc, "/etc")?;
        Ok(())
    };
    // SAFETY: only system calls are made.
    unsafe { command.pre_exec(make) };
}

#[test]
fn without_an_address_the_servers_and_hosts_of_the_system_are_asked() {
    let Some(place) = Place::new() else { return };
    let etc = place.path("etc");
    std::fs::create_dir(&etc).expect("a folder");
    std::fs::write(etc.join("hosts"), "192.0.2.7 by-hosts.example\n").expect("writing");
    let resolv = etc.join("resolv.conf");
    std::fs::write(&resolv, "search example\nnameserver 127.0.0.1\n").expect("writing");
    let socket = place.namespace.run(|| UdpSocket::bind("127.0.0.1:53"));
    let server = NameServer::start_on(socket.expect("a socket"), Reply::NoName);
    server.say("192.0.2.8", Reply::name("by-dns.example", 3600));
    let mut command = Tracer::command(&format!(
        "--quiet --names --format json --netns {}",
        place.namespace.inode()
    ));
    with_etc(&mut command, etc.clone());
    let tracer = place.namespace.run(|| Tracer::start_as(command));
    place.connect("192.0.2.7");
    place.connect("192.0.2.8");
    place.namespace.wait_for_goodbyes();
    let finished = tracer.stop().lossless();
    for (ip, name) in [
        ("192.0.2.7", "by-hosts.example"),
        ("192.0.2.8", "by-dns.example"),
    ] {
        assert_eq!(
            row(&finished.summary, ip)["reverse_dns"],
            name,
            "{}",
            finished.stderr
        );
    }
    assert_eq!(server.asked("192.0.2.7"), 0);

    std::fs::write(&resolv, "search example\n").expect("writing");
    let mut command = Tracer::command("--names --duration 1s");
    with_etc(&mut command, etc);
    let output = command.output().expect("running it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("no name server in /etc/resolv.conf"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_server_that_is_no_address_is_wrong_usage() {
    for server in ["localhost", "127.0.0.1:0", "127.0.0.1:x", "0.0.0.0"] {
        let (code, text) = run(&format!("--names={server}"));
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("--names") && text.contains(server), "{text}");
    }
}
