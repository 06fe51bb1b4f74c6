//! `--output` and `--summary` files: private, never somebody else's, and clear when they fail.

use std::fs::{File, read_to_string};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tests::generator::Workload;
use tests::harness::can_trace;
use tests::namespace::Namespace;
use tests::tables::{assert_sums, assert_tables};
use tests::tracer::{Tracer, parse_lines, run};

#[test]
fn a_full_disk_fails_the_run_and_the_tables_still_come() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--output /dev/full");
    Workload::run(&namespace, "echo");
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("/dev/full"), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("No space left"),
        "{}",
        finished.stderr
    );
    assert_tables(&finished.stderr);
    assert!(assert_sums(&finished.summary)[1] > 0);
}

#[test]
fn a_full_standard_output_fails_the_run_and_the_tables_still_come() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let mut command = Tracer::command(&format!("--format json --netns {}", namespace.inode()));
    command.stdout(
        File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full"),
    );
    let tracer = Tracer::start_with_own_output(command);
    Workload::run(&namespace, "echo");
    let finished = tracer.stop();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("No space left"),
        "{}",
        finished.stderr
    );
    assert_tables(&finished.stderr);
}

#[test]
fn a_summary_that_cannot_be_written_fails_the_run() {
    if !can_trace() {
        return;
    }
    let (code, text) = run("--quiet --duration 1 --summary /dev/full");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("/dev/full"), "{text}");
}

#[test]
fn an_output_file_is_private_and_appended_to() {
    if !can_trace() {
        return;
    }
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("records.jsonl");
    let options = format!("--output {}", path.display());
    for _ in 0..2 {
        let namespace = Namespace::new();
        let tracer = Tracer::start(&namespace, &options);
        Workload::run(&namespace, "echo");
        let finished = tracer.stop().lossless();
        assert!(finished.stdout.is_empty(), "records go to the file only");
    }
    let text = read_to_string(&path).expect("the output file");
    let closes = parse_lines(text.as_bytes())
        .into_iter()
        .filter(|r| r["event"] == "close");
    assert_eq!(closes.count(), 40);
    let mode = path
        .metadata()
        .expect("the output file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_output_file_has_one_writer() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("records.jsonl");
    let options = format!("--output {}", path.display());
    let tracer = Tracer::start(&namespace, &options);
    let (code, text) = run(&options);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&*path.to_string_lossy()), "{text}");
    Workload::run(&namespace, "echo");
    let finished = tracer.stop().lossless();
    assert!(finished.stdout.is_empty());
    assert!(
        path.metadata().expect("the output file").len() > 0,
        "the first writer goes on"
    );
}

#[test]
fn unsafe_and_impossible_output_files_are_refused() {
    if !can_trace() {
        return;
    }
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    File::create(path("target")).expect("a file");
    symlink(path("target"), path("link")).expect("a symbolic link");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path("fifo"), kind, mode, 0).expect("a FIFO");
    for name in ["link", "fifo", "no/such/folder", "."] {
        for flag in ["--output", "--summary"] {
            let (code, text) = run(&format!("{flag} {}", path(name).display()));
            assert_eq!(code, Some(1), "{flag} {name}: {text}");
            assert!(
                text.contains(&*path(name).to_string_lossy()),
                "{flag} {name}: {text}"
            );
        }
    }
    assert_eq!(path("target").metadata().expect("the target").len(), 0);
}
