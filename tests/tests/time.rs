//! `--time`: what the TIME column of live lines shows.

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tests::compare::number;
use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::replay::{Folder, replay};
use tests::tracer::{Tracer, run};

/// The head and the lines of connections of a text.
fn live(text: &str) -> (&str, Vec<&str>) {
    let mut lines = text.lines();
    let head = lines.next().expect("a head");
    let is_line = |line: &&str| {
        ["accept ", "connect ", "close "]
            .iter()
            .any(|it| line.contains(it))
    };
    (
        head,
        lines
            .take_while(|line| !line.is_empty())
            .filter(is_line)
            .collect(),
    )
}

/// Nanoseconds, to the microsecond.
fn seconds(line: &str) -> i128 {
    let text = line.split_whitespace().next().expect("a time");
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').expect("seconds with a point");
    assert_eq!(part.len(), 6, "{line}");
    let us: i128 = format!("{whole}{part}").parse().expect("seconds");
    sign * us * 1_000
}

fn mono_ns() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

#[test]
fn live_lines_have_the_time_that_was_asked_for() {
    if !can_trace() {
        return;
    }
    for style in ["wall", "relative", "delta", "mono", "none"] {
        let namespace = Namespace::new();
        let line = format!("--netns {} --time {style}", namespace.inode());
        let began = mono_ns();
        let tracer = Tracer::start_as(Tracer::command(&line));
        Workload::run(&namespace, "echo --connections 3");
        let finished = tracer.stop().lossless();
        let ended = mono_ns();
        let text = String::from_utf8(finished.stdout).expect("lines are UTF-8");
        let (head, lines) = live(&text);
        assert_eq!(lines.len(), 12, "{text}");
        assert_eq!(
            head.trim_start().starts_with("TIME"),
            style != "none",
            "{head}"
        );
        let duration = i128::from(number(&finished.summary["duration_ns"]));
        for (index, line) in lines.iter().enumerate() {
            match style {
                "wall" => {
                    let time = line.split_whitespace().next().expect("a time");
                    assert_eq!(
                        (time.len(), &time[2..3], &time[8..9]),
                        (12, ":", "."),
                        "{line}"
                    );
                }
                "relative" => assert!((0..=duration).contains(&seconds(line)), "{line}"),
                "delta" => assert!(
                    seconds(line).abs() <= ended - began && (index > 0 || seconds(line) == 0),
                    "{line}"
                ),
                // Cut off to microseconds.
                "mono" => assert!((began - 1_000..=ended).contains(&seconds(line)), "{line}"),
                _ => assert!(line.starts_with(char::is_alphabetic), "{line}"),
            }
        }
    }
}

#[test]
fn a_replay_shows_the_same_times_as_its_records_have() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    Workload::run(&namespace, "echo --connections 3");
    let finished = tracer.stop().lossless();
    let folder = Folder::new();
    let file = folder.file("c.jsonl", &finished.stdout);
    let shown = ["established", "accept", "close"];
    let shown = finished.records.iter().filter(|record| {
        let event = record["event"].as_str();
        event.is_some_and(|event| shown.contains(&event))
    });
    let shown: Vec<&Value> = shown.collect();
    let mono: Vec<_> = shown
        .iter()
        .map(|it| i128::from(number(&it["mono_ns"])))
        .collect();
    let wall: Vec<_> = shown.iter().map(|it| wall_ns(&it["time"])).collect();
    let text = |style: &str| {
        replay(&format!("--format live --time {style}"), &[&file])
            .clean()
            .stdout
    };
    let times = |style: &str| {
        live(&text(style))
            .1
            .into_iter()
            .map(seconds)
            .collect::<Vec<_>>()
    };
    let cut = |ns: i128| ns / 1_000 * 1_000;
    assert_eq!(
        times("mono"),
        mono.iter().map(|ns| cut(*ns)).collect::<Vec<_>>()
    );
    let since_first: Vec<_> = wall.iter().map(|ns| cut(ns - wall[0])).collect();
    assert_eq!(times("relative"), since_first);
    let before = std::iter::once(&wall[0]).chain(&wall);
    let deltas: Vec<_> = wall
        .iter()
        .zip(before)
        .map(|(ns, before)| cut(ns - before))
        .collect();
    assert_eq!(times("delta"), deltas);
    assert!(live(&text("none")).0.starts_with("EVENT"));
}

fn wall_ns(time: &Value) -> i128 {
    let time: jiff::Timestamp = time.as_str().expect("a time").parse().expect("RFC 3339");
    time.as_nanosecond()
}

#[test]
fn json_has_no_such_column() {
    let (code, text) = run("--format json --time delta");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("mono_ns"), "{text}");
}
