//! A replay gives the tables of the run that it was recorded from, and what is not a record costs
//! itself only.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tests::generator::Workload;
use tests::harness::{Running, can_trace};
use tests::namespace::Namespace;
use tests::replay::{Folder, Replayed, command, gzip, replay, replay_from, zstd};
use tests::tables::{Tables, assert_sums, assert_tables};
use tests::tracer::{Finished, Tracer, parse_lines};

const TABLES: [&str; 7] = [
    "ports",
    "processes",
    "peers",
    "other",
    "total",
    "unattributed_tx",
    "unattributed_rx",
];

/// What records cannot tell.
const UNKNOWN: [&str; 6] = [
    "loss",
    "kernel",
    "backend",
    "accounting",
    "duration_ns",
    "not_attached",
];

/// Row by row, in the same order.
fn assert_same_tables(replayed: &Value, live: &Value) {
    for name in TABLES {
        assert_eq!(replayed[name], live[name], "{name}");
    }
    assert_sums(replayed);
}

/// Connections of every kind, older ones and ones that stay open, under a tracer with `options`.
fn traced(options: &str) -> Finished {
    let namespace = Namespace::new();
    let mut older = Workload::start(&namespace, "older --connections 5");
    older.ready();
    let tracer = Tracer::start(&namespace, options);
    let mut held = Workload::start(&namespace, "hold --connections 3");
    held.ready();
    for scenario in [
        "churn --connections 240",
        "worker-io",
        "refused",
        "never-accepted",
        "echo --family ipv6",
        "path --name splice_in",
    ] {
        Workload::run(&namespace, scenario);
    }
    older.go();
    older.finish();
    let finished = tracer.stop().lossless();
    held.finish();
    finished
}

#[test]
fn the_tables_of_a_replay_are_those_of_the_run_however_its_records_were_kept() {
    if !can_trace() {
        return;
    }
    for options in ["", "--events lifecycle --max-rows 3"] {
        let live = traced(options);
        let bytes = &live.stdout;
        let (one, two) = bytes.split_at(bytes.len() / 3);
        let folder = Folder::new();
        let rows = if options.is_empty() {
            ""
        } else {
            "--max-rows 3"
        };
        for (name, content) in [
            ("plain", bytes.clone()),
            ("gzip", gzip(bytes)),
            ("gzip members", [gzip(one), gzip(two)].concat()),
            ("zstd", zstd(bytes)),
            ("zstd frames", [zstd(one), zstd(two)].concat()),
            // The name says nothing.
            ("wrong.gz", zstd(bytes)),
        ] {
            let file = folder.file(name, content);
            let from_file = replay(rows, &[&file]).clean();
            let stdin = File::open(&file).expect("the file");
            let from_stdin = replay_from(stdin.into(), rows, &[Path::new("-")]).clean();
            for replayed in [from_file, from_stdin] {
                assert_same_tables(&replayed.summary, &live.summary);
                assert_eq!(replayed.summary["host"], live.summary["host"]);
                assert_eq!(replayed.count("records"), live.records.len() as u64);
                assert_tables(&replayed.stdout);
                for absent in UNKNOWN {
                    assert!(replayed.summary[absent].is_null(), "{absent}");
                }
                assert!(
                    replayed.stdout.contains("loss: not known"),
                    "{}",
                    replayed.stdout
                );
                assert!(
                    !replayed.stdout.contains("loss: none"),
                    "{}",
                    replayed.stdout
                );
            }
        }
    }
}

#[test]
fn filters_mean_the_same_as_in_the_kernel() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let churn = "churn --connections 240 --gate --client-uid 65534";
    let mut churn = Workload::start(&namespace, churn);
    let truth = churn.ready();
    let pids = [truth.pids("server")[0], truth.pids("client")[0]];
    let filters = [
        "--port 7014".to_owned(),
        "--remote-port 7010-7014".to_owned(),
        format!("--pid {}", pids[0]),
        format!("-p {},{}", pids[0], pids[1]),
        "--uid 65534".to_owned(),
        "-4".to_owned(),
        "--family ipv6 --direction outbound".to_owned(),
        "--direction inbound".to_owned(),
        "--no-loopback".to_owned(),
    ];
    let all = Tracer::start(&namespace, "");
    let filtered = filters
        .each_ref()
        .map(|filter| Tracer::start(&namespace, filter));
    churn.go();
    churn.finish();
    Workload::run(&namespace, "echo --family ipv6");
    Workload::run(&namespace, "never-accepted");
    Workload::run(&namespace, "refused");
    let all = all.stop().lossless();
    let folder = Folder::new();
    let file = folder.file("all", &all.stdout);
    let mut counts = Vec::new();
    for (filter, tracer) in filters.iter().zip(filtered) {
        let live = tracer.stop().lossless();
        let replayed = replay(filter, &[&file]).clean();
        assert_same_tables(&replayed.summary, &live.summary);
        let json = replay(&format!("--format json {filter}"), &[&file]).clean();
        let records = parse_lines(json.stdout.as_bytes());
        assert_eq!(
            Tables::of_records(&records),
            Tables::of_summary(&live.summary)
        );
        counts.push(replayed.count("kept"));
    }
    // Loopback is all there is.
    assert_eq!(counts.pop(), Some(0));
    let total = all.records.len() as u64;
    assert!(
        counts.iter().all(|kept| (1..total).contains(kept)),
        "{counts:?} of {total}"
    );
    let netns = namespace.inode();
    let here = replay(&format!("--netns {netns}"), &[&file]).clean();
    assert_same_tables(&here.summary, &all.summary);
    assert_eq!(replay("--netns 1", &[&file]).clean().count("kept"), 0);
}

/// Records of a connection of a host; all else is the same for all.
fn record(host: &str, seq: u64) -> Value {
    json!({
        "v": 1, "time": "2026-01-31T12:00:00.123456789Z", "mono_ns": 1000 + seq, "seq": seq,
        "host": host, "event": "close", "id": format!("{seq:016x}"), "proto": "tcp",
        "direction": "inbound", "family": "ipv4", "local": {"ip": "10.0.0.5", "port": 80},
        "remote": {"ip": "10.0.0.9", "port": 20_122},
        "process": {"pid": 1, "tid": 1, "name": "nginx", "thread": "nginx", "uid": 0, "start_ns": 5},
        "users": [{"pid": 1, "name": "nginx", "uid": 0, "start_ns": 5, "tx": 7, "rx": 2}],
        "netns": 4_026_531_840_u32,
        "bytes": {"tx": 10, "rx": 2, "unattributed_tx": 3, "unattributed_rx": 0},
    })
}

/// As conntracer writes it, the version first.
fn as_written(mut record: Value) -> String {
    let fields = record.as_object_mut().expect("an object");
    let version = fields.remove("v");
    let rest = record.to_string();
    match version {
        Some(version) => format!("{{\"v\":{version},{}", &rest[1..]),
        None => rest,
    }
}

fn lines(records: impl IntoIterator<Item = Value>) -> String {
    records
        .into_iter()
        .map(|record| as_written(record) + "\n")
        .collect()
}

fn run_of(host: &str, connections: u64) -> String {
    lines((1..=connections).map(|seq| record(host, seq)))
}

#[test]
fn many_hosts_merge_and_nothing_of_one_is_anothers() {
    let folder = Folder::new();
    let one = folder.file("one", run_of("web1", 3));
    let two = folder.file("two.gz", gzip(run_of("web2", 2).as_bytes()));
    let replayed = replay("", &[&one, &two]).clean();
    assert!(replayed.summary["host"].is_null());
    let rows = |table: &str, counts: [&str; 2]| -> Vec<_> {
        let rows = replayed.summary[table].as_array().expect("a table");
        let row = |row: &Value| (row["host"].clone(), counts.map(|name| row[name].clone()));
        rows.iter().map(row).collect()
    };
    for table in ["ports", "peers"] {
        let expected = [(json!("web1"), [3, 30]), (json!("web2"), [2, 20])];
        let expected = expected.map(|(host, counts)| (host, counts.map(|count| json!(count))));
        assert_eq!(rows(table, ["accepts", "tx"]), expected, "{table}");
    }
    let processes = rows("processes", ["pid", "tx"]);
    for (host, tx, unattributed) in [("web1", 21, 9), ("web2", 14, 6)] {
        assert!(processes.contains(&(json!(host), [json!(1), json!(tx)])));
        assert!(processes.contains(&(json!(host), [json!(null), json!(unattributed)])));
    }
    for word in ["HOST", "web1", "web2"] {
        assert!(replayed.stdout.contains(word), "{}", replayed.stdout);
    }
    let alone = replay("", &[&two]).clean();
    assert_eq!(alone.summary["host"], "web2");
    assert!(alone.summary["ports"][0]["host"].is_null());
    assert!(!alone.stdout.contains("HOST"), "{}", alone.stdout);
}

#[test]
fn a_run_of_several_files_is_one() {
    let folder = Folder::new();
    let text = run_of("box", 9);
    let cut = text.match_indices('\n').nth(4).expect("a line").0 + 1;
    let first = folder.file("c.jsonl.1.gz", gzip(&text.as_bytes()[..cut]));
    let second = folder.file("c.jsonl", &text[cut..]);
    let replayed = replay("", &[&first, &second]).clean();
    assert_eq!(replayed.summary["total"]["accepts"], 9);
    // A copy that was not complete when the file was rotated.
    let overlap = folder.file(
        "overlap",
        run_of("box", 9)[cut - 60..]
            .split_once('\n')
            .expect("a line")
            .1,
    );
    let early = folder.file("early", run_of("box", 7));
    let replayed = replay("", &[&early, &overlap]);
    assert_eq!((replayed.code, replayed.count("repeated")), (Some(0), 2));
    assert_eq!(replayed.summary["total"]["accepts"], 9);
    assert!(
        replayed.stdout.contains("repeated: 2 records"),
        "{}",
        replayed.stdout
    );
}

fn assert_told(replayed: &Replayed, words: &[&str]) {
    for word in words {
        assert!(
            replayed.stderr.contains(word),
            "no {word:?}: {}",
            replayed.stderr
        );
    }
}

#[test]
fn the_same_file_twice_is_an_error_and_its_copy_is_left_out() {
    let folder = Folder::new();
    let file = folder.file("c.jsonl", run_of("box", 3));
    let link = folder.path("link");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    let twice = replay("", &[&file, &link]);
    assert_eq!((twice.code, &twice.summary), (Some(1), &Value::Null));
    assert_told(&twice, &["c.jsonl and ", "link are the same file"]);
    let stdin = Stdio::from(File::open(&file).expect("the file"));
    let twice = replay_from(stdin, "", &[&file, Path::new("-")]);
    assert_eq!(twice.code, Some(1), "{}", twice.stderr);
    let copy = folder.file("c.jsonl.gz", gzip(run_of("box", 3).as_bytes()));
    let copied = replay("", &[&file, &copy]);
    assert_eq!(copied.code, Some(1), "{}", copied.stderr);
    assert_told(
        &copied,
        &[
            "c.jsonl.gz begins with the same record as ",
            "would count twice",
        ],
    );
    assert_eq!(copied.summary["total"]["accepts"], 3);
    assert_eq!(
        (copied.count("files"), copied.count("repeated_files")),
        (1, 1)
    );
}

#[test]
fn truncated_and_foreign_lines_are_named_and_counted_and_the_rest_goes_on() {
    let folder = Folder::new();
    let good = |seq| record("box", seq);
    let mut newer = good(1);
    newer["v"] = json!(2);
    let half = as_written(good(2));
    let half = &half[..half.len() / 2];
    let mixed = [
        lines([good(3)]),
        format!("{half}\n"),
        "Jan 31 12:00:00 box sshd[1]: \x1b[2Jhello\n".to_owned(),
        lines([newer, good(4)]),
        "\n".to_owned(),
        lines([
            json!({"ts": 1, "uid": "C1", "id.orig_h": "10.0.0.9"}),
            json!({"v": 1, "event": "summary"}),
        ]),
        format!("{}\n", "x".repeat(3 << 20)),
        // The kill of one run, and the start of the next.
        format!("{half}{}", lines([good(5)])),
        lines([good(6)]),
        half.to_owned(),
    ];
    let file = folder.file("mixed", mixed.concat());
    let other = folder.file("other", run_of("other", 2));
    let told = |replayed: &Replayed| {
        assert_eq!(
            [replayed.count("truncated"), replayed.count("foreign")],
            [3, 5]
        );
        assert_eq!(
            (replayed.count("kept"), replayed.count("damaged_files")),
            (6, 0)
        );
        assert_eq!(replayed.summary["total"]["accepts"], 6);
        assert_told(
            replayed,
            &[
                "mixed line 2: cut short; left out",
                "mixed line 3: not a record (no JSON object); left out",
                "mixed line 4: a record of schema version 2, and this conntracer reads version 1",
                "mixed line 7: not a record (missing field `v` at column ",
                "mixed line 8: a summary, which is no record",
                "note: 3 more lines left out, cut short or no record",
            ],
        );
        assert!(!replayed.stderr.contains('\x1b'));
        assert!(
            replayed.stdout.contains("missing: 3 lines, cut short"),
            "{}",
            replayed.stdout
        );
        assert!(
            replayed.stdout.contains("missing: 5 lines, no record"),
            "{}",
            replayed.stdout
        );
    };
    let lenient = replay("", &[&file, &other]);
    assert_eq!(lenient.code, Some(0), "{}", lenient.stderr);
    told(&lenient);
    let strict = replay("--strict", &[&file, &other]);
    assert_eq!(strict.code, Some(1));
    assert_told(&strict, &["error: --strict: not everything could be read"]);
    told(&strict);
    assert_eq!(replay("--strict", &[&other]).clean().count("kept"), 2);
}

#[test]
fn a_compressed_file_that_is_cut_or_damaged_counts_up_to_there() {
    let folder = Folder::new();
    let text: String = (1..4_000)
        .map(|seq| record("box", seq).to_string() + "\n")
        .collect();
    let other = folder.file("other", run_of("other", 2));
    for (name, packed) in [
        ("c.gz", gzip(text.as_bytes())),
        ("c.zst", zstd(text.as_bytes())),
    ] {
        let cut = folder.file(name, &packed[..packed.len() * 2 / 3]);
        let replayed = replay("", &[&cut, &other]);
        assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
        assert_told(&replayed, &[&format!("{name} ends early after line ")]);
        let kept = replayed.count("kept");
        assert!((1_000..3_999).contains(&kept), "{kept}");
        assert_eq!(
            (replayed.count("damaged_files"), replayed.count("files")),
            (1, 2)
        );
        assert_eq!(replay("--strict", &[&cut]).code, Some(1));
        let mut damaged = packed.clone();
        damaged.extend_from_slice(b"something else");
        let damaged = folder.file(&format!("damaged {name}"), damaged);
        let replayed = replay("", &[&damaged]);
        assert_eq!((replayed.code, replayed.count("kept")), (Some(0), 3_999));
        assert_told(
            &replayed,
            &[&format!("damaged {name} "), " after line 3999"],
        );
    }
}

#[test]
fn an_empty_file_is_fine_and_a_missing_one_is_not() {
    let folder = Folder::new();
    let empty = folder.file("empty", "");
    let packed = folder.file("empty.gz", gzip(b""));
    let nothing = replay("--strict", &[&empty, &packed]).clean();
    assert_eq!(nothing.count("files"), 2);
    assert!(
        nothing.stdout.starts_with("no connections seen"),
        "{}",
        nothing.stdout
    );
    assert_eq!(
        replay_from(Stdio::null(), "--strict", &[Path::new("-")])
            .clean()
            .count("files"),
        1
    );

    let good = folder.file("good", run_of("box", 2));
    let missing = folder.path("miss\x1b[2Jing");
    let xz = folder.file("c.xz", b"\xfd7zXZ\0\0\x04");
    for (bad, words) in [
        (
            missing.as_path(),
            [
                "miss\\x1b[2Jing cannot be opened: No such file",
                "not every file",
            ],
        ),
        (
            Path::new("/"),
            ["/ is a directory; name the files in it", "not every file"],
        ),
        (
            &xz,
            [
                "c.xz: compressed by xz, which is not read here",
                "`xz -dc FILE |",
            ],
        ),
    ] {
        let replayed = replay("", &[bad, &good]);
        assert_eq!(replayed.code, Some(1), "{}", replayed.stderr);
        assert_told(&replayed, &words);
        assert!(!replayed.stderr.contains('\x1b'));
        assert_eq!(
            (replayed.count("kept"), replayed.count("unopened_files")),
            (2, 1)
        );
    }
}

#[test]
fn the_tables_do_not_replace_what_is_read() {
    let folder = Folder::new();
    let text = run_of("box", 2);
    let file = folder.file("c.json", &text);
    let output = command("", &[&file]).arg("--summary").arg(&file).output();
    let output = output.expect("running conntracer");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("it is one of the files"));
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), text);
}

#[test]
fn json_lines_pass_as_they_are_and_live_lines_as_a_run_shows_them() {
    let folder = Folder::new();
    let mut strange = record("box", 1);
    strange["a later field"] = json!([1, {"x": 2}]);
    let mut hostile = record("box", 2);
    hostile["process"]["name"] = json!("\u{9b}2J\u{202e}");
    let mut other = record("box", 3);
    other["local"]["port"] = json!(443);
    let text = lines([strange.clone(), hostile, other]);
    let file = folder.file("c", text.clone() + "junk\n");
    let json = replay("--format json --port 80", &[&file]);
    let written: Vec<_> = json.stdout.lines().collect();
    assert_eq!((written.len(), written[0]), (2, &*as_written(strange)));
    assert!(written[1].contains(r"\\u{9b}2J\\u{202e}"), "{}", written[1]);
    assert_tables(&json.stderr);
    // What was written is read again.
    let again = folder.file("again", &json.stdout);
    assert_eq!(replay("", &[&again]).clean().count("kept"), 2);
    let live = replay("--format live", &[&file]);
    let closes = live.stdout.lines().filter(|line| line.contains(" close "));
    assert_eq!(closes.count(), 3, "{}", live.stdout);
    assert!(live.stdout.starts_with("TIME "));
    assert!(live.stdout.contains(r"\u{9b}2J\u{202e}"));
    assert!(!live.stdout.contains(|c: char| c.is_control() && c != '\n'));
    assert_tables(&live.stdout);
}

#[test]
fn a_consumer_that_leaves_ends_the_replay_and_a_full_disk_fails_it() {
    let folder = Folder::new();
    let file = folder.file("c", run_of("box", 3_000));
    let mut running = Running::start(
        command("--format json", &[&file])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut pipe = running.child().stdout.take().expect("a pipe");
    pipe.read_exact(&mut [0; 100]).expect("the first line");
    drop(pipe);
    let mut text = String::new();
    let mut stderr = running.child().stderr.take().expect("a pipe");
    stderr.read_to_string(&mut text).expect("its words");
    assert_eq!(
        running.wait().expect("the replay hangs").code(),
        Some(0),
        "{text}"
    );
    assert_tables(&text);
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let output = command("--format json", &[&file]).stdout(full).output();
    let output = output.expect("running conntracer");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to stdout: No space"));
}

#[test]
fn a_stream_is_read_as_it_comes_and_told_to_stop_it_gives_the_tables() {
    let mut running = Running::start(
        command("--format live", &[Path::new("-")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null()),
    );
    let mut stdin = running.child().stdin.take().expect("a pipe");
    for half in run_of("box", 200).as_bytes().chunks(7_000) {
        stdin.write_all(half).expect("it reads");
    }
    running.signal(rustix::process::Signal::INT);
    // The end of the stream, as of a pipeline whose parts all get the signal.
    drop(stdin);
    let mut text = String::new();
    let mut stdout = running.child().stdout.take().expect("a pipe");
    stdout.read_to_string(&mut text).expect("its words");
    assert_eq!(
        running.wait().expect("the replay hangs").code(),
        Some(0),
        "{text}"
    );
    assert_tables(&text);
}

#[test]
fn wrong_usage_is_told() {
    for (line, word) in [
        ("", "<FILE>"),
        ("c --port 0", "error: --port 0: "),
        ("c -4 -6", "cannot be used with"),
        ("c --backend fentry", "--backend"),
    ] {
        let output = command(line, &[]).output().expect("running conntracer");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {text}");
        assert!(text.contains(word), "{line}: {text}");
    }
}
