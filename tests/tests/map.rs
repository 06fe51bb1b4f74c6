//! The access map on real traffic: kept over runs and kills, shown while it grows.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::generator::Workload;
use tests::harness::PATIENCE;
use tests::mapped::{Place, kill, map, number};
use tests::tracer::{Tracer, run};

/// A save every so often, for tests that wait for one.
const OFTEN: &str = "--save-every 50ms";

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

#[test]
fn a_second_writer_is_refused_and_the_first_goes_on() {
    let Some(place) = Place::new() else { return };
    let tracer = place.trace("");
    let line = format!("--quiet --duration 1s --state {}", place.state().display());
    let (code, text) = run(&line);
    assert_eq!(code, Some(1), "{text}");
    let holder = format!("is being written by process {}", tracer.pid());
    assert!(text.contains(&holder), "{text}");
    place.import("192.0.2.9\n", 1);
    Workload::run(&place.namespace, "echo --connections 2");
    let _ = tracer.stop().lossless();
    assert_eq!(number(&place.json("")["total"]["connections"]), 4);
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
        let options = format!("--duration 1s --state {}", path.display());
        let (code, text) = run(&options);
        assert_eq!(code, Some(1), "{options}: {text}");
        assert!(!text.contains("ready"), "{text}");
        let output = map(path, "");
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    for path in [&link, &place.path("no/such/folder"), &place.path(".")] {
        for option in ["--report", "--report-append"] {
            let options = format!("--duration 1s {option} {}", path.display());
            let (code, text) = run(&options);
            assert_eq!(code, Some(1), "{options}: {text}");
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
