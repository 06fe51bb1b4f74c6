//! Whom a command runs as, and with which capabilities.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::Gid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities, set_keep_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use tests::command::{Traced, workload};
use tests::harness::{can_trace, copy_for_everybody, own_status};
use tests::namespace::Namespace;
use tests::tracer::Tracer;
use tests::workload::Start;

/// Runs `workload act --tell` as if by sudo, or not; returns what it said.
fn start_of(options: &str, sudo: &[(&str, &str)]) -> Start {
    start_as(options, sudo, |_| {})
}

/// The same; `change` changes how the tracer is started.
fn start_as(
    options: &str,
    sudo: &[(&str, &str)],
    change: impl FnOnce(&mut Command) + Send,
) -> Start {
    let (directory, copy) = copy_for_everybody("CONNTRACER_WORKLOAD", "workload");
    let copy = copy.to_str().expect("a path in UTF-8").to_owned();
    let words = [copy, "act".to_owned(), "--tell".to_owned()];
    let traced = Traced::start_with(&Namespace::new(), options, &words, |command| {
        for name in ["SUDO_UID", "SUDO_GID", "SUDO_USER"] {
            command.env_remove(name);
        }
        command
            .env("HOME", "/root")
            .env("USER", "root")
            .env("LOGNAME", "root");
        change(command);
        command.envs(sudo.iter().copied())
    });
    let (finished, _) = traced.finish();
    drop(directory);
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    serde_json::from_slice(&finished.stdout).expect("how it was started")
}

const SUDO: [(&str, &str); 3] = [
    ("SUDO_UID", "65534"),
    ("SUDO_GID", "65534"),
    ("SUDO_USER", "nobody"),
];

/// Name and home of a user, by the file.
fn account(uid: &str) -> Option<[String; 2]> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&uid))
        .map(|fields| [fields[0].to_owned(), fields[5].to_owned()])
}

fn assert_powerless(start: &Start) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(start.status[set], "0".repeat(16), "{set}");
    }
}

/// Makes all capabilities inheritable, and those that a trace and its files need ambient, as a service
/// manager does, for a user.
fn become_privileged(user: u32) -> std::io::Result<()> {
    let id = Gid::from_raw(user);
    set_keep_capabilities(true)?;
    set_thread_groups(&[id])?;
    set_thread_res_gid(id, id, id)?;
    let id = rustix::process::Uid::from_raw(user);
    set_thread_res_uid(id, id, id)?;
    let permitted = capabilities(None)?.permitted;
    let sets = CapabilitySets {
        effective: permitted,
        permitted,
        inheritable: permitted,
    };
    set_capabilities(None, sets)?;
    for capability in [
        CapabilitySet::BPF,
        CapabilitySet::PERFMON,
        CapabilitySet::DAC_OVERRIDE,
    ] {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

#[test]
fn a_command_has_no_capabilities_of_a_tracer_that_was_given_inheritable_and_ambient_ones() {
    if !can_trace() {
        return;
    }
    for (user, sudo) in [(0, &SUDO[..]), (65_534, &[])] {
        let start = start_as("--quiet", sudo, |command| {
            // SAFETY: only system calls, in a process that has one thread.
            unsafe { command.pre_exec(move || become_privileged(user)) };
        });
        assert_eq!(start.uid, 65_534, "{user}");
        assert_powerless(&start);
    }
}

#[test]
fn a_command_runs_as_who_called_sudo_and_without_capabilities() {
    if !can_trace() {
        return;
    }
    let start = start_of("--quiet", &SUDO);
    assert_eq!((start.uid, start.gid), (65_534, 65_534));
    assert!(!start.groups.contains(&0), "{start:?}");
    for ids in ["Uid", "Gid"] {
        assert_eq!(start.status[ids], "65534\t65534\t65534\t65534");
    }
    assert_powerless(&start);
    // What it runs by sudo itself may be root again.
    for field in ["CapBnd", "NoNewPrivs"] {
        assert_eq!(start.status[field], own_status(field), "{field}");
    }
    let (name, home) = match account("65534") {
        Some([name, home]) => (name, Some(home)),
        None => ("nobody".to_owned(), None),
    };
    let mut expected = BTreeMap::from([("USER", name.clone()), ("LOGNAME", name)]);
    expected.extend(home.map(|home| ("HOME", home)));
    let environment = start.environment.iter();
    let environment: BTreeMap<_, _> = environment
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    assert_eq!(environment, expected);
}

#[test]
fn root_stays_root_without_sudo_and_if_asked() {
    if !can_trace() {
        return;
    }
    for (options, sudo) in [
        ("--quiet --as-root", &SUDO[..]),
        ("--quiet", &[]),
        ("--quiet", &[("SUDO_UID", "0"), ("SUDO_GID", "0")]),
    ] {
        let start = start_of(options, sudo);
        assert_eq!((start.uid, start.gid), (0, 0), "{options}");
        assert_eq!(start.environment["HOME"], "/root");
    }
}

#[test]
fn who_is_not_root_cannot_have_a_command_as_root() {
    if !can_trace() {
        return;
    }
    let (_directory, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    // Set-uid, it is root for itself.
    for mode in [0o755, 0o4755] {
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode)).expect("chmod");
        let mut command = Command::new(&copy);
        command.args(["--as-root", "--", "/bin/echo", "run"]);
        let output = command.uid(65_534).gid(65_534).output();
        let output = output.expect("running it");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{mode:o}: {text}");
        for word in [
            "error: --as-root: ",
            "user 65534",
            "sudo",
            "leave --as-root out",
        ] {
            assert!(text.contains(word), "{mode:o}: no {word:?}: {text}");
        }
        assert!(output.stdout.is_empty(), "{mode:o}");
    }
}

#[test]
fn an_id_of_sudo_that_is_none_is_an_error_and_not_root() {
    if !can_trace() {
        return;
    }
    let mut command = Tracer::command("--quiet");
    command.arg("--").args(workload("act --tell"));
    let output = command.env("SUDO_UID", "everybody").output();
    let output = output.expect("running it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("SUDO_UID") && output.stdout.is_empty(),
        "{text}"
    );
}
