//! Where peers are, by databases that the test writes: told in records and tables, by the newest
//! files, and what is no database is named.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::generator::Workload;
use tests::harness::program;
use tests::mapped::map;
use tests::mmdb::Mmdb;
use tests::peering::{Place, row};
use tests::replay::{Folder, gzip, replay};
use tests::tracer::{Tracer, parse_lines, run};

/// Of the shape that most makers have.
fn city(country: &str, name: &str) -> Value {
    json!({
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"iso_code": country, "names": {"de": "Land", "en": "Country"}},
        "city": {"geoname_id": 7, "names": {"de": "Stadt", "en": name}},
        "location": {"time_zone": "Europe/Berlin"},
        "subdivisions": [{"iso_code": "BE"}],
    })
}

fn network(number: u32, organization: &str) -> Value {
    json!({
        "autonomous_system_number": number,
        "autonomous_system_organization": organization,
    })
}

fn cities() -> Mmdb {
    Mmdb::new("Test-City")
        .with("192.0.2.0/24", &city("DE", "Köln"))
        .with("192.0.2.128/25", &city("FR", "Évry"))
        .with("2001:db8::/32", &city("SE", "Malmö"))
}

fn peer_of<'a>(records: &'a [Value], ip: &str) -> Vec<&'a Value> {
    let of = records.iter().filter(|record| record["remote"]["ip"] == ip);
    let peers: Vec<_> = of.map(|record| &record["peer"]).collect();
    assert!(!peers.is_empty(), "no record of {ip}");
    peers
}

#[test]
fn records_and_tables_say_where_peers_of_either_ip_version_are() {
    let Some(place) = Place::new() else { return };
    let (cities, networks) = (place.path("city.mmdb"), place.path("asn.mmdb"));
    self::cities().write(&cities);
    Mmdb::new("Test-ASN")
        .with("192.0.2.0/24", &network(64_500, "Example\u{1b}[2J Net"))
        .with("127.0.0.0/8", &network(64_501, "This Host"))
        .write(&networks);
    let options = format!(
        "--geoip {} --geoip {}",
        cities.display(),
        networks.display()
    );
    let tracer = place.trace(&options);
    place.connect("192.0.2.7");
    place.connect("192.0.2.200");
    place.connect_mapped("192.0.2.9");
    place.connect("2001:db8::9");
    place.connect("127.0.0.1");
    place.connect("::1");
    let (records, finished) = tracer.stop();
    let finished = finished.lossless();

    let organization = "Example\\x1b[2J Net";
    let german = json!({
        "country": "DE", "city": "Köln", "asn": 64_500, "organization": organization,
    });
    for (ip, expected) in [
        ("192.0.2.7", &german),
        ("192.0.2.9", &german),
        (
            "192.0.2.200",
            &json!({
                "country": "FR", "city": "Évry", "asn": 64_500, "organization": organization,
            }),
        ),
        ("2001:db8::9", &json!({"country": "SE", "city": "Malmö"})),
        (
            "127.0.0.1",
            &json!({"asn": 64_501, "organization": "This Host"}),
        ),
        ("::1", &Value::Null),
    ] {
        for peer in peer_of(&records, ip) {
            assert_eq!(peer, expected, "{ip}");
        }
        let row = row(&finished.summary, ip);
        for field in ["country", "city", "asn", "organization", "reverse_dns"] {
            assert_eq!(row[field], expected[field], "{ip} {field}: {row}");
        }
    }
    let mapped = records.iter().filter(|it| it["socket_family"] == "ipv6");
    assert!(mapped.count() > 0, "IPv4 over an IPv6 socket");

    // For people, and without records to take it from.
    let quiet = place.path("quiet.txt");
    let mut command = Tracer::command(&format!(
        "--quiet --netns {} {options}",
        place.namespace.inode()
    ));
    command.stdout(File::create(&quiet).expect("a file"));
    let tracer = Tracer::start_with_own_output(command);
    place.connect("192.0.2.7");
    let finished = tracer.stop().lossless();
    assert_eq!(row(&finished.summary, "192.0.2.7")["country"], "DE");
    let text = std::fs::read_to_string(quiet).expect("the tables");
    let line = text
        .lines()
        .find(|line| line.starts_with("192.0.2.7  DE Köln "));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("AS64500 Example"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn of_each_field_the_first_database_that_has_it_counts() {
    let Some(place) = Place::new() else { return };
    let (first, second) = (place.path("first.mmdb"), place.path("second.mmdb"));
    // As IPinfo has it, for IPv4 only; and it does not know every city.
    Mmdb::of_ipv4("Test-Flat")
        .with(
            "192.0.2.0/24",
            &json!({"country": "Italy", "country_code": "IT", "asn": "AS64502", "as_name": "First"}),
        )
        .write(&first);
    Mmdb::new("Test-Both")
        .with("192.0.2.0/24", &city("DE", "Köln"))
        .with("2001:db8::/32", &network(64_503, "Second"))
        .write(&second);
    let order =
        |one: &Path, other: &Path| format!("--geoip {} --geoip {}", one.display(), other.display());
    for (options, country) in [
        (order(&first, &second), "IT"),
        (order(&second, &first), "DE"),
    ] {
        let tracer = place.trace(&options);
        place.connect("192.0.2.7");
        place.connect("2001:db8::9");
        let (_, finished) = tracer.stop();
        let row4 = row(&finished.summary, "192.0.2.7");
        assert_eq!(row4["country"], country);
        assert_eq!(row4["city"], "Köln");
        assert_eq!(
            (&row4["asn"], &row4["organization"]),
            (&json!(64_502), &json!("First"))
        );
        assert_eq!(row(&finished.summary, "2001:db8::9")["asn"], 64_503);
    }
}

#[test]
fn a_database_that_is_replaced_is_read_again_and_a_broken_one_is_not_used() {
    let Some(place) = Place::new() else { return };
    let path = place.path("city.mmdb");
    let in_country = |country: &str| {
        let database = Mmdb::new("Test-City");
        database.with("192.0.2.0/24", &city(country, "Somewhere"))
    };
    in_country("DE").write(&path);
    let tracer = place.trace(&format!("--geoip {}", path.display()));
    let told = |country: &'static str| move |record: &Value| record["peer"]["country"] == country;
    tracer.until("192.0.2.7", told("DE"));
    in_country("FR").write(&path);
    tracer.until("192.0.2.7", told("FR"));
    // Cut short, as a copy that is still written; and then gone for a while.
    let whole = in_country("IT").bytes();
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("writing");
    let before = tracer.records().len();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(6) {
        place.connect("192.0.2.8");
        std::thread::sleep(Duration::from_millis(200));
    }
    let records = tracer.records();
    assert!(records.len() > before);
    for record in &records[before..] {
        assert_eq!(record["peer"]["country"], "FR", "the old one stays");
    }
    std::fs::remove_file(&path).expect("removing");
    tracer.until("192.0.2.9", told("FR"));
    in_country("SE").write(&path);
    tracer.until("192.0.2.7", told("SE"));
    let (_, finished) = tracer.stop();
    let finished = finished.lossless();
    let complaints = finished.stderr.matches("stays in use").count();
    assert_eq!(complaints, 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("cut short"), "{}", finished.stderr);
}

#[test]
fn what_is_no_database_is_named_with_what_to_do() {
    let folder = Folder::new();
    let whole = cities().bytes();
    let legacy = [&b"\x01\0\0\x02\0\0"[..], &[255; 3], b"\x6a"].concat();
    let mut damaged = whole.clone();
    let metadata = damaged
        .windows(14)
        .position(|it| it == b"\xab\xcd\xefMaxMind.com");
    damaged.truncate(metadata.expect("the marker") + 20);
    for (name, content, word) in [
        ("city.mmdb.gz", gzip(&whole), "gunzip"),
        ("GeoIP.dat", legacy, "GeoIP Legacy"),
        ("empty.mmdb", Vec::new(), "empty"),
        (
            "city.csv",
            b"network,country\n192.0.2.0/24,DE\n".to_vec(),
            "CSV",
        ),
        ("page.mmdb", b"<!DOCTYPE html>".to_vec(), "web page"),
        ("half.mmdb", whole[..whole.len() / 2].to_vec(), "cut short"),
        ("damaged.mmdb", damaged, "damaged"),
    ] {
        let path = folder.file(name, content);
        assert_refused(&path, word);
    }
    assert_refused(&folder.path("missing.mmdb"), "No such file");
    std::fs::create_dir(folder.path("folder")).expect("a directory");
    assert_refused(&folder.path("folder"), "a directory");
    assert_refused(Path::new("/dev/null"), "device");
}

fn assert_refused(path: &Path, word: &str) {
    let (code, text) = run(&format!("--duration 1s --quiet --geoip {}", path.display()));
    assert_eq!(code, Some(1), "{text}");
    let errors: Vec<_> = text.lines().collect();
    let [error] = errors[..] else {
        panic!("{text}")
    };
    let expected = format!("error: --geoip {} ", path.display());
    assert!(
        error.starts_with(&expected) && error.contains(word),
        "{word}: {error}"
    );
}

#[test]
fn a_database_without_anything_about_places_is_used_and_that_is_said() {
    let Some(place) = Place::new() else { return };
    let path = place.path("other.mmdb");
    Mmdb::new("Test-Domains")
        .with("192.0.2.0/24", &json!({"domain": "example.org"}))
        .write(&path);
    let tracer = place.trace(&format!("--geoip {}", path.display()));
    place.connect("192.0.2.7");
    let (records, finished) = tracer.stop();
    assert!(
        peer_of(&records, "192.0.2.7")
            .iter()
            .all(|peer| peer.is_null())
    );
    assert!(
        finished.stderr.contains("of type Test-Domains"),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_replay_tells_what_was_recorded_or_what_a_database_says_now() {
    let Some(place) = Place::new() else { return };
    let (then, now) = (place.path("then.mmdb"), place.path("now.mmdb"));
    cities().write(&then);
    Mmdb::new("Test-Now")
        .with(
            "192.0.2.0/24",
            &json!({"country_code": "NO", "asn": 64_504}),
        )
        .write(&now);
    let tracer = place.trace(&format!("--geoip {}", then.display()));
    place.connect("192.0.2.7");
    let (_, finished) = tracer.stop();
    let recorded = place.path("records.jsonl");
    let summary = replay("", &[&recorded]).clean().summary;
    assert_eq!(
        row(&summary, "192.0.2.7"),
        row(&finished.summary, "192.0.2.7")
    );

    let options = format!("--format json --geoip {}", now.display());
    let replayed = replay(&options, &[&recorded]).clean();
    let expected = json!({"country": "NO", "city": "Köln", "asn": 64_504});
    for peer in peer_of(&parse_lines(replayed.stdout.as_bytes()), "192.0.2.7") {
        assert_eq!(
            peer, &expected,
            "of what it does not know, what was recorded stays"
        );
    }
    assert_eq!(row(&replayed.summary, "192.0.2.7")["asn"], 64_504);
}

/// Open connections over loopback, and a database that has that in Germany.
fn held_in_germany(place: &Place) -> (PathBuf, Workload) {
    let path = place.path("city.mmdb");
    Mmdb::new("Test-City")
        .with("127.0.0.0/8", &city("DE", "Köln"))
        .write(&path);
    let mut held = Workload::start(&place.namespace, "hold --connections 2");
    held.ready();
    (path, held)
}

#[test]
fn without_root_and_by_sampling_it_is_the_same() {
    let Some(place) = Place::new() else { return };
    let (path, held) = held_in_germany(&place);
    let summary = place.path("summary.json");
    let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
    command.args([
        "--backend",
        "poll",
        "--duration",
        "100ms",
        "--format",
        "json",
    ]);
    command
        .args(["--netns", &place.namespace.inode(), "--geoip"])
        .arg(&path);
    let output = command
        .arg("--summary")
        .arg(&summary)
        .output()
        .expect("running it");
    held.finish();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let records = parse_lines(&output.stdout);
    let peers = peer_of(&records, "127.0.0.1");
    assert!(peers.iter().all(|peer| peer["city"] == "Köln"), "{peers:?}");
    let summary = std::fs::read(summary).expect("the summary");
    let summary: Value = serde_json::from_slice(&summary).expect("JSON");
    assert_eq!(row(&summary, "127.0.0.1")["country"], "DE");
}

#[test]
fn a_list_of_sockets_tells_where_the_peers_are_that_are_connected_now() {
    let Some(place) = Place::new() else { return };
    let (path, held) = held_in_germany(&place);
    let list = |format: &str| {
        let mut command = Command::new(program("CONNTRACER_BIN", "conntracer"));
        command.args([
            "list",
            "--netns",
            &place.namespace.inode(),
            "--format",
            format,
        ]);
        let output = command
            .arg("--geoip")
            .arg(&path)
            .output()
            .expect("running it");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        output.stdout
    };
    let lines = parse_lines(&list("json"));
    let peers = peer_of(&lines, "127.0.0.1");
    assert!(peers.iter().all(|peer| peer["city"] == "Köln"), "{peers:?}");
    let text = String::from_utf8(list("table")).expect("UTF-8");
    let line = text.lines().last().unwrap_or_default();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>(),
        ["127.0.0.1", "DE", "Köln"]
    );
    held.finish();
}

#[test]
fn a_map_and_the_report_of_a_run_tell_below_where_those_are_that_used_a_service() {
    let Some(place) = Place::new() else { return };
    let (state, path) = (place.path("state"), place.path("city.mmdb"));
    let report = place.path("report");
    cities().write(&path);
    let tracer = place.trace(&format!(
        "--state {} --report {} --geoip {}",
        state.display(),
        report.display(),
        path.display()
    ));
    place.connect("192.0.2.200");
    let (_, finished) = tracer.stop();
    let _ = finished.lossless();
    let output = map(&state, &format!("--geoip {}", path.display()));
    let map = String::from_utf8(output.stdout).expect("UTF-8");
    let report = std::fs::read_to_string(report).expect("the report");
    for text in [map, report] {
        let shown: Vec<_> = text.lines().rev().take(3).map(str::trim_end).collect();
        let expected = [
            "192.0.2.200  FR Évry",
            "192.0.2.1    DE Köln",
            "PEER         WHERE",
        ];
        assert_eq!(shown, expected, "{text}");
    }
}
