use bytes::BytesMut;
use serde_json::{Value, json};

use super::samples::{counts, crowded, interval};
use super::*;
use crate::wire::Wire;

fn text(interval: &Interval, width: usize) -> String {
    let style = Style {
        width,
        colour: false,
        zone: &TimeZone::UTC,
    };
    let mut text = String::new();
    write(interval, &style, &mut text);
    text
}

fn lines(interval: &Interval) -> Vec<Value> {
    let mut out = BytesMut::new();
    let mut sequence = 40;
    json::write(interval, Some(&mut sequence), &mut out);
    let text = String::from_utf8(out.to_vec()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(sequence, 40 + lines.len() as u64);
    lines
}

#[test]
fn an_interval_reads_as_its_time_and_its_tables() {
    let interval = interval(&[Dimension::Port, Dimension::Process]);
    assert_eq!(
        text(&interval, 200).lines().collect::<Vec<_>>(),
        [
            "2026-01-31 12:00:00.000 to 12:00:20.001 (20.000 s)",
            "  PORT  ACCEPTS  CONNECTS  FAILED  TX BYTES  RX BYTES  CONN/S      TX/S     RX/S",
            "    80        1         0       0         0         0     0.1     0 B/s    0 B/s",
            "-> 443        9         0       0    40,000     2,000     0.5  2.0 kB/s  100 B/s",
            " total       10         0       0    40,000     2,000     0.5  2.0 kB/s  100 B/s",
            "",
            "      PID  NAME   ACCEPTS  CONNECTS  FAILED  TX BYTES  RX BYTES  CONN/S      TX/S     RX/S",
            "     1234  nginx        1         0       0         0         0     0.1     0 B/s    0 B/s",
            "(unknown)               9         0       0    40,000     2,000     0.5  2.0 kB/s  100 B/s",
            "    total              10         0       0    40,000     2,000     0.5  2.0 kB/s  100 B/s",
            "",
        ]
    );
}

const WIRE: Wire = Wire {
    segments_out: 40,
    segments_in: 30,
    wire_bytes_out: 42_160,
    wire_bytes_in: 3_600,
};

/// Two ports, of which one had connections that ended.
fn with_wire() -> Interval {
    let mut interval = interval(&[Dimension::Port]);
    interval.has_wire = true;
    interval.tables[0].rows[1].counts.wire = Some(WIRE);
    interval.total.wire = Some(WIRE);
    interval
}

#[test]
fn what_was_on_the_wire_is_in_columns_of_its_own_also_where_nothing_tells_it() {
    let text = text(&with_wire(), 200);
    // Behind the columns that are there without it, too.
    let ends: Vec<_> = text
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.get(55..)?.trim_start()))
        .collect();
    assert_eq!(
        ends,
        [
            "SEGMENTS OUT  SEGMENTS IN  ~WIRE BYTES OUT  ~WIRE BYTES IN  CONN/S      TX/S     RX/S",
            "0            0                0               0     0.1     0 B/s    0 B/s",
            "40           30           42,160           3,600     0.5  2.0 kB/s  100 B/s",
            "40           30           42,160           3,600     0.5  2.0 kB/s  100 B/s",
        ]
    );
}

#[test]
fn a_line_has_what_was_on_the_wire_where_it_is_told() {
    let lines = lines(&with_wire());
    assert!(lines[0].get("wire").is_none(), "{}", lines[0]);
    let told = json!({
        "segments_out": 40, "segments_in": 30, "wire_bytes_out": 42_160, "wire_bytes_in": 3_600,
        "estimate": "wire_bytes",
    });
    assert_eq!([&lines[1]["wire"], &lines[2]["wire"]], [&told; 2]);
}

#[test]
fn a_narrow_terminal_has_the_bytes_a_second_still() {
    let all = interval(&Dimension::ALL);
    for line in text(&all, 80).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let narrow = text(&all, 80);
    assert!(
        narrow.contains("TX/S") && !narrow.contains("CONN/S"),
        "{narrow}"
    );
    for label in [
        "10.0.0.9",
        "-> 443",
        "nginx",
        "(unknown)",
        "www-data",
        "NZ",
        "64500",
        "Example",
        "private-use",
        "docker",
        "cgroup 77",
    ] {
        assert!(narrow.contains(label), "no {label}: {narrow}");
    }
}

#[test]
fn rows_beyond_the_top_and_beyond_the_room_are_one_each() {
    let text = text(&crowded(), 200);
    let firsts: Vec<_> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split("  ").find(|part| !part.is_empty()))
        .collect();
    assert_eq!(
        firsts,
        [
            "PEER",
            "10.0.0.1",
            "10.0.0.2*",
            "(2 more)",
            "(other)",
            "total"
        ]
    );
}

#[test]
fn nothing_is_said_in_one_line() {
    let mut nothing = interval(&[Dimension::Peer]);
    nothing.total = Counts::default();
    nothing.tables[0].rows.clear();
    let text = text(&nothing, 80);
    assert!(text.ends_with("s)\nno connections seen\n\n"), "{text}");
    let lines = lines(&nothing);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["by"], &lines[0]["tx"]),
        (&json!("total"), &json!(0))
    );
}

#[test]
fn an_interval_that_passes_midnight_says_so() {
    let mut interval = interval(&[]);
    interval.end.0 += 86_400_000_000_000;
    assert!(text(&interval, 80).contains(" 12:00:00.000 to 2026-02-01 12:00:20.001 "));
}

#[test]
fn a_row_is_a_line_of_its_own() {
    let lines = lines(&interval(&[Dimension::Peer]));
    assert_eq!(
        lines[0],
        json!({
            "v": 1, "time": "2026-01-31T12:00:20.001000000Z", "seq": 41, "host": "box",
            "event": "interval", "start": "2026-01-31T12:00:00.000000000Z",
            "end": "2026-01-31T12:00:20.001000000Z", "duration_ns": 20_000_000_000_u64,
            "by": "peer", "ip": "10.0.0.9", "netns": 4, "accepts": 10, "connects": 0,
            "failures": 0, "unaccepted": 0, "pre_existing": 0, "tx": 40_000, "rx": 2_000,
            "connections_per_second": 0.5, "tx_per_second": 2000.0, "rx_per_second": 100.0,
        })
    );
    assert_eq!(
        (&lines[1]["by"], &lines[1]["seq"]),
        (&json!("total"), &json!(42))
    );
    assert!(lines[1].get("ip").is_none());
}

#[test]
fn each_table_has_its_own_fields_and_nothing_where_nothing_is_known() {
    let lines = lines(&interval(&Dimension::ALL));
    let fields = |by: &str, index: usize, names: &[&str]| {
        let line = lines.iter().filter(|line| line["by"] == by).nth(index);
        let line = line.unwrap_or_else(|| panic!("no {index} by {by}"));
        let values = names.iter().map(|name| line[name].clone());
        values.collect::<Value>()
    };
    assert_eq!(
        fields("port", 1, &["port", "direction", "netns"]),
        json!([443, "outbound", 4])
    );
    assert_eq!(
        fields("process", 0, &["pid", "name", "uid", "start_ns"]),
        json!([1234, "nginx", 33, 5])
    );
    assert_eq!(fields("process", 1, &["pid", "name"]), json!([null, null]));
    assert_eq!(fields("user", 0, &["uid", "user"]), json!([33, "www-data"]));
    assert_eq!(fields("country", 0, &["country"]), json!(["NZ"]));
    assert_eq!(
        fields("asn", 0, &["asn", "organization"]),
        json!([64_500, "Example"])
    );
    assert_eq!(fields("class", 0, &["class"]), json!(["private-use"]));
    assert_eq!(
        fields("container", 0, &["container", "runtime", "cgroup"]),
        json!(["0123456789abcdef", "docker", null])
    );
    assert_eq!(
        fields("container", 1, &["container", "cgroup"]),
        json!([null, "77"])
    );
    assert_eq!(fields("netns", 0, &["netns"]), json!([4]));
}

#[test]
fn lines_beyond_the_top_and_beyond_the_room_are_sums() {
    let mut crowded = crowded();
    let limited = lines(&crowded);
    assert_eq!(limited.len(), 5);
    assert_eq!(limited[1]["at_least"], true);
    assert_eq!(
        (&limited[2]["more_rows"], &limited[2]["accepts"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(limited[2]["rx"], 1_000);
    assert_eq!(limited[3]["other_rows"], 2);
    assert_eq!(limited[3]["most_missing"]["tx"], 9_000);
    let sum = |name: &str| {
        limited[..4]
            .iter()
            .map(|line| line[name].as_u64().unwrap())
            .sum()
    };
    let total = counts(sum("accepts"), sum("tx"), sum("rx"));
    assert_eq!(total, crowded.total);
    crowded.top = None;
    assert_eq!(lines(&crowded).len(), 6);
}
