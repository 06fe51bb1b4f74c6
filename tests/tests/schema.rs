//! `docs/record.schema.json` describes every record there is, and nothing that is not.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::mmdb::Mmdb;
use tests::namespace::Namespace;
use tests::replay::{Folder, replay};
use tests::schema::closed;
use tests::tracer::Tracer;

const SCHEMA: &str = include_str!("../../docs/record.schema.json");
const SUMMARY_SCHEMA: &str = include_str!("../../docs/summary.schema.json");

#[test]
fn records_of_every_event_fit_the_schema_and_use_all_of_it() {
    if !can_trace() {
        return;
    }
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&closed(schema.clone())).expect("a valid schema");
    let namespace = Namespace::new();
    let mut older = Workload::start(&namespace, "older --connections 5");
    older.ready();
    let databases = Folder::new();
    let database = databases.path("asn.mmdb");
    Mmdb::new("Test-ASN")
        .with("127.0.0.0/8", &json!({"asn": 64_500}))
        .write(&database);
    let options = format!(
        "--events io --ring-size 64MiB --wire --geoip {}",
        database.display()
    );
    let tracer = Tracer::start(&namespace, &options);
    let mut held = Workload::start(&namespace, "hold --connections 3");
    held.ready();
    for scenario in [
        "echo --family mapped",
        "fork-after-accept",
        "refused",
        "never-accepted",
        "path --name splice_in",
        "path --name read_after_close",
    ] {
        Workload::run(&namespace, scenario);
    }
    Workload::run(&namespace, "churn --connections 120");
    older.go();
    older.finish();
    let finished = tracer.stop();
    held.finish();
    let mut events = BTreeSet::new();
    let mut fields = BTreeSet::new();
    let mut of_processes = BTreeSet::new();
    for record in &finished.records {
        if let Err(error) = validator.validate(record) {
            panic!("{error}: {record}");
        }
        events.insert(record["event"].to_string());
        fields.extend(record.as_object().expect("an object").keys().cloned());
        let process = record["process"].as_object();
        of_processes.extend(
            process
                .into_iter()
                .flat_map(|process| process.keys().cloned()),
        );
    }
    let described = |pointer: &str| schema.pointer(pointer).expect("part of the schema");
    let all_events = described("/properties/event/enum")
        .as_array()
        .expect("a list");
    // A run without a second of traffic has no traffic record.
    let seen = events
        .iter()
        .filter(|event| event.as_str() != "\"traffic\"")
        .count();
    assert_eq!(seen, all_events.len() - 1, "{events:?}");
    let all_fields = described("/properties").as_object().expect("an object");
    // Records of a run without hooks have `sampled`, see `poll.rs`.
    for field in all_fields.keys().filter(|field| *field != "sampled") {
        assert!(fields.contains(field), "no record has {field}");
    }
    // The others are of special processes, see `identity.rs`.
    let special = [
        "command_cut",
        "user",
        "unit",
        "container",
        "pod_uid",
        "ns_pid",
    ];
    let all_of_processes = described("/properties/process/properties");
    let all_of_processes = all_of_processes.as_object().expect("an object").keys();
    for field in all_of_processes.filter(|field| !special.contains(&field.as_str())) {
        assert!(of_processes.contains(field), "no process has {field}");
    }
}

#[test]
fn summaries_with_and_without_other_rows_fit_the_schema_and_use_all_of_it() {
    if !can_trace() {
        return;
    }
    let schema: Value = serde_json::from_str(SUMMARY_SCHEMA).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&closed(schema.clone())).expect("a valid schema");
    let namespace = Namespace::new();
    let mut fields = BTreeSet::new();
    for options in ["", "--max-rows 1"] {
        let tracer = Tracer::start(&namespace, options);
        let mut held = Workload::start(&namespace, "hold --connections 3");
        held.ready();
        Workload::run(&namespace, "churn --connections 60");
        Workload::run(&namespace, "never-accepted");
        Workload::run(&namespace, "same-port --connections 2");
        Workload::run(&namespace, "echo --family ipv6");
        let finished = tracer.stop();
        let summary = &finished.summary;
        held.finish();
        let recorded = Folder::new();
        let file = recorded.file("c.jsonl", &finished.stdout);
        let elsewhere = String::from_utf8_lossy(&finished.stdout);
        let host = format!("\"host\":{}", summary["host"]);
        let elsewhere = elsewhere.replace(&host, "\"host\":\"elsewhere\"");
        let other = recorded.file("other.jsonl", elsewhere);
        for summary in [
            summary,
            &replay("", &[&file]).summary,
            &replay(options, &[&file, &other]).summary,
        ] {
            if let Err(error) = validator.validate(summary) {
                panic!("{error}: {summary}");
            }
            fields.extend(summary.as_object().expect("an object").keys().cloned());
        }
        let tables = ["ports", "processes", "peers"];
        assert_eq!(summary["other"].is_null(), options.is_empty());
        for table in tables.iter().filter(|_| !options.is_empty()) {
            assert!(
                summary["other"][table]["rows"].as_u64() > Some(0),
                "{table}"
            );
            let rows = summary[table].as_array().expect("a table");
            assert!(rows.iter().any(|row| row["at_least"] == true), "{table}");
        }
    }
    let described = schema.pointer("/properties").and_then(Value::as_object);
    let described = described.expect("an object").keys();
    // Likewise.
    for field in described.filter(|field| *field != "sampled") {
        assert!(fields.contains(field), "no summary has {field}");
    }
}
