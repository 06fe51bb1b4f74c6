//! Every way to move bytes and to end, against the lists in `tests/exact`.

use std::fmt::Write as _;

use tests::compare::{finals, number};
use tests::exact::{Absent, List, differences};
use tests::generator::Workload;
use tests::grade::{Grade, grade};
use tests::harness::{can_trace, say};
use tests::namespace::Namespace;
use tests::tracer::Tracer;
use tests::truth::Truth;
use tests::workload::path_names;

#[test]
fn every_path_is_as_exact_as_the_list_says() {
    check("", |truth| truth);
}

#[test]
fn every_path_is_as_exact_by_the_counters_of_its_socket() {
    check("--accounting socket", Truth::credited_to_owners);
}

/// `told` is how the options tell what happened.
fn check(options: &str, told: impl Fn(Truth) -> Truth) {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, options);
    let run = |name| {
        let line = format!("path --name {name} --connections 3");
        told(Workload::run(&namespace, &line))
    };
    let truths: Vec<_> = path_names().map(|name| (name, run(name))).collect();
    let finished = tracer.stop().lossless();
    let marks = grade(&finished, &truths);
    let marks: Vec<_> = path_names().zip(marks).collect();

    for field in ["unattributed_tx", "unattributed_rx"] {
        let records = finals(&finished).into_iter();
        let sum: u64 = records.map(|record| number(&record["bytes"][field])).sum();
        assert_eq!(sum, number(&finished.summary[field]), "{field}");
    }

    let list = match finished.summary["accounting"].as_str() {
        Some("process") => finished.summary["backend"].as_str().expect("a backend"),
        other => other.expect("an accounting"),
    };
    let uname = rustix::system::uname();
    let release = uname.release().to_str().expect("a release");
    let mut table = format!("{list} on Linux {release}\n");
    let list = List::of(list);
    for (path, mark) in &marks {
        let note = match (mark.grade, list.debt(path, release)) {
            (Grade::NotHere, _) => format!(": {}", mark.details[0]),
            (grade, Some(wanted)) if grade != wanted => format!(", must become {wanted:?}"),
            _ => String::new(),
        };
        let _ = writeln!(table, "{path:<20} {:?}{note}", mark.grade);
    }
    say(&table);
    let differences = differences(&list, &Absent::load(), release, &marks);
    assert!(
        differences.is_empty(),
        "{} cells differ from tests/exact:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
