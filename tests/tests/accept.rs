//! Every accept with the process that made it, however many wait, and since when.

use std::collections::{BTreeMap, BTreeSet};

use tests::compare::{address, assert_closers, assert_equal, assert_whole_lives, finals};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{Tables, assert_sums};
use tests::tracer::{Finished, Tracer};
use tests::truth::Truth;

/// What waits before the tracer starts.
struct Crowd {
    tasks: u64,
    processes: u64,
    options: &'static str,
}

fn trace(crowd: &Crowd) -> Finished {
    let Crowd {
        tasks,
        processes,
        options,
    } = crowd;
    let namespace = Namespace::new();
    let line = format!("blocked --gate --tasks {tasks} --processes {processes} {options}");
    let mut blocked = Workload::start(&namespace, &line);
    let servers: BTreeSet<u32> = blocked.ready().pids("server").into_iter().collect();
    assert_eq!(servers.len() as u64, *processes);
    let tracer = Tracer::start(&namespace, "");
    blocked.go();
    let truth = blocked.finish();
    let finished = tracer.stop().lossless();
    assert_accepts(&finished, &truth, crowd, &servers);
    assert_equal(&finished, truth.ends());
    assert_closers(&finished, &truth, |end| end.ending == "orderly");
    assert_whole_lives(&finished);
    assert_eq!(
        Tables::of_records(&finished.records),
        Tables::of_summary(&finished.summary)
    );
    finished
}

/// Checks the `accept` records and the accepts in the process table, one by one.
fn assert_accepts(finished: &Finished, truth: &Truth, crowd: &Crowd, servers: &BTreeSet<u32>) {
    let taken = truth.servers.iter().filter(|end| end.accepted);
    let happened: BTreeMap<_, u64> = taken
        .map(|end| {
            (
                (end.local, end.remote),
                end.owner_pid.expect("an owner").into(),
            )
        })
        .collect();
    assert_eq!(happened.len() as u64, crowd.tasks);
    let accepts = finished.events("accept");
    let recorded: BTreeMap<_, u64> = accepts
        .iter()
        .map(|record| {
            let ends = (address(&record["local"]), address(&record["remote"]));
            (ends, record["process"]["pid"].as_u64().unwrap_or(0))
        })
        .collect();
    let wrong: Vec<_> = happened
        .iter()
        .filter(|(ends, pid)| recorded.get(ends) != Some(pid))
        .map(|(ends, pid)| format!("{ends:?} by {pid}, not {:?}", recorded.get(ends)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} accepts are missing or wrong: {:#?}",
        wrong.len(),
        crowd.tasks,
        &wrong[..wrong.len().min(10)]
    );
    assert_eq!(accepts.len() as u64, crowd.tasks);
    // Each task accepts once, so no thread is seen twice.
    let threads: BTreeSet<_> = accepts
        .iter()
        .map(|record| record["process"]["tid"].as_u64())
        .collect();
    assert_eq!(threads.len() as u64, crowd.tasks);
    let rows = finished.summary["processes"].as_array().expect("a table");
    let by_process: BTreeMap<u64, u64> = rows
        .iter()
        .filter(|row| row["accepts"] != 0)
        .map(|row| {
            let pid = row["pid"].as_u64().expect("an accept has a process");
            (pid, row["accepts"].as_u64().expect("a count"))
        })
        .collect();
    let share = crowd.tasks / crowd.processes;
    let expected: BTreeMap<u64, u64> = servers.iter().map(|pid| ((*pid).into(), share)).collect();
    assert_eq!(by_process, expected);
}

#[test]
fn tasks_blocked_in_accept_before_the_start_are_all_seen() {
    if !can_trace() {
        return;
    }
    assert_all_are_seen(1024, 64);
}

#[test]
fn few_tasks_and_many_processes_blocked_in_accept_are_all_seen() {
    if !can_trace() {
        return;
    }
    assert_all_are_seen(64, 1);
    assert_all_are_seen(256, 256);
}

fn assert_all_are_seen(tasks: u64, processes: u64) {
    let finished = trace(&Crowd {
        tasks,
        processes,
        options: "",
    });
    let [accepts, connects, failures, unaccepted, open, ..] = assert_sums(&finished.summary);
    assert_eq!([accepts, connects], [tasks, tasks]);
    assert_eq!([failures, unaccepted, open], [0, 0, 0]);
}

#[test]
fn a_thousand_threads_of_one_process_blocked_in_accept_are_all_seen() {
    if !can_trace() {
        return;
    }
    trace(&Crowd {
        tasks: 1024,
        processes: 1,
        options: "",
    });
}

#[test]
fn a_non_blocking_accept_after_poll_is_seen_and_one_in_vain_is_not() {
    if !can_trace() {
        return;
    }
    trace(&Crowd {
        tasks: 64,
        processes: 8,
        options: "--poll",
    });
}

#[test]
fn connections_that_find_no_task_any_more_are_counted_apart() {
    if !can_trace() {
        return;
    }
    let finished = trace(&Crowd {
        tasks: 64,
        processes: 8,
        options: "--surplus 20",
    });
    let [accepts, connects, failures, unaccepted, open, ..] = assert_sums(&finished.summary);
    assert_eq!([accepts, connects, unaccepted], [64, 84, 20]);
    assert_eq!([failures, open], [0, 0]);
    let in_vain = finals(&finished)
        .into_iter()
        .filter(|record| record["direction"] == "inbound" && record["process"].is_null());
    assert_eq!(in_vain.count(), 20);
}
