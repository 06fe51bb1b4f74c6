//! Descendants in great numbers: none is missed, none is taken for another.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tests::command::{Traced, workload};
use tests::compare::{address, assert_equal, assert_whole_lives, finals};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::assert_sums;
use tests::tracer::Tracer;
use tests::truth::{Line, Member, now};

fn pid_of(record: &Value) -> Option<u32> {
    record["process"]["pid"]
        .as_u64()
        .and_then(|pid| pid.try_into().ok())
}

#[test]
fn five_hundred_children_that_execute_programs_have_a_connect_each_with_pid_and_command_line() {
    const CHILDREN: usize = 500;
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let line = workload(&format!("children --children {CHILDREN} --how exec"));
    let (finished, truth) = Traced::start(&namespace, "", &line).finish();
    let finished = finished.lossless();
    assert_equal(&finished, truth.ends());
    assert_whole_lives(&finished);
    assert_eq!(
        assert_sums(&finished.summary)[1],
        CHILDREN as u64,
        "connects"
    );
    // Each has said its number.
    let mut numbers: HashMap<u32, &str> = HashMap::new();
    for member in &truth.members {
        numbers.insert(member.pid, &member.duty);
    }
    let distinct: HashSet<_> = numbers.values().collect();
    assert_eq!((numbers.len(), distinct.len()), (CHILDREN, CHILDREN));
    let program = std::fs::canonicalize(&line[0]).expect("the workload's path");
    let program = program.to_str().expect("a path in UTF-8");
    let finals = finals(&finished);
    let connects = finals
        .iter()
        .filter(|record| record["direction"] == "outbound");
    let mut known = HashSet::new();
    for record in connects {
        let pid = pid_of(record).expect("a process");
        let remote = address(&record["remote"]).to_string();
        let number = numbers[&pid];
        let command = [
            program,
            "connect-once",
            "--address",
            &remote,
            "--number",
            number,
        ];
        let process = &record["process"];
        assert_eq!(
            process["command"],
            Value::from(command.to_vec()),
            "{record}"
        );
        assert!(process["command_cut"].is_null(), "{record}");
        assert_eq!(process["exe"], program);
        assert!(known.insert(pid), "{pid} twice");
    }
    assert_eq!(known.len(), CHILDREN);
}

/// When this process of a relay began, if it is one.
fn beginning(member: &Member) -> Option<u64> {
    member.duty.parse().ok()
}

#[test]
fn of_a_tree_that_never_stands_still_all_who_began_after_the_start_are_followed() {
    const BEFORE: usize = 30;
    const AFTER: usize = 300;
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut relay = Workload::start(&namespace, "relay");
    let root = relay.ready().pids("root")[0];
    let began_after = |line: &Line, since: u64| match line {
        Line::Process(member) => beginning(member).is_some_and(|began| began >= since),
        _ => false,
    };
    let mut count = 0;
    relay.read_until(|line| {
        count += usize::from(began_after(line, 0));
        count == BEFORE
    });
    // Known once all hooks are attached and the tree is followed.
    let ready = AtomicU64::new(u64::MAX);
    let tracer = std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            let tracer = Tracer::start(&namespace, &format!("--pid {root} --follow"));
            ready.store(now(), Ordering::SeqCst);
            tracer
        });
        // Nobody waits for a reader meanwhile, so that they go on.
        let mut count = 0;
        relay.read_until(|line| {
            count += usize::from(began_after(line, ready.load(Ordering::SeqCst)));
            count == AFTER
        });
        starting.join().expect("a tracer")
    });
    let truth = relay.finish();
    let mut finished = tracer.stop().lossless();
    let ready = ready.into_inner();
    let after: HashSet<u32> = truth
        .members
        .iter()
        .filter(|member| beginning(member).is_some_and(|began| began >= ready))
        .map(|member| member.pid)
        .collect();
    assert!(after.len() >= AFTER && truth.members.len() > after.len() + BEFORE);
    // Of those before, some are seen, and none as another.
    let key = |inbound: bool, local, remote, pid| (inbound, local, remote, pid);
    let ends: HashSet<_> = truth
        .ends()
        .map(|(inbound, end)| key(inbound, end.local, end.remote, end.owner_pid))
        .collect();
    for record in finals(&finished) {
        let inbound = record["direction"] == "inbound";
        let (local, remote) = (address(&record["local"]), address(&record["remote"]));
        let told = key(inbound, local, remote, pid_of(record));
        assert!(ends.contains(&told), "nobody did {record}");
    }
    let is_after = |pid: Option<u32>| pid.is_some_and(|pid| after.contains(&pid));
    finished.records.retain(|record| is_after(pid_of(record)));
    assert_equal(
        &finished,
        truth.ends().filter(|(_, end)| is_after(end.owner_pid)),
    );
}
