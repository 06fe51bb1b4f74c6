//! Traffic chosen where no hooks are: in `list`, `replay` and `--backend poll`; and what cannot be
//! chosen anywhere.

use std::process::{Command, Stdio};

use serde_json::Value;
use tests::chosen::{TRAFFIC, peers, play, staying};
use tests::compare::finals;
use tests::harness::{can_trace, program};
use tests::listing::sockets;
use tests::replay::{Folder, replay};
use tests::stage::{Stage, acts};
use tests::tracer::Tracer;

#[test]
fn recorded_and_listed_connections_are_chosen_likewise() {
    if !can_trace() {
        return;
    }
    let acts = acts(TRAFFIC);
    let mut stage = Stage::new(&acts);
    let (listens, stays) = staying(&acts);
    play(&mut stage, &listens);
    let tracer = Tracer::start(&stage.host, "");
    play(&mut stage, &stays);
    let made: u32 = peers(&acts, |_, _| true).values().sum();
    let comm = std::fs::read_to_string("/proc/self/comm").expect("a name");
    let comm = comm.trim();
    let listed = |option: &str| {
        let options = format!("--tcp-state established {option}");
        let mut peers = Vec::new();
        for socket in sockets(&stage.host, &options) {
            peers.push(socket["remote"]["ip"].as_str().expect("a peer").to_owned());
        }
        peers.sort_unstable();
        peers
    };
    let options = [
        ("--only 192.0.2.0/28".to_owned(), 3),
        (
            "--exclude 192.0.2.0/28 --exclude 2001:db8::/32".to_owned(),
            2,
        ),
        ("--local 2001:db8::1".to_owned(), 3),
        (format!("--comm {comm}"), made as usize),
        ("--comm none".to_owned(), 0),
        ("--exe choose_hookless-*".to_owned(), made as usize),
        ("--exe /bin/true".to_owned(), 0),
    ];
    let lists: Vec<_> = options.iter().map(|(option, _)| listed(option)).collect();
    let finished = tracer.stop().lossless();
    stage.close();
    let folder = Folder::new();
    let file = folder.file("records", &finished.stdout);
    for ((option, count), list) in options.iter().zip(lists) {
        assert_eq!(list.len(), *count, "{option}: {list:?}");
        let replayed = replay(option, &[&file]).clean();
        let rows = replayed.summary["peers"].as_array().expect("rows").iter();
        let connections = |row: &Value| {
            let count = |name: &str| row[name].as_u64().unwrap_or(0);
            count("accepts") + count("connects")
        };
        let total: u64 = rows.map(connections).sum();
        assert_eq!(total, *count as u64, "{option}");
    }
}

#[test]
fn polling_chooses_by_address_and_name_and_says_what_it_cannot() {
    let acts = acts(TRAFFIC);
    let mut stage = Stage::new(&acts);
    let (listens, stays) = staying(&acts);
    play(&mut stage, &listens);
    play(&mut stage, &stays);
    let made: u32 = peers(&acts, |_, _| true).values().sum();
    for (option, count) in [
        ("", made as usize),
        ("--only 192.0.2.0/28", 3),
        ("--exclude 192.0.2.0/28 --exclude 2001:db8::/32", 2),
        ("--local 2001:db8::1", 3),
        ("--comm none", 0),
        ("--exe choose_hookless-*", made as usize),
        ("--exe /bin/true", 0),
    ] {
        let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
        command
            .args(["--backend", "poll", "--format", "json"])
            .args(option.split_whitespace())
            .args(["--netns".as_ref(), stage.host.path().as_os_str()])
            .stdin(Stdio::null());
        let finished = Tracer::start_as(command).stop();
        let finals = finals(&finished);
        assert_eq!(finals.len(), count, "{option}: {}", finished.stderr);
    }
    for option in [
        "--interface lo",
        "--unit x",
        "--container 0123456789ab",
        "--cgroup /",
    ] {
        let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
        command.args(["--backend", "poll"]).args(option.split(' '));
        let output = command.output().expect("running conntracer");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{option}: {text}");
        assert!(text.contains("no route and no cgroup"), "{text}");
    }
}

#[test]
fn what_cannot_be_chosen_is_wrong_usage_with_a_cure() {
    let folder = Folder::new();
    let list = folder.file("list", "10.0.0.0/8\n10.1.1.1/8\n");
    let of_file = format!("--exclude @{}", list.display());
    for (line, words) in [
        (
            "--only 10.1.2.3/8",
            &["--only", "10.0.0.0/8", "10.1.2.3"][..],
        ),
        ("--only example.org", &["--only example.org", "192.0.2.7"]),
        ("--local 10.0.0.0/33", &["--local 10.0.0.0/33"]),
        (
            "--exclude @/no/such/file",
            &["--exclude @/no/such/file", "No such file"],
        ),
        (of_file.as_str(), &["line 2", "10.1.1.1/8"]),
        ("--comm systemd-resolved", &["systemd-resolve`", "--exe"]),
        ("--interface eth0:1", &["--interface", "ip link"]),
        ("--unit a/b", &["--unit a/b"]),
        ("--unit no-such-unit", &["--unit no-such-unit.service"]),
        ("--container web", &["--container web", "docker ps"]),
        (
            "--container ffffffffffffff",
            &["--container ffffffffffffff"],
        ),
        ("--cgroup /no/such/cgroup", &["--cgroup /no/such/cgroup"]),
        ("list --only x", &["--only x"]),
        ("replay f --comm systemd-resolved", &["systemd-resolve`"]),
        ("list --unit x", &["--unit"]),
        ("replay f --interface lo", &["--interface"]),
    ] {
        let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
        let output = command.args(line.split(' ')).output().expect("running it");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {text}");
        for word in words {
            assert!(
                text.contains(word),
                "{line} does not mention {word}: {text}"
            );
        }
    }
}
