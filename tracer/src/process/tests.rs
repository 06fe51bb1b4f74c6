use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::carrier::nanoseconds;
use crate::carrier::stat::Stat;
use crate::record::{Cgroup, EventKind, Record};
use crate::sink::samples;

/// A record of this process.
fn ours() -> Record {
    let pid = std::process::id();
    let mut record = samples::inbound(EventKind::Accept);
    let process = record.process.as_mut().unwrap();
    process.pid = pid;
    process.uid = 0;
    process.start_ns = nanoseconds(Stat::read(pid).unwrap().start);
    record
}

fn told(record: &Record, command: &[u8]) -> Told {
    let process = record.process.as_ref().unwrap();
    Told {
        pid: process.pid,
        start_ns: process.start_ns,
        parent: None,
        ns_pid: Some(1),
        command: command.to_vec(),
        command_cut: false,
        exe: Some(b"/bin/told".to_vec()),
    }
}

fn details(processes: &mut Processes, record: &Record) -> Arc<ProcessDetails> {
    let mut record = record.clone();
    processes.complete(&mut record);
    record.process.unwrap().details.unwrap()
}

#[test]
fn a_process_that_lives_is_found_without_being_told() {
    let mut processes = Processes::of_proc();
    let record = ours();
    let found = details(&mut processes, &record);
    let exe = std::env::current_exe().unwrap();
    assert_eq!(found.exe.as_deref(), exe.to_str());
    assert_eq!(found.command.len(), std::env::args().len());
    assert_eq!(found.user.as_deref(), Some("root"));
    let parent = found.parent.as_ref().unwrap();
    assert_eq!(parent.pid, std::os::unix::process::parent_id());
    assert!(found.started.unwrap() <= clock::now());
    assert!(
        Arc::ptr_eq(&found, &details(&mut processes, &record)),
        "asked for once"
    );
}

#[test]
fn what_is_gone_is_what_was_told_and_what_was_not_told_is_not_made_up() {
    let mut processes = Processes::of_proc();
    let mut record = ours();
    record.process.as_mut().unwrap().start_ns += 1_000_000_000;
    processes.told(told(&record, b"curl\0http://x\0"));
    let gone = details(&mut processes, &record);
    assert_eq!(gone.exe.as_deref(), Some("/bin/told"));
    assert_eq!(gone.command, ["curl", "http://x"]);
    assert_eq!((gone.ns_pid, gone.command_cut), (Some(1), false));
    record.process.as_mut().unwrap().start_ns += 1_000_000_000;
    let unknown = details(&mut processes, &record);
    assert_eq!((&unknown.exe, &unknown.parent), (&None, &None));
    assert!(unknown.command.is_empty() && unknown.started.is_some());
}

#[test]
fn a_program_that_was_executed_later_is_another_one() {
    let mut processes = Processes::of_proc();
    let record = ours();
    processes.told(told(&record, b"first\0"));
    assert_eq!(details(&mut processes, &record).command, ["first"]);
    processes.told(told(&record, b"second\0"));
    assert_eq!(details(&mut processes, &record).command, ["second"]);
}

#[test]
fn another_user_is_another_name_and_nothing_else() {
    let mut processes = Processes::of_proc();
    let mut record = ours();
    processes.told(told(&record, b"su\0"));
    assert_eq!(
        details(&mut processes, &record).user.as_deref(),
        Some("root")
    );
    record.process.as_mut().unwrap().uid = u32::MAX - 7;
    let other = details(&mut processes, &record);
    assert_eq!(
        (other.user.as_deref(), &other.command[..]),
        (None, &["su".into()][..])
    );
}

#[test]
fn a_cut_command_is_made_whole_unless_it_is_anothers() {
    let mut processes = Processes::of_proc();
    let record = ours();
    let ours: Vec<_> = std::env::args().map(|it| escape(it.as_bytes())).collect();
    let beginning = &ours[0].as_bytes()[..2];
    let anothers: &[u8] = b"\xff\xff";
    for (told_so_far, command, command_cut) in [
        (beginning, ours.clone(), false),
        (anothers, vec![escape(anothers)], true),
    ] {
        let mut cut = told(&record, told_so_far);
        cut.command_cut = true;
        processes.told(cut);
        let found = details(&mut processes, &record);
        assert_eq!((&found.command, found.command_cut), (&command, command_cut));
        assert_eq!(found.exe.as_deref(), Some("/bin/told"));
    }
}

#[test]
fn hostile_arguments_are_escaped() {
    let mut processes = Processes::of_proc();
    let record = ours();
    processes.told(told(&record, b"a\x1b[2J\n\0\xff\0\\\0"));
    let found = details(&mut processes, &record);
    assert_eq!(found.command, [r"a\x1b[2J\n", r"\xff", r"\\"]);
}

#[test]
fn the_root_of_all_cgroups_is_found_by_its_id_where_there_is_one() {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap();
    let Some(mount) = cgroup::mount_point(&mounts) else {
        return;
    };
    let id = std::fs::metadata(mount).unwrap().ino();
    let mut record = ours();
    record.cgroup = Some(Cgroup { id, path: None });
    let mut processes = Processes::of_proc();
    processes.complete(&mut record);
    let found = record.cgroup.unwrap().path;
    if rustix::process::geteuid().is_root() {
        assert_eq!(found.as_deref(), Some("/"));
    }
    record.cgroup = Some(Cgroup {
        id: u64::MAX - 7,
        path: None,
    });
    processes.complete(&mut record);
    assert_eq!(
        record.cgroup.unwrap().path,
        None,
        "there is none of this id"
    );
}
