//! `--interval`: what happened within each stretch of time adds up to the summary, exactly.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::cgroups::Cgroup;
use tests::compare::number;
use tests::generator::Workload;
use tests::harness::{can_trace, copy_for_everybody, program};
use tests::intervals::{
    ALL, COLUMNS, assert_adds_up, assert_summary, assert_wire_at_ends, columns, intervals, lines,
    of_summary, sums, wait_for_bytes,
};
use tests::listing::{Pair, listener};
use tests::mmdb::Mmdb;
use tests::namespace::Namespace;
use tests::peering::Place;
use tests::replay::{Folder, replay};
use tests::tracer::{Finished, Tracer};

/// The tables that a summary has, too.
const TABLES: [&str; 3] = ["port", "process", "peer"];

/// Every table, with a database for those of countries and networks.
fn all(folder: &Folder) -> [String; 4] {
    let path = folder.path("networks.mmdb");
    let entry = json!({"country_code": "NZ", "asn": "AS64500", "as_name": "Example"});
    Mmdb::new("Test-Flat")
        .with("127.0.0.0/8", &entry)
        .write(&path);
    let path = path.display().to_string();
    ["--by".into(), ALL.join(","), "--geoip".into(), path]
}

/// Traffic of every kind, with an interval's end in between: connections that last, older ones,
/// failed ones, shared ones. Returns the records and what the tracer left.
fn traced(options: &str) -> Option<(Vec<Value>, Finished)> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let folder = Folder::new();
    let path = folder.path("c.jsonl");
    let mut older = Workload::start(&namespace, "older --connections 5");
    older.ready();
    let all = all(&folder).join(" ");
    let output = path.display();
    let options = format!("--interval 1s {all} --output {output} {options}");
    let tracer = Tracer::start(&namespace, &options);
    let mut held = Workload::start(&namespace, "hold --connections 3");
    held.ready();
    // What is open has moved bytes in an interval that is over before anything of it ends.
    wait_for_bytes(&path, 1);
    for scenario in [
        "fork-after-accept",
        "worker-io",
        "refused",
        "never-accepted",
        "churn --connections 300",
    ] {
        Workload::run(&namespace, scenario);
    }
    older.go();
    older.finish();
    let finished = tracer.stop();
    held.finish();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    Some((lines(&path), finished))
}

fn folded(finished: &Finished) -> u64 {
    number(&finished.summary["loss"]["folded_connections"])
}

#[test]
fn intervals_add_up_to_the_summary_whatever_is_counted_and_how() {
    for options in [
        "",
        "--quiet",
        "--accounting socket",
        "--ring-size 4096",
        "--max-connections 20",
        "--accept-hooks off",
        "--wire",
        "--wire --max-connections 20",
    ] {
        let Some((records, finished)) = traced(options) else {
            return;
        };
        // Nothing else was asked for.
        assert_eq!(intervals(&records).len(), records.len(), "{options}");
        let (total, count) = assert_adds_up(&records, &ALL, true);
        assert!(count >= 2, "{options}: {count} intervals");
        assert_eq!(total, columns(&finished.summary["total"]), "{options}");
        // Of connections that are kept as sums only, the summary does not know the peer.
        let tables = if folded(&finished) == 0 {
            &TABLES[..]
        } else {
            &TABLES[..1]
        };
        assert_summary(&records, &finished.summary, tables);
        // Those that last are in an early one, with what they had moved by then.
        let first = records
            .iter()
            .find(|line| line["by"] == "total" && number(&line["tx"]) > 0);
        let first = columns(first.expect("bytes"));
        assert!(first[5] < total[5], "{options}: {first:?} of {total:?}");
        let has_wire = options.contains("--wire");
        let has_field = records.iter().any(|line| line.get("wire").is_some());
        assert_eq!(has_field, has_wire, "{options}");
        let mut wire = total[COLUMNS.len()..].iter();
        assert!(
            wire.all(|sum| (*sum > 0) == has_wire),
            "{options}: {total:?}"
        );
        if options.is_empty() {
            let at_least = [300, 300, 1, 1, 1, 1, 1];
            let is_so = total.iter().zip(at_least).all(|(sum, least)| *sum >= least);
            assert!(is_so, "{total:?}");
        }
        for (index, record) in records.iter().enumerate() {
            assert_eq!(number(&record["seq"]), index as u64 + 1, "{options}");
        }
    }
}

#[test]
fn every_table_has_its_rows() {
    let Some((records, finished)) = traced("") else {
        return;
    };
    let netns = sums(&records, "netns");
    assert_eq!(netns.len(), 1, "{netns:?}");
    let classes = sums(&records, "class");
    assert_eq!(
        classes.keys().map(String::as_str).collect::<Vec<_>>(),
        ["\"loopback\""]
    );
    for (by, field, value) in [
        ("country", "country", json!("NZ")),
        ("asn", "asn", json!(64_500)),
        ("asn", "organization", json!("Example")),
    ] {
        let mut rows = records.iter().filter(|line| line["by"] == by);
        let known = rows.find(|line| number(&line["tx"]) > 0);
        assert_eq!(known.expect("a row")[field], value, "{by}");
    }
    let users: u64 = sums(&records, "user").values().map(|row| row[5]).sum();
    assert_eq!(users, number(&finished.summary["total"]["tx"]));
    let is_known = |line: &&Value| line["by"] == "container" && line.get("cgroup").is_some();
    assert!(records.iter().any(|line| is_known(&line)));
    let mut names = records.iter().filter(|line| line["by"] == "process");
    assert!(names.any(|line| line["name"] == "workload"), "{records:?}");
}

#[test]
fn with_few_rows_every_interval_has_the_rest_in_one() {
    let Some((records, finished)) = traced("--max-rows 2 --top 1") else {
        return;
    };
    let (total, _) = assert_adds_up(&records, &ALL, true);
    assert_eq!(total, columns(&finished.summary["total"]));
    for field in ["other_rows", "most_missing", "more_rows"] {
        assert!(
            records.iter().any(|line| line.get(field).is_some()),
            "no line has {field}"
        );
    }
    let mut rows = 0;
    for line in &records {
        let is_row = ["other_rows", "more_rows"]
            .iter()
            .all(|it| line.get(it).is_none());
        rows = match (line["by"].as_str(), is_row) {
            (Some("process"), true) => rows + 1,
            (Some("process"), false) => rows,
            _ => 0,
        };
        assert!(rows <= 1, "{line}");
    }
}

#[test]
fn records_of_connections_come_beside_intervals_if_asked_for() {
    for (events, has_traffic) in [("lifecycle", false), ("traffic --wire", true)] {
        let Some((records, finished)) = traced(&format!("--events {events}")) else {
            return;
        };
        let rows = intervals(&records);
        assert!(rows.len() < records.len());
        let of = |event: &str| records.iter().filter(|it| it["event"] == event).count();
        assert_eq!(of("traffic") > 0, has_traffic, "{events}");
        assert!(of("accept") >= 300 && of("close") >= 600);
        assert_adds_up(&rows, &ALL, true);
        assert_summary(&rows, &finished.summary, &TABLES);
        assert_wire_at_ends(&records);
        let seq: Vec<_> = records.iter().map(|it| number(&it["seq"])).collect();
        assert!(seq.windows(2).all(|two| two[1] == two[0] + 1));
    }
}

#[test]
fn a_replay_leaves_rows_of_intervals_out_and_makes_its_own() {
    let Some((records, finished)) = traced("--events traffic --wire") else {
        return;
    };
    let folder = Folder::new();
    let text: Vec<_> = records.iter().map(Value::to_string).collect();
    let text = text.join("\n");
    let file = folder.file("c.jsonl", text);
    let all = all(&folder).join(" ");
    let options = format!("--interval 1s {all} --format json");
    let replayed = replay(&options, &[&file]).clean();
    assert_eq!(
        replayed.count("intervals"),
        intervals(&records).len() as u64
    );
    assert!(
        replayed.stderr.contains("intervals: "),
        "{}",
        replayed.stderr
    );
    let rows = tests::tracer::parse_lines(replayed.stdout.as_bytes());
    let (total, count) = assert_adds_up(&rows, &ALL, false);
    assert!(count >= 2, "{count} intervals");
    assert_eq!(total, columns(&finished.summary["total"]));
    assert_summary(&rows, &replayed.summary, &TABLES);
    for by in TABLES {
        let live = of_summary(&finished.summary, by);
        assert_eq!(sums(&rows, by), live, "by {by}");
    }
    let shown = replay("--interval 1h --top 1", &[&file]).clean();
    // A head of the summary's tables has OPEN.
    let is_head = |line: &str| line.contains("CONNECTS") && !line.contains("OPEN");
    let mut heads = shown.stdout.lines().filter(|line| is_head(line));
    let first = heads.next().expect("a head");
    assert!(first.contains("~WIRE BYTES IN"), "{first}");
    for word in [" s)\n", "CONN/S", " more)", "total", "replayed:"] {
        assert!(shown.stdout.contains(word), "no {word}: {}", shown.stdout);
    }
}

#[test]
fn without_json_tables_come_while_it_runs() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    for (options, has_lines) in [
        ("", false),
        ("--quiet", false),
        ("--events lifecycle", true),
    ] {
        let line = format!(
            "--netns {} --interval 1s --by peer {options}",
            namespace.inode()
        );
        let (tracer, mut stdout) = Tracer::start_with_pipe(Tracer::command(&line));
        let mut held = Workload::start(&namespace, "hold --connections 3");
        held.ready();
        let mut text = String::new();
        while !text.contains("127.0.0.1") {
            let mut buffer = [0; 4096];
            let length = stdout.read(&mut buffer).expect("reading tables");
            assert!(length > 0, "{options}: it ended without a table: {text}");
            text += &String::from_utf8_lossy(&buffer[..length]);
        }
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).expect("reading the rest");
            rest
        });
        let finished = tracer.stop();
        held.finish();
        let rest = rest.join().expect("a reading thread");
        assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
        let text = text + &rest;
        assert_eq!(text.contains("EVENT"), has_lines, "{options}: {text}");
        assert_eq!(text.contains(" accept "), has_lines, "{options}: {text}");
        for word in ["PEER", "CONN/S", "TX/S", "total", "PID", "backend: "] {
            assert!(text.contains(word), "no {word}: {text}");
        }
    }
}

#[test]
fn sampling_has_intervals_too() {
    let namespace = Namespace::new();
    let folder = Folder::new();
    let path = folder.path("c.jsonl");
    let (listener, older) = namespace.run(|| {
        let listener = listener(Ipv4Addr::LOCALHOST);
        let older = Pair::new(&listener);
        (listener, older)
    });
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command
        .args([
            "--backend",
            "poll",
            "--poll-interval",
            "0.02",
            "--interval",
            "1s",
        ])
        .args(all(&folder))
        .args(["--format", "json", "--output"])
        .arg(&path)
        .arg("--netns")
        .arg(namespace.path())
        .stdin(Stdio::null());
    let tracer = Tracer::start_as(command);
    let newer = namespace.run(|| Pair::new(&listener));
    for pair in [&older, &newer] {
        (&pair.client).write_all(&[1; 300]).expect("sending");
        (&pair.server).read_exact(&mut [0; 300]).expect("receiving");
    }
    wait_for_bytes(&path, 600);
    drop(newer);
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let records = lines(&path);
    let (total, count) = assert_adds_up(&records, &ALL, true);
    assert!(count >= 2, "{count} intervals");
    assert_eq!(total[4..], [2, 600, 600, 0, 0, 0, 0]);
    assert_summary(&records, &finished.summary, &TABLES);
}

#[test]
fn each_row_is_of_its_user_container_place_and_namespace() {
    const USER: u32 = 65_534;
    let Some(place) = Place::new() else { return };
    let (other, cgroup) = (Namespace::new(), Cgroup::new());
    let container = format!("{:064x}", std::process::id());
    let scope = format!("docker-{container}.scope");
    cgroup.make(&scope);
    let network = |country: &str, asn: &str| json!({"country_code": country, "asn": asn});
    let database = place.path("networks.mmdb");
    Mmdb::new("Test-Flat")
        .with("192.0.2.0/24", &network("NZ", "AS64500"))
        .with("192.0.2.128/25", &network("AU", "AS64501"))
        .write(&database);
    let everywhere = format!("--netns {} --geoip {}", other.inode(), database.display());
    // The tracer finds a namespace by a process in it.
    let mut inside = Workload::start(&other, "churn --connections 24 --gate");
    let truth = inside.ready();
    for pid in truth.pids("server").into_iter().chain(truth.pids("client")) {
        cgroup.take(&scope, pid);
    }
    let path = place.path("intervals.jsonl");
    let by = "--by user,container,country,asn,class,netns";
    let options = format!(
        "{everywhere} {by} --interval 1h --output {}",
        path.display()
    );
    let witness = place.trace(&everywhere);
    let tracer = Tracer::start(&place.namespace, &options);
    for ip in ["192.0.2.7", "192.0.2.7", "192.0.2.200", "127.0.0.1"] {
        place.connect(ip);
    }
    inside.go();
    inside.finish();
    let (_folder, workload) = copy_for_everybody("CONNTRACER_WORKLOAD", "workload");
    let mut command = Command::new(workload);
    command.args(["churn", "--connections", "12"]).uid(USER);
    let output = other.run(|| command.output()).expect("running it");
    assert!(output.status.success(), "{output:?}");
    other.wait_for_goodbyes();
    let (records, finished) = witness.stop();
    let _ = finished.lossless();
    let _ = tracer.stop().lossless();
    let told_lines = lines(&path);

    let ends = ["close", "open_at_exit", "failed"];
    let is_end = |record: &&Value| ends.iter().any(|end| record["event"] == *end);
    let finals: Vec<_> = records.iter().filter(is_end).collect();
    for (by, column, of) in [
        ("user", "uid", "/process/uid"),
        ("container", "container", "/process/container/id"),
        ("country", "country", "/peer/country"),
        ("asn", "asn", "/peer/asn"),
        ("netns", "netns", "/netns"),
    ] {
        let mut expected: BTreeMap<String, [u64; 3]> = BTreeMap::new();
        for record in &finals {
            let key = record.pointer(of).unwrap_or(&Value::Null).to_string();
            let bytes = ["tx", "rx"].map(|way| number(&record["bytes"][way]));
            let row = expected.entry(key).or_default();
            *row = [row[0] + 1, row[1] + bytes[0], row[2] + bytes[1]];
        }
        let mut told: BTreeMap<String, [u64; 3]> = BTreeMap::new();
        for line in told_lines.iter().filter(|line| line["by"] == by) {
            let row = told.entry(line[column].to_string()).or_default();
            let count = |name: &str| number(&line[name]);
            let connections = count("accepts") + count("connects");
            *row = [
                row[0] + connections,
                row[1] + count("tx"),
                row[2] + count("rx"),
            ];
        }
        assert_eq!(told, expected, "by {by}");
        let kinds = if by == "country" || by == "asn" { 3 } else { 2 };
        assert_eq!(told.len(), kinds, "by {by}: {told:?}");
    }
    let classes = sums(&told_lines, "class");
    let connections = |class: &str| classes[class][0] + classes[class][1];
    assert_eq!(connections("\"documentation\""), 2 * 3);
    assert_eq!(connections("\"loopback\""), 2 * (1 + 24 + 12));
}
