//! The same map from other sources than a live trace: recorded records, and sockets that are looked at
//! now and then.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use tests::generator::Workload;
use tests::harness::{PATIENCE, Running, copy_for_everybody};
use tests::listing::{Pair, list, listener, output};
use tests::mapped::{Place, map, number};
use tests::namespace::Namespace;
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
    let options = format!("--state {} --save-every 20ms", place.state().display());
    let tracer = Tracer::start(&place.namespace, &options);
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
    let run = tracer.stop().lossless();
    held.finish();

    let expected = relations(&place.state());
    assert!(
        number(&expected["total"]["connections"]) > 240,
        "{expected}"
    );
    assert!(number(&expected["total"]["failures"]) > 0, "{expected}");
    let folder = Folder::new();
    let (one, two) = run.stdout.split_at(run.stdout.len() / 2);
    let end = one.len() + two.iter().position(|byte| *byte == b'\n').expect("a line");
    let (one, two) = run.stdout.split_at(end + 1);
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

/// The relation of one direction.
fn relation<'a>(map: &'a Value, direction: &str) -> &'a Value {
    let rows = map["relations"].as_array().expect("relations");
    let mut fits = rows.iter().filter(|row| row["direction"] == direction);
    let row = fits
        .next()
        .unwrap_or_else(|| panic!("nothing {direction} in {map}"));
    assert!(fits.next().is_none(), "{map}");
    row
}

#[test]
fn a_list_counts_each_connection_once_and_its_bytes_as_they_move() {
    let namespace = Namespace::new();
    let folder = Folder::new();
    let state = folder.path("map");
    let (listener, pairs) = namespace.run(|| {
        let listener = listener(Ipv4Addr::LOCALHOST);
        let pairs = [(); 3].map(|()| Pair::new(&listener));
        (listener, pairs)
    });
    let mut command = list("--interval 0.02 --quiet --state");
    command.arg(&state).stdout(Stdio::piped());
    let mut running = namespace.run(|| Running::start(&mut command));
    let since = Instant::now();
    let wait_for = |fits: &dyn Fn(&Value) -> bool| loop {
        if state.exists() {
            let output = map(&state, "--format json --view one-to-one --loopback");
            let map = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if fits(&map) {
                return map;
            }
        }
        assert!(since.elapsed() < PATIENCE, "it does not come");
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let first = wait_for(&|map| map["total"]["connections"] == 6);
    // Bytes, and one connection more.
    let more = namespace.run(|| Pair::new(&listener));
    (&pairs[0].client).write_all(&[7; 1000]).expect("sending");
    (&pairs[0].server)
        .read_exact(&mut [0; 1000])
        .expect("receiving");
    (&more.server).write_all(&[7; 50]).expect("sending");
    (&more.client).read_exact(&mut [0; 50]).expect("receiving");
    let second = wait_for(&|map| map["total"]["tx"] == 1050 && map["total"]["rx"] == 1050);
    // And they go.
    drop((pairs, more));
    let ended = second["relations"][0]["last_seen"].clone();
    let third = wait_for(&|map| map["relations"][0]["last_seen"] != ended);
    running.signal(Signal::INT);
    assert_eq!(running.wait().expect("it hangs").code(), Some(0));
    let mut printed = Vec::new();
    let stdout = running.child().stdout.as_mut().expect("a pipe");
    stdout.read_to_end(&mut printed).expect("its output");
    assert!(printed.is_empty());

    for (map, connections) in [(&first, 3), (&second, 4), (&third, 4)] {
        for direction in ["inbound", "outbound"] {
            let row = relation(map, direction);
            assert_eq!(row["source"], "sampled", "{row}");
            assert_eq!(row["class"], "loopback", "{row}");
            assert_eq!(number(&row["connections"]), connections, "{row}");
            assert_eq!(row["pid"], std::process::id(), "{row}");
            assert_eq!(row["uid"], 0, "{row}");
            let port = listener.local_addr().expect("an address").port();
            assert_eq!(row["service"]["port"], port, "{row}");
        }
    }
    let bytes = |row: &Value| [number(&row["tx"]), number(&row["rx"])];
    assert_eq!(bytes(relation(&third, "inbound")), [50, 1000]);
    assert_eq!(bytes(relation(&third, "outbound")), [1000, 50]);
    assert!(
        relation(&first, "inbound")["last_seen"].as_str()
            < relation(&third, "inbound")["last_seen"].as_str()
    );
}

#[test]
fn another_run_counts_what_is_still_there_again_and_prints_unless_it_is_quiet() {
    let namespace = Namespace::new();
    let folder = Folder::new();
    let state = folder.path("map");
    let _pair = namespace.run(|| {
        let listener = listener(Ipv4Addr::LOCALHOST);
        (Pair::new(&listener), listener)
    });
    for times in 1..=2 {
        let mut command = list("--state");
        let printed = output(&namespace, {
            command.arg(&state);
            command
        });
        assert_eq!(printed.status.code(), Some(0));
        assert!(!printed.stdout.is_empty());
        let map = relations(&state);
        assert_eq!(number(&relation(&map, "inbound")["connections"]), times);
    }
    let text = map(&state, "--loopback");
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("sampled"), "{text}");
}

#[test]
fn a_list_without_rights_keeps_its_own_map_and_not_that_of_others() {
    let namespace = Namespace::new();
    let (folder, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let own = folder.path().join("own");
    std::fs::create_dir(&own).expect("a folder");
    std::os::unix::fs::chown(&own, Some(65_534), Some(65_534)).expect("chown");
    let _pair = namespace.run(|| {
        let listener = listener(Ipv4Addr::LOCALHOST);
        (Pair::new(&listener), listener)
    });
    let list = |state: &std::path::Path| {
        let mut command = Command::new(&copy);
        command.args(["list", "--quiet", "--state"]).arg(state);
        command.uid(65_534).gid(65_534);
        output(&namespace, command)
    };
    let state = own.join("map");
    let done = list(&state);
    let talk = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{talk}");
    assert!(talk.contains("not seen: the processes of"), "{talk}");
    let map = relations(&state);
    let row = relation(&map, "inbound");
    assert_eq!(number(&row["connections"]), 1, "{row}");
    assert!(row.get("process").is_none(), "{row}");

    let place = Folder::new();
    let notes = place.file("notes", "not yours\n");
    for path in [
        &notes,
        &folder.path().join("elsewhere"),
        &place.path("no/such"),
    ] {
        let done = list(path);
        let talk = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{talk}");
        assert!(talk.contains("error: --state: "), "{talk}");
    }
}
