//! The same map from other sources than a live trace: recorded records, and sockets that are looked at
//! now and then.

use serde_json::Value;
use tests::generator::Workload;
use tests::mapped::{Place, map, number};
use tests::replay::{Folder, replay};
use tests::tracer::Tracer;

/// The map `state`, each relation on its own, without the time it was written.
fn relations(state: &std::path::Path) -> Value {
    let output = map(state, "--format json --view one-to-one --loopback");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{talk}");
    let mut map: Value = serde_json::from_slice(&output.stdout).expect("a map is JSON");
    map.as_object_mut().expect("an object").remove("time");
    map
}

#[test]
fn a_replay_makes_the_map_of_the_run_that_it_was_recorded_from() {
    let Some(place) = Place::new() else { return };
    let mut older = Workload::start(&place.namespace, "older --connections 3");
    older.ready();
    let line = format!("--state {} --save-every 20ms", place.state().display());
    let tracer = Tracer::start(&place.namespace, &line);
    let mut held = Workload::start(&place.namespace, "hold --connections 2");
    held.ready();
    for scenario in [
        "churn --connections 120",
        "worker-io",
        "refused",
        "never-accepted",
        "echo --family ipv6 --connections 4 --bytes 3000",
    ] {
        Workload::run(&place.namespace, scenario);
    }
    older.go();
    older.finish();
    let live = tracer.stop().lossless();
    held.finish();

    let expected = relations(&place.state());
    assert!(
        number(&expected["total"]["connections"]) > 240,
        "{expected}"
    );
    assert!(number(&expected["total"]["failures"]) > 0, "{expected}");
    let folder = Folder::new();
    let (one, two) = live.stdout.split_at(live.stdout.len() / 2);
    let end = one.len() + two.iter().position(|byte| *byte == b'\n').expect("a line");
    let (one, two) = live.stdout.split_at(end + 1);
    let files = [folder.file("1.jsonl", one), folder.file("2.jsonl", two)];
    let other = folder.path("map");
    let line = format!("--state {}", other.display());
    let _ = replay(&line, &[&files[0], &files[1]]).clean();
    assert_eq!(relations(&other), expected);

    let inside = folder.path("inside");
    for (class, total) in [
        ("public", 0),
        (
            "loopback",
            expected["total"]["relations"].as_u64().expect("a count"),
        ),
    ] {
        let line = format!("--class {class} --state {}", inside.display());
        let _ = replay(&line, &[&files[0], &files[1]]).clean();
        assert_eq!(
            number(&relations(&inside)["total"]["relations"]),
            total,
            "{class}"
        );
    }

    // A filter holds for the map, too; and the same records again count again.
    let filtered = folder.path("filtered");
    let line = format!("--direction outbound --state {}", filtered.display());
    for times in 1..=2 {
        let _ = replay(&line, &[&files[0], &files[1]]).clean();
        let map = relations(&filtered);
        let rows = map["relations"].as_array().expect("relations");
        assert!(rows.iter().all(|row| row["direction"] == "outbound"));
        let outbound = expected["relations"].as_array().expect("relations").iter();
        let outbound = outbound.filter(|row| row["direction"] == "outbound");
        let connections: u64 = outbound.map(|row| number(&row["connections"])).sum();
        assert_eq!(number(&map["total"]["connections"]), times * connections);
    }
}

#[test]
fn a_replay_leaves_alone_what_is_no_map_or_is_being_written() {
    let Some(place) = Place::new() else { return };
    let folder = Folder::new();
    let records = folder.file("r.jsonl", "");
    let notes = folder.file("notes.txt", "not yours\n");
    let tracer = place.trace("");
    for (path, word) in [
        (&notes, "not"),
        (&place.state(), "is being written by process"),
        (&folder.path("no/such"), "no/such"),
    ] {
        let replayed = replay(&format!("--state {}", path.display()), &[&records]);
        assert_eq!(replayed.code, Some(1), "{}", replayed.stderr);
        assert!(
            replayed.stderr.contains("error: --state: "),
            "{}",
            replayed.stderr
        );
        assert!(replayed.stderr.contains(word), "{}", replayed.stderr);
    }
    let _ = tracer.stop().lossless();
    assert_eq!(std::fs::read(&notes).expect("the file"), b"not yours\n");
}
