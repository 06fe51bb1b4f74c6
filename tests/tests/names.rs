//! Process names with bytes that could break a line, a terminal or a parser.

use tests::compare::{assert_equal, finals};
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tracer::Tracer;

const NAMES: [&[u8]; 12] = [
    b"plain",
    b"two\nlines",
    b"\r\x08\x08tab\t",
    b"\x1b[31mred\x1b]0;x\x07",
    b"\xff\xfe\x80bad",
    b"\",\"pid\":0,\"x\":\"",
    b"back\\slash\\n",
    "\u{9b}31m".as_bytes(),
    "\u{202e}txt.exe".as_bytes(),
    "\u{2028}line".as_bytes(),
    b"\x7fdelete\x01",
    b"cut \xe2\x82",
];

fn scenario() -> String {
    let names = NAMES.iter().map(|name| {
        let digits = name.iter().map(|byte| format!("{byte:02x}"));
        format!(" --name {}", digits.collect::<String>())
    });
    format!("named{}", names.collect::<String>())
}

/// Characters that act on a terminal or reorder a line.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn assert_harmless(text: &[u8], what: &str) {
    let text = std::str::from_utf8(text).unwrap_or_else(|error| panic!("{what}: {error}"));
    for line in text.lines() {
        assert!(!line.contains(acts), "{what}: {line:?}");
    }
}

#[test]
fn no_name_breaks_a_json_line() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, &scenario());
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    assert_harmless(&finished.stdout, "records");
    assert_harmless(finished.stderr.as_bytes(), "tables");
    assert_harmless(finished.summary.to_string().as_bytes(), "summary file");
    let name_of = |pid: Option<u32>| {
        let mut records = finals(&finished).into_iter();
        let found = records.find(|record| record["process"]["pid"].as_u64() == pid.map(u64::from));
        found.expect("a record of the process")["process"]["name"]
            .as_str()
            .expect("a name")
    };
    let names: Vec<_> = truth
        .clients
        .iter()
        .map(|end| name_of(end.owner_pid))
        .collect();
    assert_eq!(names[0], "plain");
    let different: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(
        different.len(),
        NAMES.len(),
        "escaped names stay different: {names:?}"
    );
    for name in names {
        assert!(
            !name.contains(acts),
            "a decoded name acts on a terminal: {name:?}"
        );
    }
}

#[test]
fn no_name_breaks_a_live_line() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start_as(Tracer::command(&format!("--netns {}", namespace.inode())));
    Workload::run(&namespace, &scenario());
    let finished = tracer.stop().lossless();
    assert_harmless(&finished.stdout, "live lines and tables");
    assert!(!finished.stdout.is_empty());
}
