//! The access map on real traffic: kept over runs and kills, shown while it grows.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tests::generator::Workload;
use tests::harness::{PATIENCE, Running, can_trace, copy_for_everybody, program};
use tests::namespace::Namespace;
use tests::tracer::{Tracer, run};

const SCHEMA: &str = include_str!("../../docs/map.schema.json");
/// A save every so often, for tests that wait for one.
const OFTEN: &str = "--save-every 50ms";

/// A namespace, and a folder with a map that is to be made.
struct Place {
    namespace: Namespace,
    folder: TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        can_trace().then(|| Self {
            namespace: Namespace::new(),
            folder: TempDir::new().expect("a temporary directory"),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }

    fn trace(&self, line: &str) -> Tracer {
        let state = self.state();
        Tracer::start(
            &self.namespace,
            &format!("--quiet --state {} {line}", state.display()),
        )
    }

    fn json(&self, line: &str) -> Value {
        let text = self.show(&format!("--format json --loopback {line}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn show(&self, line: &str) -> String {
        let output = map(&self.state(), line);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {talk}");
        String::from_utf8(output.stdout).expect("a map is UTF-8")
    }

    /// Reads the map, as it grows, until it fits.
    fn wait_for(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let map = self.json("");
            if fits(&map) {
                return map;
            }
            assert!(since.elapsed() < PATIENCE, "not in the map: {map}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn map_command(state: &Path, line: &str) -> Command {
    // `--backend` is an option of the trace only.
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command.arg("map").arg("--state").arg(state);
    command.args(line.split_whitespace()).stdin(Stdio::null());
    command
}

fn map(state: &Path, line: &str) -> Output {
    let output = map_command(state, line)
        .output()
        .expect("running conntracer");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(!talk.contains("panicked"), "{talk}");
    output
}

/// With SIGKILL, and waits until it is gone.
fn kill(tracer: Tracer) {
    drop(tracer);
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// Connections and bytes of all relations of one direction.
fn sums(map: &Value, direction: &str) -> [u64; 4] {
    let rows = map["services"].as_array().expect("services");
    let of = rows.iter().filter(|row| row["direction"] == direction);
    of.fold([0; 4], |[connections, older, tx, rx], row| {
        [
            connections + number(&row["connections"]),
            older + number(&row["older"]),
            tx + number(&row["tx"]),
            rx + number(&row["rx"]),
        ]
    })
}

#[test]
fn runs_add_up_in_a_map_that_equals_the_truth() {
    let Some(place) = Place::new() else { return };
    let mut expected = [[0; 4]; 2];
    for connections in [7, 5] {
        let tracer = place.trace("");
        let truth = Workload::run(
            &place.namespace,
            &format!("echo --connections {connections} --bytes 3000"),
        );
        let _ = tracer.stop().lossless();
        for (sums, ends) in expected.iter_mut().zip([&truth.servers, &truth.clients]) {
            for end in ends {
                sums[0] += 1;
                sums[2] += end.tx;
                sums[3] += end.rx;
            }
        }
    }
    let map = place.json("");
    assert_eq!(sums(&map, "inbound"), expected[0]);
    assert_eq!(sums(&map, "outbound"), expected[1]);
    let services = map["services"].as_array().expect("services");
    assert_eq!(services.len(), 2, "{map}");
    for service in services {
        assert_eq!(service["service"]["port"], 7007);
        assert_eq!(service["users"], 1);
        assert_eq!(service["members"][0]["processes"][0], "workload");
    }
    assert_eq!(services[0]["members"][0]["peer"], "127.0.0.1");
}

#[test]
fn a_killed_tracer_leaves_what_it_saved_last() {
    let Some(place) = Place::new() else { return };
    let tracer = place.trace(OFTEN);
    let truth = Workload::run(&place.namespace, "echo --connections 9 --bytes 100");
    let tx = truth.bytes().0;
    // While the tracer writes.
    let map = place.wait_for(|map| number(&map["total"]["tx"]) == tx);
    assert_eq!(number(&map["total"]["connections"]), 18);
    kill(tracer);
    assert_eq!(place.json("")["total"], map["total"]);
    // The next one goes on from there.
    let tracer = place.trace("");
    Workload::run(&place.namespace, "echo --connections 1 --bytes 100");
    let _ = tracer.stop().lossless();
    assert_eq!(number(&place.json("")["total"]["connections"]), 20);
}

#[test]
fn nothing_that_was_once_shown_is_lost_by_a_kill() {
    let Some(place) = Place::new() else { return };
    let mut shown = 0;
    for round in 0..5_u64 {
        let tracer = place.trace("--save-every 5ms");
        let workload = Workload::start(&place.namespace, "churn --connections 600");
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(60 * round) {
            let now = number(&place.json("")["total"]["connections"]);
            assert!(now >= shown, "{now} after {shown}");
            shown = now;
        }
        kill(tracer);
        let kept = number(&place.json("")["total"]["connections"]);
        assert!(kept >= shown, "{kept} of {shown}");
        shown = kept;
        workload.finish();
    }
}

#[test]
fn connections_are_in_the_map_before_they_end_and_older_ones_count_apart() {
    let Some(place) = Place::new() else { return };
    let mut held = Workload::start(&place.namespace, "hold --connections 4");
    held.ready();
    let tracer = place.trace(OFTEN);
    let mut young = Workload::start(&place.namespace, "hold --connections 3");
    young.ready();
    place.wait_for(|map| number(&map["total"]["connections"]) == 6);
    let _ = tracer.stop().lossless();
    let map = place.json("");
    assert_eq!(number(&map["total"]["connections"]), 6);
    assert_eq!(number(&map["total"]["older"]), 8);
    // Another run counts all of them as older, and none anew.
    let _ = place.trace("").stop().lossless();
    assert_eq!(number(&place.json("")["total"]["connections"]), 6);
    held.finish();
    young.finish();
}

#[test]
fn what_nobody_accepted_is_not_in_the_map_and_failures_are() {
    let Some(place) = Place::new() else { return };
    let tracer = place.trace("");
    let refused = Workload::run(&place.namespace, "refused");
    let never = Workload::run(&place.namespace, "never-accepted");
    let _ = tracer.stop().lossless();
    let map = place.json("");
    assert_eq!(sums(&map, "inbound"), [0; 4]);
    let clients = never.clients.len() as u64;
    assert_eq!(sums(&map, "outbound")[0], clients);
    assert_eq!(
        number(&map["total"]["failures"]),
        refused.failed.len() as u64
    );
}

/// Traffic between two namespaces, of which one is traced, and one connection over loopback.
fn linked() -> Option<Place> {
    let place = Place::new()?;
    let other = Namespace::new();
    let (address, other_address) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    place.namespace.link(address, &other, other_address);
    let tracer = place.trace("");
    Workload::run(&place.namespace, "echo --connections 2");
    let listener = place
        .namespace
        .run(|| std::net::TcpListener::bind((address, 8080)));
    let listener = listener.expect("a listener");
    let client = other.run(|| std::net::TcpStream::connect((address, 8080)));
    let (server, _) = listener.accept().expect("a connection");
    drop((client, server));
    let _ = tracer.stop().lossless();
    Some(place)
}

#[test]
fn every_format_shows_it_without_loopback() {
    let Some(place) = linked() else { return };
    assert_eq!(place.show("--format list"), "192.0.2.2\n");
    assert_eq!(place.show("--format ip-json"), "[\"192.0.2.2\"]\n");
    assert_eq!(
        place.show("--format list --loopback"),
        "127.0.0.1\n192.0.2.2\n"
    );
    assert_eq!(place.show("--format list --direction outbound"), "");
    assert_eq!(place.show("--format list --port 7007"), "");
    assert_eq!(place.show("--format list --port 8080"), "192.0.2.2\n");
    assert_eq!(place.show("--format list --since 9999h"), "192.0.2.2\n");
    assert_eq!(place.show("--format list --since 2200-01-01"), "");
    let table = place.show("");
    assert!(
        table.contains("192.0.2.1:8080 inbound: 1 peer, 1 connection\n"),
        "{table}"
    );
    assert!(table.contains("loopback: 2 relations left out"), "{table}");
    for (line, word) in [
        ("--view one-to-one", "192.0.2.1:8080  192.0.2.2  map"),
        ("--format csv", ",inbound,192.0.2.1,8080,192.0.2.2,map"),
        ("--format csv --view one-to-one", ",traced,"),
        ("--format dot", "[label=\"192.0.2.2\"];\n"),
        ("--format mermaid", "[\"192.0.2.2\"]\n"),
    ] {
        let text = place.show(line);
        assert!(text.contains(word), "{line}: {text}");
        assert!(!text.contains("127.0.0.1"), "{line}: {text}");
    }
}

/// The schema with every object closed.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(object) => {
            if object.contains_key("properties") {
                object.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            for value in object.values_mut() {
                *value = closed(value.take());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = closed(value.take());
            }
        }
        _ => {}
    }
    schema
}

#[test]
fn json_fits_the_schema() {
    let Some(place) = linked() else { return };
    import(&place, "[\"198.51.100.7\"]", 0);
    let schema = closed(serde_json::from_str(SCHEMA).expect("the schema is JSON"));
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    for view in ["one-to-many", "one-to-one"] {
        let map = place.json(&format!("--view {view}"));
        if let Err(error) = validator.validate(&map) {
            panic!("{error}: {map}");
        }
        let rows = map["services"].as_array().or(map["relations"].as_array());
        assert_eq!(rows.map(Vec::len), Some(4), "{map}");
    }
}

#[test]
fn a_second_writer_is_refused_and_the_first_goes_on() {
    let Some(place) = Place::new() else { return };
    let tracer = place.trace("");
    let line = format!("--quiet --duration 1s --state {}", place.state().display());
    let (code, text) = run(&line);
    assert_eq!(code, Some(1), "{text}");
    let holder = format!("is being written by process {}", tracer.pid());
    assert!(text.contains(&holder), "{text}");
    import(&place, "192.0.2.9\n", 1);
    Workload::run(&place.namespace, "echo --connections 2");
    let _ = tracer.stop().lossless();
    assert_eq!(number(&place.json("")["total"]["connections"]), 4);
}

/// Imports `text`; returns what was said.
fn import(place: &Place, text: &str, code: i32) -> String {
    let file = place.path("import");
    std::fs::write(&file, text).expect("writing a list");
    let output = map(&place.state(), &format!("--import {}", file.display()));
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{talk}");
    talk
}

#[test]
fn lists_are_imported_as_a_whole_or_not_at_all() {
    let Some(place) = Place::new() else { return };
    let talk = import(&place, "[\"10.0.0.9\", \"10.0.0.10\", \"2001:db8::1\"]", 0);
    assert!(
        talk.contains("imported 3 addresses, 3 of them new"),
        "{talk}"
    );
    let talk = import(&place, "10.0.0.9\n9.0.0.1\n", 0);
    assert!(
        talk.contains("imported 2 addresses, 1 of them new"),
        "{talk}"
    );
    let list = place.show("--format list");
    assert_eq!(list, "9.0.0.1\n10.0.0.9\n10.0.0.10\n2001:db8::1\n");
    let before = std::fs::read(place.state()).expect("the map");
    for (text, word) in [
        ("[\"10.0.0.77\", 5]", "item 2: 5 is not an IP address"),
        ("10.0.0.77\n\x1b[31mweb\n", r"line 2: \x1b[31mweb"),
        ("[\"10.0.0.77\"", "not a JSON array"),
        ("", "no address"),
    ] {
        let talk = import(&place, text, 1);
        assert!(
            talk.contains(word) && talk.contains("nothing was imported"),
            "{talk}"
        );
    }
    assert!(before == std::fs::read(place.state()).expect("the map"));
    // What it printed it takes.
    assert!(import(&place, &place.show("--format ip-json"), 0).contains("0 of them new"));
    let table = place.show("");
    assert!(table.contains("imported: 4 peers\n"), "{table}");
    // Nothing is made for a list that is wrong.
    let missing = place.path("missing");
    let output = map(
        &missing,
        &format!("--import {}", place.path("none").display()),
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(!missing.exists());
}

#[test]
fn reports_are_replaced_or_added_to_while_it_runs() {
    let Some(place) = Place::new() else { return };
    let report = place.path("report.txt");
    for (option, is_dated) in [("--report", false), ("--report-append", true)] {
        let line = format!(
            "{option} {} --every 20ms --report-loopback",
            report.display()
        );
        // Without --state: the map of this run only.
        let tracer = Tracer::start(&place.namespace, &format!("--quiet {line}"));
        Workload::run(&place.namespace, "echo --connections 3");
        let since = Instant::now();
        let shows = |text: &str| text.contains("127.0.0.1:7007 inbound: 1 peer, 3 connections\n");
        while !shows(&std::fs::read_to_string(&report).expect("a report")) {
            assert!(since.elapsed() < PATIENCE, "no report");
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = tracer.stop().lossless();
        let text = std::fs::read_to_string(&report).expect("a report");
        assert!(shows(&text), "{text}");
        let sections = text.lines().filter(|line| line.starts_with("# 20")).count();
        assert_eq!(sections > 2, is_dated, "{text}");
        let mut names: Vec<_> = std::fs::read_dir(place.folder.path())
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.retain(|name| name != "report.txt");
        assert!(names.is_empty(), "{names:?}");
        std::fs::remove_file(&report).expect("removing the report");
    }
}

#[test]
fn what_cannot_be_a_map_ends_the_run_before_it_starts_and_is_left_alone() {
    let Some(place) = Place::new() else { return };
    let file = place.path("notes.txt");
    std::fs::write(&file, "not yours\n").expect("a file");
    let link = place.path("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    for path in [
        &file,
        &link,
        &place.path("no/such/folder"),
        &place.path("."),
    ] {
        let line = format!("--duration 1s --state {}", path.display());
        let (code, text) = run(&line);
        assert_eq!(code, Some(1), "{line}: {text}");
        assert!(!text.contains("ready"), "{text}");
        let output = map(path, "");
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    for path in [&link, &place.path("no/such/folder"), &place.path(".")] {
        for option in ["--report", "--report-append"] {
            let line = format!("--duration 1s {option} {}", path.display());
            let (code, text) = run(&line);
            assert_eq!(code, Some(1), "{line}: {text}");
            assert!(!text.contains("ready"), "{text}");
        }
    }
    assert_eq!(std::fs::read(&file).expect("the file"), b"not yours\n");
    let names = std::fs::read_dir(place.folder.path()).expect("the folder");
    assert_eq!(names.count(), 2, "nothing else was made");
}

#[test]
fn a_full_disk_is_said_once_and_makes_the_run_fail() {
    let Some(place) = Place::new() else { return };
    let disk = place.path("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let tracer = Tracer::command("");
    // Only its own mount namespace has that disk.
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=200k none \"$0\" && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(&disk);
    command.arg(tracer.get_program()).args(tracer.get_args());
    command.args(["--quiet", "--format", "json", "--save-every", "20ms"]);
    command.arg("--netns").arg(place.namespace.inode());
    command
        .arg("--state")
        .arg(disk.join("map"))
        .stdin(Stdio::null());
    let tracer = Tracer::start_as(command);
    let filler = format!("/proc/{}/root{}/filler", tracer.pid(), disk.display());
    // Takes what is left.
    let _ = std::fs::write(&filler, vec![1; 1 << 20]);
    Workload::run(&place.namespace, "churn --connections 600");
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    let said = finished
        .stderr
        .matches("the disk is full; the map is kept")
        .count();
    assert_eq!(said, 1, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("error: --state: "),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let Some(place) = Place::new() else { return };
    let addresses: Vec<_> = (0..60_000_u32)
        .map(|number| std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).to_string())
        .collect();
    import(&place, &addresses.join("\n"), 0);
    let mut command = map_command(&place.state(), "--format list");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    drop(running.child().stdout.take());
    let status = running.wait().expect("it hangs");
    let mut talk = String::new();
    let stderr = running.child().stderr.as_mut().expect("a pipe");
    std::io::Read::read_to_string(stderr, &mut talk).expect("what it said");
    assert_eq!((status.code(), talk.as_str()), (Some(0), ""));
}

#[test]
fn a_map_where_nothing_can_be_written_is_read_and_not_written() {
    let Some(place) = Place::new() else { return };
    import(&place, "10.0.0.9\n", 0);
    let (folder, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let state = folder.path().join("state");
    std::fs::copy(place.state(), &state).expect("copying the map");
    let everybody = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&state, everybody).expect("chmod");
    let map = |state: &Path, line: &str| {
        let mut command = Command::new(&copy);
        command.arg("map").arg("--state").arg(state);
        command
            .args(line.split_whitespace())
            .uid(65_534)
            .gid(65_534);
        let output = command.output().expect("running conntracer");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        (output.status.code(), stdout, stderr)
    };
    let (code, stdout, stderr) = map(&state, "--format list");
    assert_eq!((code, &*stdout), (Some(0), "10.0.0.9\n"), "{stderr}");
    let list = folder.path().join("list");
    std::fs::write(&list, "10.0.0.10\n").expect("a list");
    let (code, _, stderr) = map(&state, &format!("--import {}", list.display()));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no permission for"), "{stderr}");
    let (code, _, stderr) = map(&place.state(), "");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("no permission for"), "{stderr}");
}
