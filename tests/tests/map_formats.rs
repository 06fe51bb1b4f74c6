//! `conntracer map`: its formats, its filters, its imports.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::generator::Workload;
use tests::harness::{Running, copy_for_everybody};
use tests::mapped::{Place, map, map_command};
use tests::mmdb::Mmdb;
use tests::namespace::Namespace;
use tests::schema::closed;

const SCHEMA: &str = include_str!("../../docs/map.schema.json");

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
    assert_eq!(
        place.show("--format list --class documentation"),
        "192.0.2.2\n"
    );
    assert_eq!(
        place.show("--format list --class private,shared"),
        "192.0.2.2\n"
    );
    assert_eq!(place.show("--format list --class public,loopback"), "");
    assert_eq!(
        place.show("--format list --class loopback --loopback"),
        "127.0.0.1\n"
    );
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
        ("--format csv", ",documentation\n"),
        ("--view one-to-one", " CLASS "),
        ("--view by-class", "documentation"),
        ("--format dot", "[label=\"192.0.2.2\"];\n"),
        ("--format mermaid", "[\"192.0.2.2\"]\n"),
    ] {
        let text = place.show(line);
        assert!(text.contains(word), "{line}: {text}");
        assert!(!text.contains("127.0.0.1"), "{line}: {text}");
    }
}

#[test]
fn json_fits_the_schema() {
    let Some(place) = linked() else { return };
    place.import("[\"198.51.100.7\"]", 0);
    for (view, rows, count) in [
        ("one-to-many", "services", 4),
        ("one-to-one", "relations", 4),
        ("by-class", "classes", 2),
    ] {
        let map = place.json(&format!("--view {view}"));
        assert_fits_the_schema(&map);
        assert_eq!(map[rows].as_array().map(Vec::len), Some(count), "{map}");
    }
}

fn assert_fits_the_schema(map: &Value) {
    let schema = closed(serde_json::from_str(SCHEMA).expect("the schema is JSON"));
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    if let Err(error) = validator.validate(map) {
        panic!("{error}: {map}");
    }
}

const TOLD: [&str; 5] = ["country", "city", "asn", "organization", "reverse_dns"];

/// Databases of the other end of the link and of loopback, as an option.
fn databases(place: &Place) -> String {
    let path = place.path("places.mmdb");
    Mmdb::new("Test-Places")
        .with(
            "192.0.2.2/32",
            &json!({"country_code": "FR", "city": "Évry", "asn": "AS64500", "as_name": "One, \"Two\""}),
        )
        .with("127.0.0.0/8", &json!({"country_code": "DE"}))
        .write(&path);
    format!("--geoip {}", path.display())
}

/// Takes what is told of an address out of a row.
fn take_told(row: &mut Value) -> Value {
    let row = row.as_object_mut().expect("a row");
    let told = TOLD.iter().filter_map(|field| row.remove_entry(*field));
    Value::Object(told.collect())
}

#[test]
fn json_tells_where_peers_are_and_nothing_else_changes() {
    let Some(place) = linked() else { return };
    place.import("[\"198.51.100.7\"]", 0);
    let geoip = databases(&place);
    let other_end =
        json!({"country": "FR", "city": "Évry", "asn": 64_500, "organization": "One, \"Two\""});
    let expected = |ip: &Value| match ip.as_str() {
        Some("192.0.2.2") => other_end.clone(),
        Some("127.0.0.1") => json!({"country": "DE"}),
        _ => json!({}),
    };
    let without_time = |mut map: Value| {
        map["time"] = Value::Null;
        map
    };

    let plain = place.json("--view one-to-one");
    let mut told = place.json(&format!("--view one-to-one {geoip}"));
    assert_fits_the_schema(&told);
    for row in told["relations"].as_array_mut().expect("relations") {
        let of_row = take_told(row);
        let ip = match row["direction"].as_str() {
            Some("inbound") => &row["peer"],
            _ => &row["service"]["ip"],
        };
        assert_eq!(of_row, expected(ip), "{row}");
    }
    assert_eq!(without_time(told), without_time(plain));

    let plain = place.json("");
    let mut told = place.json(&geoip);
    assert_fits_the_schema(&told);
    let mut outbound = 0;
    for service in told["services"].as_array_mut().expect("services") {
        let of_service = take_told(service);
        if service["direction"] == "outbound" {
            outbound += 1;
            assert_eq!(of_service, expected(&service["service"]["ip"]), "{service}");
        } else {
            assert_eq!(of_service, json!({}), "it is this host: {service}");
        }
        for member in service["members"].as_array_mut().expect("members") {
            let of_member = take_told(member);
            assert_eq!(of_member, expected(&member["peer"]), "{member}");
        }
    }
    assert_eq!(outbound, 1);
    assert_eq!(without_time(told), without_time(plain));
}

#[test]
fn csv_and_graphs_tell_where_peers_are() {
    let Some(place) = linked() else { return };
    place.import("[\"198.51.100.7\"]", 0);
    let geoip = databases(&place);
    for view in ["one-to-many", "one-to-one", "by-class"] {
        let options = format!("--format csv --loopback --view {view}");
        let plain = place.show(&options);
        let told = place.show(&format!("{options} {geoip}"));
        let mut ends = Vec::new();
        for (plain, told) in plain.lines().zip(told.lines()) {
            let end = told.strip_prefix(plain);
            ends.push(end.unwrap_or_else(|| panic!("{plain}\n{told}")));
        }
        assert_eq!(told.lines().count(), plain.lines().count());
        assert_eq!(ends.remove(0), format!(",{}", TOLD.join(",")));
        ends.sort_unstable();
        let expected = [
            ",,,,,",
            ",DE,,,,",
            ",DE,,,,",
            ",FR,Évry,64500,\"One, \"\"Two\"\"\",",
        ];
        assert_eq!(
            ends, expected,
            "{view}: imported, loopback both ways, linked"
        );
    }
    for (format, node) in [
        (
            "dot",
            r#"[label="192.0.2.2\nFR Évry\nAS64500 One, \"Two\""];"#,
        ),
        (
            "mermaid",
            r#"["192.0.2.2<br>FR Évry<br>AS64500 One#44; #34;Two#34;"]"#,
        ),
    ] {
        let text = place.show(&format!("--format {format} {geoip}"));
        assert!(text.contains(node), "{text}");
    }
    for options in [
        "--format list",
        "--format ip-json",
        "--format json --view by-class",
    ] {
        let output = map(&place.state(), &format!("{options} {geoip}"));
        assert_eq!(output.status.code(), Some(2), "{options}");
        assert!(output.stdout.is_empty(), "{options}");
    }
}

#[test]
fn lists_are_imported_as_a_whole_or_not_at_all() {
    let Some(place) = Place::new() else { return };
    let talk = place.import("[\"10.0.0.9\", \"10.0.0.10\", \"2001:db8::1\"]", 0);
    assert!(
        talk.contains("imported 3 addresses, 3 of them new"),
        "{talk}"
    );
    let talk = place.import("10.0.0.9\n9.0.0.1\n", 0);
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
        let talk = place.import(text, 1);
        assert!(
            talk.contains(word) && talk.contains("nothing was imported"),
            "{talk}"
        );
    }
    assert!(before == std::fs::read(place.state()).expect("the map"));
    // What it printed it takes.
    assert!(
        place
            .import(&place.show("--format ip-json"), 0)
            .contains("0 of them new")
    );
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
fn a_reader_that_goes_away_ends_it_quietly() {
    let Some(place) = Place::new() else { return };
    let addresses: Vec<_> = (0..60_000_u32)
        .map(|number| std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).to_string())
        .collect();
    place.import(&addresses.join("\n"), 0);
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
    place.import("10.0.0.9\n", 0);
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
