//! Who is who survives numbers that are used again, and programs that are replaced.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;
use tests::compare::{assert_closers, assert_equal, assert_whole_lives, finals, number};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Finished, Tracer};
use tests::truth::Truth;

/// Runs a scenario and checks what is always true.
fn trace(scenario: &str) -> Option<(Finished, Truth)> {
    if !can_trace() {
        return None;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, scenario);
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    assert_whole_lives(&finished);
    assert_sums(&finished.summary);
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
    Some((finished, truth))
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{what} in {value}"))
}

#[test]
fn connections_with_the_same_addresses_and_ports_are_told_apart() {
    let Some((finished, truth)) = trace("same-port --connections 300") else {
        return;
    };
    let finals = finals(&finished);
    let ids: HashSet<_> = finals.iter().map(|end| text(&end["id"], "an id")).collect();
    assert_eq!((truth.ends().count(), ids.len()), (600, 600));
    let names: BTreeSet<_> = finals
        .iter()
        .map(|end| (end["local"].to_string(), end["remote"].to_string()))
        .collect();
    assert_eq!(names.len(), 2, "one pair of addresses, seen from both ends");
    let bytes: BTreeSet<_> = finals
        .iter()
        .map(|end| number(&end["bytes"]["tx"]))
        .collect();
    assert_eq!(bytes, (1..=300).collect());
}

#[test]
fn processes_with_the_same_id_are_told_apart_by_their_start() {
    let Some((finished, truth)) = trace("same-pid --connections 4") else {
        return;
    };
    let pids: HashSet<_> = truth.ends().map(|(_, end)| end.owner_pid).collect();
    assert_eq!(pids.len(), 1);
    let mut moved: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for end in finals(&finished) {
        let start = number(&end["process"]["start_ns"]);
        moved
            .entry(start)
            .or_default()
            .insert(number(&end["bytes"]["rx"]));
    }
    // In the order in which they started.
    let moved: Vec<_> = moved.into_values().collect();
    assert_eq!(moved, [1000, 2000, 3000, 4000].map(|bytes| [bytes].into()));
    let rows = finished.summary["processes"].as_array().expect("a table");
    let pid = pids.into_iter().next().flatten();
    let mut rows: Vec<_> = rows
        .iter()
        .filter(|row| row["pid"].as_u64() == pid.map(u64::from))
        .map(|row| {
            assert_eq!((&row["accepts"], &row["connects"]), (&2.into(), &2.into()));
            (number(&row["start_ns"]), number(&row["tx"]))
        })
        .collect();
    rows.sort_unstable();
    let (sees_tx, _) = finished.sees_users();
    let sent: Vec<_> = rows.iter().map(|(_, tx)| *tx).collect();
    let expected = [4000, 8000, 12000, 16000];
    assert_eq!(sent, expected.map(|tx| if sees_tx { tx } else { 0 }));
}

#[test]
fn a_process_stays_the_same_and_keeps_its_first_name_when_it_executes_another_program() {
    let Some((finished, truth)) = trace("exec --connections 6") else {
        return;
    };
    assert_closers(&finished, &truth, |_| true);
    for end in finals(&finished) {
        assert_eq!(end["process"]["name"], "before-exec", "{end}");
        assert_eq!(end["closer"]["name"], "workload", "{end}");
        assert_eq!(end["process"]["pid"], end["closer"]["pid"]);
    }
    let rows = finished.summary["processes"].as_array().expect("a table");
    let named: Vec<_> = rows.iter().filter(|row| !row["pid"].is_null()).collect();
    assert_eq!(named.len(), 6, "one row a process: {rows:#?}");
    assert!(named.iter().all(|row| row["name"] == "before-exec"));
}
