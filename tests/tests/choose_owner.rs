//! Traffic chosen by its owner: name, cgroup, program.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::cgroups::Cgroup;
use tests::compare::{assert_equal, assert_whole_lives, finals};
use tests::generator::Workload;
use tests::harness::{PATIENCE, can_trace, program};
use tests::namespace::Namespace;
use tests::tracer::{Finished, Tracer};
use tests::truth::End;

/// A workload whose processes have these names, as the kernel has them.
fn named(names: &[&str]) -> String {
    let mut line = "named".to_owned();
    for name in names {
        line.push_str(" --name ");
        for byte in name.bytes() {
            write!(line, "{byte:02x}").expect("two digits");
        }
    }
    line
}

fn names(finished: &Finished) -> Vec<&str> {
    let mut names: Vec<_> = finals(finished)
        .iter()
        .map(|record| record["process"]["name"].as_str().expect("a name"))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn comm_keeps_processes_by_their_whole_name() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let others = ["ngin", "nginx2", "Web Content", "123456789012345"];
    let line = named(&[&["nginx"], &others[..]].concat());
    for (option, kept) in [
        (&["--comm", "nginx"][..], vec!["nginx"]),
        (
            &["--comm", "123456789012345", "--comm", "nginx2,Web Content"],
            vec!["123456789012345", "Web Content", "nginx2"],
        ),
        (&["--comm", "none"], vec![]),
    ] {
        let netns = namespace.inode();
        let mut command = Tracer::command(&format!("--format json --netns {netns}"));
        command.args(option);
        let tracer = Tracer::start_as(command);
        Workload::run(&namespace, &line);
        let finished = tracer.stop().lossless();
        // Each connects to itself.
        let twice: Vec<_> = kept.iter().flat_map(|name| [*name; 2]).collect();
        assert_eq!(names(&finished), twice, "{option:?}");
        assert_whole_lives(&finished);
    }
}

#[test]
fn a_name_that_was_longer_before_is_no_other() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    // Some kernels write the new name over `workload`, and leave the rest of that behind its end.
    let names_taken = named(&["123456789012345", "short"]);
    let tracer = Tracer::start(&namespace, "--comm short");
    Workload::run(&namespace, &names_taken);
    assert_eq!(names(&tracer.stop().lossless()), ["short"; 2]);
}

/// The table of processes without what is known of them only if they are looked at one by one, which
/// is not done for tables only.
fn processes(finished: &Finished) -> Value {
    let mut table = finished.summary["processes"].clone();
    for row in table.as_array_mut().expect("a table") {
        let row = row.as_object_mut().expect("a row");
        for field in ["exe", "user", "unit", "container"] {
            row.remove(field);
        }
    }
    table
}

/// Runs churn behind its gate under options that `prepare` makes of the process ids of a server and
/// a client, and checks what is kept.
fn assert_owner(
    prepare: impl FnOnce([u32; 2]) -> String,
    fits: impl Fn(bool, &End, [u32; 2]) -> bool,
) {
    let namespace = Namespace::new();
    let mut churn = Workload::start(&namespace, "churn --connections 240 --gate");
    let truth = churn.ready();
    let pids = [truth.pids("server")[0], truth.pids("client")[0]];
    let option = prepare(pids);
    let tracer = Tracer::start(&namespace, &option);
    let line = format!("--quiet --netns {} {option}", namespace.inode());
    let tables_only = Tracer::start_as(Tracer::command(&line));
    churn.go();
    let truth = churn.finish();
    let finished = tracer.stop().lossless();
    let kept: Vec<_> = truth
        .ends()
        .filter(|(inbound, end)| fits(*inbound, end, pids))
        .collect();
    assert!(!kept.is_empty() && kept.len() < 480, "{}", kept.len());
    assert_equal(&finished, kept.iter().copied());
    assert_whole_lives(&finished);
    let quiet = tables_only.stop().lossless();
    assert_eq!(quiet.summary["ports"], finished.summary["ports"]);
    assert_eq!(processes(&quiet), processes(&finished));
}

#[test]
fn cgroup_keeps_processes_in_it_and_below_it() {
    if !can_trace() {
        return;
    }
    let cgroup = Cgroup::new();
    for name in ["a/b/c", "d"] {
        cgroup.make(name);
    }
    let both =
        |_: bool, end: &End, pids: [u32; 2]| end.owner_pid.is_some_and(|pid| pids.contains(&pid));
    let move_both = |[server, client]: [u32; 2]| {
        cgroup.take("a", server);
        cgroup.take("a/b/c", client);
    };
    // As a directory, and as `/proc/PID/cgroup` has it.
    assert_owner(
        |pids| {
            move_both(pids);
            format!("--cgroup {}", cgroup.directory().display())
        },
        both,
    );
    assert_owner(
        |pids| {
            move_both(pids);
            format!("--cgroup {}/d --cgroup {0}/a/b", cgroup.path())
        },
        |_, end, [_, client]| end.owner_pid == Some(client),
    );
}

#[test]
fn unit_and_container_are_cgroups_by_name() {
    if !can_trace() {
        return;
    }
    let cgroup = Cgroup::new();
    let pid = std::process::id();
    let unit = format!("conntracer-test-{pid}");
    let id = format!("{pid:032x}{pid:032x}");
    let of_unit = format!("x.slice/{unit}.service");
    let of_container = format!("docker-{id}.scope/init");
    cgroup.make(&of_unit);
    cgroup.make(&of_container);
    assert_owner(
        |[server, client]| {
            cgroup.take(&of_unit, server);
            cgroup.take(&of_container, client);
            format!("--unit {unit}")
        },
        |_, end, [server, _]| end.owner_pid == Some(server),
    );
    assert_owner(
        |[server, client]| {
            cgroup.take(&of_unit, server);
            cgroup.take(&of_container, client);
            format!("--container {} --direction outbound", &id[..40])
        },
        |_, end, [_, client]| end.owner_pid == Some(client),
    );
}

#[test]
fn a_unit_that_was_started_again_is_found_by_sighup() {
    if !can_trace() {
        return;
    }
    let (cgroup, namespace) = (Cgroup::new(), Namespace::new());
    let unit = format!("again-{}.service", std::process::id());
    // As systemd does: one that was started again is in another cgroup of the same name.
    let start_unit = || {
        cgroup.make(&unit);
        let mut churn = Workload::start(&namespace, "churn --connections 24 --gate");
        let truth = churn.ready();
        let pids = [truth.pids("server")[0], truth.pids("client")[0]];
        for pid in pids {
            cgroup.take(&unit, pid);
        }
        (churn, pids)
    };
    // Returns how many ends these processes have.
    let finish = |(mut churn, pids): (Workload, [u32; 2])| {
        churn.go();
        let truth = churn.finish();
        std::fs::remove_dir(cgroup.directory().join(&unit)).expect("an empty cgroup");
        let owners = truth.ends().filter_map(|(_, end)| end.owner_pid);
        owners.filter(|pid| pids.contains(pid)).count()
    };
    let first = start_unit();
    let netns = namespace.inode();
    let line = format!("--format json --netns {netns} --unit {unit}");
    let tracer = Tracer::start_as(Tracer::service(&line));
    let ends = finish(first);
    let second = start_unit();
    tracer.signal(Signal::HUP);
    let since = Instant::now();
    while !tracer.said().contains("chosen anew") {
        assert!(since.elapsed() < PATIENCE, "{}", tracer.said());
        std::thread::sleep(Duration::from_millis(5));
    }
    let ends = [ends, finish(second)];
    let finished = tracer.stop().lossless();
    assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
    assert_eq!(finals(&finished).len(), ends.iter().sum::<usize>());
}

#[test]
fn an_older_connection_is_chosen_by_the_cgroup_of_its_holder() {
    if !can_trace() {
        return;
    }
    let cgroup = Cgroup::new();
    let namespace = Namespace::new();
    let mut hold = Workload::start(&namespace, "hold --connections 6");
    let pid = hold.ready().clients[0].owner_pid.expect("an owner");
    cgroup.take("", pid);
    let option = format!("--cgroup {}", cgroup.path());
    let finished = Tracer::start(&namespace, &option).stop().lossless();
    let owners: Vec<_> = finals(&finished)
        .iter()
        .map(|record| record["process"]["pid"].clone())
        .collect();
    assert_eq!(owners, vec![Value::from(pid); 6]);
    hold.finish();
}

#[test]
fn exe_keeps_programs_also_in_tables_only() {
    if !can_trace() {
        return;
    }
    let workload = program("CONNTRACER_WORKLOAD", "workload");
    let workload = workload.canonicalize().expect("its path");
    let own = std::env::current_exe().expect("the test's own path");
    let own = own
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let path = workload.display().to_string();
    for (option, others, ours) in [
        (format!("--exe {path}"), true, false),
        ("--exe work?oad".to_owned(), true, false),
        (format!("--exe /no/such --exe */{own}"), false, true),
        ("--exe */worklo".to_owned(), false, false),
    ] {
        let namespace = Namespace::new();
        let tracer = Tracer::start(&namespace, &option);
        let line = format!("--quiet --netns {} {option}", namespace.inode());
        let tables_only = Tracer::start_as(Tracer::command(&line));
        let mut hold = Workload::start(&namespace, "hold --connections 4");
        hold.ready();
        namespace.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("listening");
            let to = listener.local_addr().expect("an address");
            let _pair = (TcpStream::connect(to), listener.accept());
        });
        // The processes are there until all was looked at.
        let finished = tracer.stop().lossless();
        let quiet = tables_only.stop().lossless();
        let truth = hold.finish();
        let is_ours = |record: &&&Value| record["process"]["pid"] == std::process::id();
        let finals = finals(&finished);
        let by_us = finals.iter().filter(is_ours).count();
        assert_eq!(by_us, if ours { 2 } else { 0 }, "{option}");
        let by_others = if others { truth.ends().count() } else { 0 };
        assert_eq!(finals.len() - by_us, by_others, "{option}");
        assert_eq!(processes(&quiet), processes(&finished), "{option}");
        assert_eq!(
            quiet.summary["total"], finished.summary["total"],
            "{option}"
        );
    }
}
