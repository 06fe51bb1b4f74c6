//! `--backend poll`: records, tables and a map without any privileges, and what it cannot see said.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::harness::{PATIENCE, Running, copy_for_everybody, program};
use tests::listing::{Pair, listener};
use tests::mapped::{map, number};
use tests::namespace::Namespace;
use tests::replay::{Folder, replay};
use tests::tracer::{Finished, Tracer};

const RECORD: &str = include_str!("../../docs/record.schema.json");
const SUMMARY: &str = include_str!("../../docs/summary.schema.json");

/// A polling tracer of `namespace`; not by `Tracer::command`, which may name another backend.
fn poll(namespace: &Namespace, line: &str) -> Tracer {
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command.args(["--backend", "poll", "--poll-interval", "0.02", "--netns"]);
    command.arg(namespace.path());
    command.args(line.split_whitespace()).stdin(Stdio::null());
    Tracer::start_as(command)
}

/// Fits every record and the summary.
fn assert_schemas(finished: &Finished) {
    for (schema, values) in [
        (RECORD, &finished.records[..]),
        (SUMMARY, std::slice::from_ref(&finished.summary)),
    ] {
        let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
        let validator = jsonschema::validator_for(&schema).expect("a valid schema");
        for value in values {
            if let Err(error) = validator.validate(value) {
                panic!("{error}: {value}");
            }
        }
    }
}

fn relations(state: &Path) -> Value {
    let output = map(state, "--format json --view one-to-one --loopback");
    let mut map: Value = serde_json::from_slice(&output.stdout).expect("a map is JSON");
    map.as_object_mut().expect("an object").remove("time");
    map
}

/// The records of connections that are, or are not, older than the run: event, direction, tx, rx.
fn told(finished: &Finished, older: bool, direction: &str) -> Vec<(String, u64, u64)> {
    let fits = |record: &&Value| {
        record["direction"] == direction && record.get("pre_existing").is_some() == older
    };
    let bytes = |record: &Value, name: &str| record["bytes"][name].as_u64().unwrap_or(0);
    let records = finished.records.iter().filter(fits);
    records
        .map(|record| {
            let event = record["event"].as_str().expect("an event").to_owned();
            (event, bytes(record, "tx"), bytes(record, "rx"))
        })
        .collect()
}

#[test]
fn connections_are_told_as_they_are_found_and_marked_as_sampled() {
    let namespace = Namespace::new();
    let folder = Folder::new();
    let state = folder.path("map");
    let (listener, older) = namespace.run(|| {
        let listener = listener(Ipv4Addr::LOCALHOST);
        let older = Pair::new(&listener);
        (listener, older)
    });
    (&older.client).write_all(&[1; 300]).expect("sending");
    (&older.server)
        .read_exact(&mut [0; 300])
        .expect("receiving");
    let options = format!("--format json --state {}", state.display());
    let tracer = poll(&namespace, &options);
    let (young, held) = namespace.run(|| (Pair::new(&listener), Pair::new(&listener)));
    (&older.client).write_all(&[1; 7]).expect("sending");
    (&older.server).read_exact(&mut [0; 7]).expect("receiving");
    for pair in [&young, &held] {
        (&pair.client).write_all(&[1; 1000]).expect("sending");
        (&pair.server)
            .read_exact(&mut [0; 1000])
            .expect("receiving");
        (&pair.server).write_all(&[1; 20]).expect("sending");
        (&pair.client).read_exact(&mut [0; 20]).expect("receiving");
    }
    // The last look is at the end, so this holds however few looks there were.
    let live = tracer.stop();
    assert_eq!(live.status.code(), Some(0), "{}", live.stderr);
    drop((young, held, older));
    assert_schemas(&live);
    assert!(live.records.iter().all(|record| record["sampled"] == true));

    for (direction, begun, tx, rx) in [
        ("inbound", "accept", 20, 1000),
        ("outbound", "established", 1000, 20),
    ] {
        let records = told(&live, false, direction);
        let number = |event: &str| records.iter().filter(|it| it.0 == event).count();
        assert_eq!(
            (number(begun), number("open_at_exit")),
            (2, 2),
            "{records:?}"
        );
        let sum = |event: &str| {
            let of = records.iter().filter(|it| it.0 == event);
            of.fold((0, 0), |sum, it| (sum.0 + it.1, sum.1 + it.2))
        };
        assert_eq!(sum("open_at_exit"), (2 * tx, 2 * rx), "{records:?}");
        // Traffic of who reads the output, as we do, is not told while it goes on.
    }
    let records = told(&live, true, "outbound");
    assert_eq!(records.first().map(|it| &*it.0), Some("established"));
    assert_eq!(records.last(), Some(&("open_at_exit".to_owned(), 7, 0)));
    let last = live.events("open_at_exit");
    let last = last
        .iter()
        .find(|it| it["pre_existing"] == true && it["direction"] == "outbound");
    assert_eq!(last.expect("the older one")["bytes"]["before_tx"], 300);

    // The tables.
    let total = &live.summary["total"];
    let counts = [
        "accepts",
        "connects",
        "pre_existing",
        "open",
        "failures",
        "unaccepted",
    ];
    let counts = counts.map(|name| number(&total[name]));
    assert_eq!(counts, [2, 2, 2, 6, 0, 0], "{total}");
    assert_eq!(number(&total["tx"]), 2 * 1020 + 7);
    let processes = live.summary["processes"].as_array().expect("rows");
    assert_eq!(processes.len(), 1, "{processes:?}");
    assert_eq!(processes[0]["pid"], std::process::id());
    assert_eq!(processes[0]["tx"], total["tx"]);

    // What it cannot know, it says.
    assert_eq!(live.summary["backend"], "poll");
    assert!(live.summary.get("loss").is_none(), "{}", live.summary);
    assert!(number(&live.summary["sampled"]["rounds"]) >= 2);
    for words in [
        "ready: backend poll, sampled",
        "does not see connections shorter than 20ms",
        "failed attempts",
        "loss: unknown, sampled",
    ] {
        let told = live.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!live.stderr.contains("loss: none"), "{}", live.stderr);

    // The map, and the one that a replay makes.
    let expected = relations(&state);
    assert_eq!(number(&expected["total"]["connections"]), 4, "{expected}");
    assert_eq!(number(&expected["total"]["older"]), 2, "{expected}");
    assert_eq!(expected["total"]["tx"], total["tx"]);
    let rows = expected["relations"].as_array().expect("relations");
    assert!(
        rows.iter().all(|row| row["source"] == "sampled"),
        "{expected}"
    );
    let again = folder.path("again");
    let records = folder.file("r.jsonl", &live.stdout);
    let words = format!("--state {}", again.display());
    let replayed = replay(&words, &[&records]).clean();
    assert_eq!(replayed.summary["total"], live.summary["total"]);
    assert_eq!(relations(&again), expected);
}

#[test]
fn a_short_connection_is_found_while_the_kernel_remembers_it() {
    let namespace = Namespace::new();
    let tracer = poll(&namespace, "--quiet");
    let listener = namespace.run(|| listener(Ipv4Addr::LOCALHOST));
    let pair = namespace.run(|| Pair::new(&listener));
    // The client's end goes to TIME_WAIT.
    pair.client_says_goodbye();
    drop(pair.server);
    drop(pair.client);
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let total = &finished.summary["total"];
    assert_eq!(number(&total["connects"]), 1, "{total}");
    assert_eq!(number(&total["open"]), 0, "{total}");
}

#[test]
fn nobody_needs_rights_for_it_and_auto_names_it_to_those_without() {
    let namespace = Namespace::new();
    let (_folder, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let listener = namespace.run(|| listener(Ipv4Addr::LOCALHOST));
    let _pair = namespace.run(|| Pair::new(&listener));
    let run = |line: &str| {
        let mut command = Command::new(&copy);
        command.args(line.split_whitespace()).stdin(Stdio::null());
        command.uid(65_534).gid(65_534);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = namespace.run(|| Running::start(&mut command));
        let status = running
            .wait()
            .unwrap_or_else(|| panic!("it hangs for {PATIENCE:?}"));
        let mut texts = [String::new(), String::new()];
        let child = running.child();
        let (stdout, stderr) = (child.stdout.as_mut(), child.stderr.as_mut());
        stdout
            .expect("a pipe")
            .read_to_string(&mut texts[0])
            .expect("its output");
        stderr
            .expect("a pipe")
            .read_to_string(&mut texts[1])
            .expect("its talk");
        let [stdout, stderr] = texts;
        assert!(!stderr.contains("panicked"), "{stderr}");
        (status.code(), stdout, stderr)
    };
    let (code, stdout, stderr) = run("--backend poll --netns self --duration 0.1 --format live");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("the processes of"), "{stderr}");
    let port = listener
        .local_addr()
        .expect("an address")
        .port()
        .to_string();
    assert!(
        stdout.contains(&port) && stdout.contains("loss: unknown"),
        "{stdout}"
    );
    let (code, _, stderr) = run("--duration 0.1");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("`--backend poll`"), "{stderr}");
    // Never by itself.
    assert!(!stderr.contains("ready"), "{stderr}");
    let (code, _, stderr) = run("--backend poll --netns 1 --duration 0.1");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("network namespace"), "{stderr}");
}

#[test]
fn what_sampling_cannot_give_is_wrong_usage() {
    for line in [
        "--backend poll --strict",
        "--backend poll --events io",
        "--backend poll --accept-hooks on",
        "--backend poll --poll-interval 0",
        "--backend poll --poll-interval x",
        "--poll-interval 1",
        "--backend tracepoint --poll-interval 1",
    ] {
        let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
        command.args(line.split_whitespace());
        let output = command.output().expect("running conntracer");
        assert_eq!(output.status.code(), Some(2), "{line}");
    }
}
