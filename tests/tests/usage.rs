//! Wrong command lines and missing rights: the exit code, and words that help.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use tests::harness::{can_trace, copy_for_everybody, program};
use tests::tracer::Tracer;

fn assert_refused(arguments: &[&str], code: i32, word: &str) -> String {
    let output = Tracer::command("")
        .args(arguments)
        .output()
        .expect("running conntracer");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(
        text.contains(word),
        "{arguments:?} does not mention {word}: {text}"
    );
    assert!(!text.contains("panicked"), "{text}");
    assert!(
        output.stdout.is_empty(),
        "{arguments:?} wrote to standard output"
    );
    text
}

#[test]
fn a_backend_that_cannot_be_had_is_refused_with_a_reason_for_each_hook() {
    if !can_trace() {
        return;
    }
    for (backend, hooks) in [
        ("fentry", ["fentry tcp_connect", "fentry release_sock"]),
        ("kprobe", ["kprobe tcp_connect", "kprobe release_sock"]),
    ] {
        let output = Command::new(program("CONNTRACER_BIN", "conntracer"))
            .args(["--backend", backend, "--duration", "10ms", "--quiet"])
            .output()
            .expect("running conntracer");
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert!(
                text.contains(&format!("ready: backend {backend}")),
                "{text}"
            );
        } else {
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(
                text.contains(&format!("backend {backend} cannot be used")),
                "{text}"
            );
            assert!(hooks.iter().all(|hook| text.contains(hook)), "{text}");
        }
    }
}

#[test]
fn a_wrong_value_is_named_with_its_flag() {
    for (flag, values) in [
        (
            "--port",
            &[
                "0", "65536", "-1", "abc", "", "90-80", "80,", "80-", "1.5", "80 81",
            ][..],
        ),
        ("--remote-port", &["0", "65536", "x", "2-1"]),
        ("--pid", &["0", "-1", "abc", "", "99999999999"]),
        ("--uid", &["-1", "abc", "", "99999999999"]),
        ("--family", &["ipv5", "", "4.0"]),
        ("--direction", &["sideways", ""]),
        (
            "--netns",
            &["abc", "-1", "/proc/self/ns/pid", "/no/such/file", ""],
        ),
        ("--duration", &["-1", "abc", "0", "", "1parsec"]),
        ("--format", &["xml", ""]),
        (
            "--ring-size",
            &["0", "-1", "abc", "4095", "5000", "12288", "99999999999999"],
        ),
        ("--max-connections", &["0", "-1", "abc", "99999999999"]),
        ("--max-rows", &["0", "-1", "abc", "99999999999"]),
        ("--ready-fd", &["-1", "abc", "987"]),
        ("--backend", &["uprobe", ""]),
        ("--accept-hooks", &["maybe", ""]),
        ("--events", &["everything"]),
        ("--output", &["", "-"]),
        ("--summary", &[""]),
    ] {
        for value in values {
            let text = assert_refused(&[flag, value], 2, flag);
            let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
            assert!(
                lines <= 6,
                "too long a message for {flag} {value:?}: {text}"
            );
        }
        assert_refused(&[flag], 2, flag);
    }
}

#[test]
fn an_unknown_flag_or_word_is_wrong_usage() {
    assert_refused(&["--nonsense"], 2, "--nonsense");
    assert_refused(&["extra"], 2, "extra");
    assert_refused(&["--port", "80", "extra"], 2, "extra");
}

#[test]
fn help_and_version_are_clean() {
    for flag in ["--help", "--version"] {
        let output = Tracer::command(flag).output().expect("running conntracer");
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{flag}"
        );
    }
}

#[test]
fn without_rights_the_missing_capability_is_named() {
    if !can_trace() {
        return;
    }
    let (_directory, copy) = copy_for_everybody("CONNTRACER_BIN", "conntracer");
    let mut command = std::process::Command::new(&copy);
    let output = command
        .uid(65_534)
        .gid(65_534)
        .output()
        .expect("running it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for capability in ["CAP_BPF", "CAP_PERFMON"] {
        assert!(text.contains(capability), "{text}");
    }
    assert!(text.contains("sudo"), "the cure is missing: {text}");
    assert!(
        !text.contains("panicked") && text.lines().count() <= 4,
        "{text}"
    );
}
