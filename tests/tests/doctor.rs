//! `conntracer doctor`: what it says of this machine is what a trace does.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use serde_json::Value;
use tests::harness::{can_trace, copy_for_everybody, program};
use tests::tracer::{Tracer, backend, run};

fn report(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    let list = report[name].as_array();
    list.unwrap_or_else(|| panic!("no list {name}: {report:#}"))
}

fn row<'a>(rows: &'a [Value], key: &str, value: &str) -> &'a Value {
    let row = rows.iter().find(|row| row[key] == value);
    row.unwrap_or_else(|| panic!("no {key} {value}: {rows:#?}"))
}

/// The doctor with another backend than the tests are run for.
fn doctor(backend: &str) -> Output {
    Command::new(program("CONNTRACER_BIN", "conntracer"))
        .args(["doctor", "--format", "json", "--backend", backend])
        .output()
        .expect("running conntracer")
}

#[test]
fn the_doctor_sees_what_its_own_connection_did() {
    if !can_trace() {
        return;
    }
    let mut command = Tracer::command("doctor --format json");
    let output = command.output().expect("running conntracer");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}{report:#}");
    assert!(stderr.is_empty(), "{stderr}");
    assert_eq!(report["passed"], true);

    let test = &report["self_test"];
    assert_eq!(test["verdict"], "ok", "{test:#}");
    assert_eq!(test["place"], "a network namespace of its own");
    let comparisons = list(test, "comparisons");
    for what in [
        "connects",
        "accepts",
        "closed clients",
        "closed servers",
        "process that connected",
        "process that accepted",
        "bytes sent by the client",
        "bytes received by the client",
        "bytes sent by the server",
        "bytes received by the server",
    ] {
        let comparison = row(comparisons, "what", what);
        assert_eq!(comparison["expected"], comparison["seen"], "{what}");
        assert_ne!(comparison["expected"], 0, "{what}");
    }
    let used = report["choice"]["backend"].as_str().expect("a backend");
    assert!(backend().is_none_or(|backend| backend == used), "{used}");
    let programs = list(row(list(&report, "backends"), "backend", used), "programs");
    assert!(programs.len() >= 5, "{programs:#?}");
    let mut bytes_by_process = true;
    for program in programs {
        let attached = program["state"] == "attached";
        // Only what tracing can do without may be missing, and then it is said what for.
        let excused = program["lost"].is_string() && program["reason"].is_string();
        assert!(attached || excused, "{program:#}");
        bytes_by_process &= attached
            || program["lost"]
                .as_str()
                .is_none_or(|it| !it.contains("bytes"));
    }
    for comparison in comparisons {
        let what = comparison["what"].as_str().expect("a name");
        let unknown = !bytes_by_process && what.starts_with("bytes the ");
        let verdict = if unknown { "warning" } else { "ok" };
        assert_eq!(comparison["verdict"], verdict, "{comparison:#}");
    }
}

#[test]
fn a_trace_takes_the_backend_that_the_doctor_chose() {
    if !can_trace() {
        return;
    }
    let report = report(&doctor("auto"));
    let chosen = report["choice"]["backend"].as_str().expect("a backend");
    let (code, text) = run("--quiet --duration 10ms");
    assert_eq!(code, Some(0), "{text}");
    let expected = backend().unwrap_or_else(|| chosen.to_owned());
    assert!(
        text.contains(&format!("ready: backend {expected},")),
        "{text}"
    );
}

#[test]
fn the_self_test_of_a_backend_passes_exactly_where_it_can_be_used() {
    if !can_trace() {
        return;
    }
    for name in ["fentry", "kprobe", "tracepoint"] {
        let output = doctor(name);
        let report = report(&output);
        let backend = row(list(&report, "backends"), "backend", name);
        let usable = backend["usable"] == "yes";
        let code = i32::from(!usable);
        assert_eq!(output.status.code(), Some(code), "{report:#}");
        assert_eq!(report["passed"], usable, "{name}");
        if !usable {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let reason = backend["reason"].as_str().expect("a reason");
            assert!(stderr.contains(name) && stderr.contains(reason), "{stderr}");
        }
    }
}

#[test]
fn the_table_says_what_is_not_counted_here() {
    if !can_trace() {
        return;
    }
    let output = Tracer::command("doctor")
        .output()
        .expect("running conntracer");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let line = |words: &str| {
        let line = text.lines().find(|line| line.contains(words));
        line.unwrap_or_else(|| panic!("no {words}: {text}")).trim()
    };
    assert!(line("traffic forwarded or NATed").starts_with("no "));
    assert!(line("accepts, with their process").starts_with("yes ") || text.contains("partly"));
    assert!(line("bytes sent by the client").starts_with("ok "));
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn without_rights_it_says_which_are_missing_and_what_can_be_known() {
    if !can_trace() {
        return;
    }
    let (_directory, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let output = Command::new(copy)
        .args(["doctor", "--format", "json"])
        .uid(65_534)
        .gid(65_534)
        .output()
        .expect("running it");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("CAP_BPF and CAP_PERFMON"), "{stderr}");
    let report = report(&output);
    assert_eq!(report["passed"], false);
    let machine = list(&report, "machine");
    let capabilities = row(machine, "check", "capabilities");
    assert_eq!(capabilities["verdict"], "failed");
    let advice = capabilities["advice"].as_str().expect("advice");
    assert!(
        advice.contains("CAP_BPF") && advice.contains("sudo"),
        "{advice}"
    );
    assert_eq!(row(machine, "check", "type information")["verdict"], "ok");
    for backend in list(&report, "backends") {
        assert_eq!(backend["usable"], "unknown", "{backend:#}");
        let programs = list(backend, "programs");
        assert!(!programs.is_empty(), "{backend:#}");
        assert!(programs.iter().all(|it| it["state"] == "not_tried"));
    }
    let forwarded = "traffic forwarded or NATed by this host";
    assert_eq!(
        row(list(&report, "counted"), "what", forwarded)["counted"],
        "no"
    );
}
