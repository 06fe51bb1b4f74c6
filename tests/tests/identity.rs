//! Who a process is: right also for one that is gone at once.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::Value;
use tempfile::TempDir;
use tests::compare::{assert_equal, finals};
use tests::generator::Workload;
use tests::harness::{Running, can_trace, program};
use tests::namespace::Namespace;
use tests::schema::closed;
use tests::tracer::{Finished, Tracer, parse_lines};
use tests::truth::{End, Truth};
use tests::workload::{LEADER, THREAD};

const SCHEMA: &str = include_str!("../../docs/record.schema.json");

/// Checks the records against the schema.
fn assert_described(finished: &Finished) {
    let schema = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&closed(schema)).expect("a valid schema");
    for record in &finished.records {
        if let Err(error) = validator.validate(record) {
            panic!("{error}: {record}");
        }
    }
}

/// Bytes of a command line that the kernel side tells at most.
const TOLD: usize = 1023;

/// The workload's path, as the kernel knows it.
fn workload() -> String {
    let path = program("CONNTRACER_WORKLOAD", "workload");
    let path = fs::canonicalize(path).expect("the workload's path");
    path.into_os_string()
        .into_string()
        .expect("a path that is text")
}

/// The final record of the end that connected. In a long run a port is used again, by another process.
fn record_of<'a>(finished: &'a Finished, end: &End) -> &'a Value {
    let port = Value::from(end.local.port());
    let owner = Value::from(end.owner_pid);
    let mut finals = finals(finished).into_iter();
    let found = finals.find(|record| {
        let process = &record["process"];
        record["direction"] == "outbound"
            && record["local"]["port"] == port
            && (process["pid"] == owner || process["ns_pid"] == owner)
    });
    found.unwrap_or_else(|| panic!("no record of {end:?}"))
}

fn command(record: &Value) -> Vec<&str> {
    let command = record["process"]["command"].as_array();
    let command = command.unwrap_or_else(|| panic!("no command line: {record}"));
    let text = |argument: &'_ Value| argument.as_str().map(str::to_owned);
    assert!(
        command.iter().all(|argument| text(argument).is_some()),
        "{record}"
    );
    command.iter().filter_map(Value::as_str).collect()
}

/// Which number of program is which process, and their parent.
fn numbers(truth: &Truth) -> (HashMap<u32, u32>, u32) {
    let mut parent = None;
    let mut numbers = HashMap::new();
    for member in &truth.members {
        if let Ok(number) = member.duty.parse::<u32>() {
            numbers.insert(member.pid, number);
        } else {
            parent = Some(member.pid);
        }
    }
    (numbers, parent.expect("the parent names itself"))
}

#[test]
fn five_hundred_programs_that_connect_once_are_known_by_pid_program_and_command_line() {
    const GROW: usize = 3;
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let began = jiff::Timestamp::now();
    let line = format!("exec-connect --connections 500 --grow {GROW}");
    let truth = Workload::run(&namespace, &line);
    let ended = jiff::Timestamp::now();
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    let (numbers, parent) = numbers(&truth);
    assert_eq!((truth.clients.len(), numbers.len()), (500, 500));
    let (exe, root) = (workload(), passwd(0));
    let mut whole = 0;
    for end in &truth.clients {
        let number = numbers[&end.owner_pid.expect("an owner")];
        let record = record_of(&finished, end);
        let process = &record["process"];
        let argument = "x".repeat(number as usize * GROW);
        let (remote, number) = (end.remote.to_string(), number.to_string());
        let rest = [
            "exec-connect-child",
            "--remote",
            &remote,
            "--number",
            &number,
            "--",
            &argument,
        ];
        let expected: Vec<&str> = std::iter::once(&*exe).chain(rest).collect();
        let length: usize = expected.iter().map(|argument| argument.len() + 1).sum();
        if process["command_cut"].is_null() {
            assert_eq!(command(record), expected, "{record}");
            whole += 1;
        } else {
            assert!(length > TOLD, "{record}");
            let told = command(record).join(" ");
            assert_eq!(told, expected.join(" ")[..TOLD], "{record}");
        }
        assert_eq!(process["exe"], exe.as_str());
        assert_eq!(process["name"], "workload");
        assert_eq!(process["user"].as_str(), root.as_deref());
        assert_eq!(process["parent"]["pid"], parent, "{record}");
        assert_eq!(process["parent"]["name"], "workload");
        assert_eq!(process["ns_pid"], Value::Null);
        let started = process["started"].as_str().expect("a start");
        let started: jiff::Timestamp = started.parse().expect("a time");
        let second = jiff::SignedDuration::from_secs(1);
        assert!(
            began - second < started && started < ended + second,
            "{began} {record} {ended}"
        );
    }
    assert!(whole >= 250, "{whole}");
    let rows = finished.summary["processes"].as_array().expect("a table");
    let known = rows
        .iter()
        .filter(|row| row["exe"] == exe.as_str() && row["user"].as_str() == root.as_deref());
    assert_eq!(known.count(), 501, "{}", finished.summary);
}

#[test]
fn every_record_of_a_process_says_who_it_is() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "--events io");
    Workload::run(&namespace, "exec-connect --connections 3");
    let finished = tracer.stop().lossless();
    let exe = workload();
    let mut records = finished.records.iter();
    let owned = records
        .by_ref()
        .filter(|record| !record["process"].is_null());
    for record in owned {
        assert_eq!(record["process"]["exe"], exe.as_str(), "{record}");
        assert!(command(record).len() >= 2, "{record}");
    }
}

#[test]
fn children_that_execute_nothing_are_what_their_parent_is() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    // All with one process id.
    let truth = Workload::run(&namespace, "same-pid --connections 5");
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    let exe = workload();
    let mut starts = BTreeSet::new();
    for record in finals(&finished) {
        let process = &record["process"];
        assert_eq!(process["exe"], exe.as_str());
        assert_eq!(command(record)[1..], ["same-pid", "--connections", "5"]);
        assert_eq!(process["parent"]["name"], "workload");
        starts.insert(process["started"].to_string());
    }
    assert_eq!(starts.len(), 5, "one each");
}

#[test]
fn a_connection_belongs_to_the_program_that_began_it() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    Workload::run(&namespace, "exec --connections 2");
    let finished = tracer.stop().lossless();
    for record in finals(&finished) {
        assert_eq!(command(record)[1], "exec-first", "{record}");
    }
}

#[test]
fn a_process_has_its_leaders_name_whatever_that_of_the_thread_that_connects() {
    if !can_trace() {
        return;
    }
    let (leader, thread) = (text(LEADER), text(THREAD));
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let by_leader = Tracer::start(&namespace, &format!("--comm {leader}"));
    let by_thread = Tracer::start(&namespace, &format!("--comm {thread}"));
    let truth = Workload::run(&namespace, "threads");
    let tid = truth.pids("thread")[0];
    for finished in [tracer, by_leader].map(|tracer| tracer.stop().lossless()) {
        assert_equal(&finished, truth.ends());
        let finals = finals(&finished);
        assert_eq!(finals.len(), 2);
        for record in finals {
            let process = &record["process"];
            assert_eq!(process["name"], leader, "{record}");
            assert_eq!(process["thread"], thread, "{record}");
            assert_eq!(process["tid"], tid, "{record}");
            assert_ne!(process["pid"], tid, "{record}");
            assert_eq!(record["closer"]["name"], leader, "{record}");
        }
        let rows = finished.summary["processes"].as_array().expect("a table");
        let names: Vec<_> = rows.iter().map(|row| &row["name"]).collect();
        assert_eq!(names, [leader]);
    }
    let finished = by_thread.stop().lossless();
    assert!(finished.records.is_empty(), "{:?}", finished.records);
}

fn text(name: &'static CStr) -> &'static str {
    name.to_str().expect("a name in UTF-8")
}

#[test]
fn another_user_is_called_by_name() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, "churn --connections 60 --client-uid 65534");
    let finished = tracer.stop().lossless();
    let mut others = 0;
    for end in &truth.clients {
        let record = record_of(&finished, end);
        let uid = end.owner_uid.expect("an owner");
        others += u32::from(uid != 0);
        let name = passwd(uid);
        assert_eq!(
            record["process"]["user"].as_str(),
            name.as_deref(),
            "{record}"
        );
    }
    assert!(others > 0);
}

/// The user's name on this machine.
fn passwd(uid: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut entries = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entries.find(|fields| fields.get(2) == Some(&&*uid.to_string()))?;
    Some(entry[0].to_owned())
}

#[test]
fn a_process_in_its_own_pid_namespace_has_its_number_there() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let mut inside = namespace.run(|| {
        // SAFETY: only children of this thread are concerned, which ends at once.
        unsafe { unshare_unsafe(UnshareFlags::NEWPID) }.expect("making a pid namespace");
        let mut command = Command::new(workload());
        command.args(["exec-connect", "--connections", "3"]);
        Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))
    });
    let outside = inside.pid();
    let mut stdout = inside.child().stdout.take().expect("a pipe");
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut stdout, &mut said).expect("what the workload says");
    assert!(inside.wait().is_some_and(|status| status.success()));
    namespace.wait_for_goodbyes();
    let mut truth = Truth::default();
    for line in parse_lines(&said) {
        truth.add(serde_json::from_value(line).expect("a line of a workload"));
    }
    let finished = tracer.stop().lossless();
    assert_eq!(truth.clients.len(), 3);
    for end in &truth.clients {
        let process = &record_of(&finished, end)["process"];
        let within = end.owner_pid.expect("an owner");
        assert_eq!(process["ns_pid"], within, "{process}");
        assert_ne!(process["pid"], within, "{process}");
        assert_eq!(process["parent"]["pid"], outside, "{process}");
    }
    assert_described(&finished);
    let finals = finals(&finished);
    let mut accepted = finals
        .iter()
        .filter(|record| record["direction"] == "inbound");
    let process = &accepted.next().expect("an accepted end")["process"];
    assert_eq!(process["pid"], outside);
    assert_eq!(process["ns_pid"], 1);
}

/// Where cgroups of version 2 are, mounted for the test if they are nowhere.
struct Cgroups {
    path: PathBuf,
    own: Option<TempDir>,
    made: Vec<PathBuf>,
}

impl Cgroups {
    fn find() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
        let mut mounts = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let found = mounts.find(|fields| fields[2] == "cgroup2");
        let made = Vec::new();
        if let Some(fields) = found {
            let path = fields[1].into();
            return Self {
                path,
                own: None,
                made,
            };
        }
        let own = TempDir::new().expect("a temporary directory");
        mount("none", own.path(), "cgroup2", MountFlags::empty(), None).expect("mounting cgroup2");
        Self {
            path: own.path().to_owned(),
            own: Some(own),
            made,
        }
    }

    /// Makes the cgroups on the way to `path`.
    fn make(&mut self, path: &str) -> PathBuf {
        let mut place = self.path.clone();
        for component in path.split('/') {
            place.push(component);
            if fs::create_dir(&place).is_ok() {
                self.made.push(place.clone());
            }
        }
        place
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for made in self.made.iter().rev() {
            // There may still be a process of a failed test in it.
            let _ = fs::remove_dir(made);
        }
        if let Some(own) = &self.own {
            let _ = unmount(own.path(), UnmountFlags::DETACH);
        }
    }
}

#[test]
fn unit_container_and_pod_are_those_of_the_cgroup() {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "7b2a3c4d_0001_4002_8003_123456789abc";
    if !can_trace() {
        return;
    }
    let mut cgroups = Cgroups::find();
    let slice = format!("conntracer-{}.slice", std::process::id());
    let pod = format!("{slice}/kubepods.slice/kubepods-pod{POD}.slice");
    let cases = [
        (format!("{slice}/docker-{ID}.scope"), "docker", None),
        (
            format!("{pod}/cri-containerd-{ID}.scope"),
            "containerd",
            Some(POD.replace('_', "-")),
        ),
        (
            format!("{pod}/crio-{ID}.scope"),
            "cri-o",
            Some(POD.replace('_', "-")),
        ),
        (format!("{slice}/libpod-{ID}.scope"), "podman", None),
    ];
    for (path, runtime, pod) in cases {
        let place = cgroups.make(&path);
        let unit = path.rsplit('/').next().expect("a component");
        let namespace = Namespace::new();
        let tracer = Tracer::start(&namespace, "");
        let mut churn = Workload::start(&namespace, "churn --connections 60 --gate");
        for member in &churn.ready().members {
            let procs = place.join("cgroup.procs");
            fs::write(procs, member.pid.to_string()).expect("moving a process");
        }
        churn.go();
        let truth = churn.finish();
        let finished = tracer.stop().lossless();
        assert_equal(&finished, truth.ends());
        assert_described(&finished);
        let finals = finals(&finished);
        let owned = finals.iter().filter(|record| !record["process"].is_null());
        for record in owned {
            let process = &record["process"];
            assert_eq!(process["container"]["id"], ID, "{record}");
            assert_eq!(process["container"]["runtime"], runtime);
            assert_eq!(process["pod_uid"].as_str(), pod.as_deref());
            assert_eq!(process["unit"], unit);
            assert_eq!(record["cgroup"]["path"], format!("/{path}"), "{record}");
        }
        let rows = finished.summary["processes"].as_array().expect("a table");
        let known = |row: &&Value| row["container"]["id"] == ID && row["unit"] == unit;
        assert!(rows.iter().any(|row| known(&row)), "{}", finished.summary);
    }
}

/// Arguments that try to break what prints them, and how they are told.
const HOSTILE: [(&[u8], &str); 8] = [
    (b"", ""),
    (b"two\nlines\r\t", r"two\nlines\r\t"),
    (b"\x1b[31mred\x1b]0;x\x07", r"\x1b[31mred\x1b]0;x\x07"),
    (b"\xff\xfe\x80bad", r"\xff\xfe\x80bad"),
    (b"\",\"pid\":0,\"x\":\"", "\",\"pid\":0,\"x\":\""),
    (b"back\\slash\\n", r"back\\slash\\n"),
    (
        "\u{202e}txt.exe\u{2028}".as_bytes(),
        r"\u{202e}txt.exe\u{2028}",
    ),
    (b"\x7f\x01 blank ", r"\x7f\x01 blank "),
];

fn hostile(padding: usize) -> String {
    let arguments = HOSTILE.iter().map(|(argument, _)| {
        let digits = argument.iter().map(|byte| format!("{byte:02x}"));
        format!(" --argument={}", digits.collect::<String>())
    });
    let arguments = arguments.collect::<String>();
    format!("exec-connect --connections 2 --padding {padding}{arguments}")
}

fn assert_harmless(text: &[u8]) {
    let text = std::str::from_utf8(text).expect("UTF-8");
    let acts = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}');
    assert!(text.lines().all(|line| !line.contains(acts)), "{text:?}");
}

#[test]
fn no_argument_breaks_a_json_line() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, &hostile(0));
    let finished = tracer.stop().lossless();
    assert_harmless(&finished.stdout);
    assert_equal(&finished, truth.ends());
    for end in &truth.clients {
        let record = record_of(&finished, end);
        assert_eq!(
            command(record)[8..],
            HOSTILE.map(|(_, told)| told),
            "{record}"
        );
        assert_eq!(record["process"]["command_cut"], Value::Null);
    }
}

#[test]
fn no_argument_breaks_a_live_line() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start_as(Tracer::command(&format!("--netns {}", namespace.inode())));
    Workload::run(&namespace, &hostile(0));
    let finished = tracer.stop().lossless();
    assert_harmless(&finished.stdout);
    assert!(!finished.stdout.is_empty());
}

#[test]
fn a_very_long_argument_is_cut() {
    if !can_trace() {
        return;
    }
    let namespace = Namespace::new();
    let tracer = Tracer::start(&namespace, "");
    let truth = Workload::run(&namespace, &hostile(100_000));
    let finished = tracer.stop().lossless();
    assert_equal(&finished, truth.ends());
    for end in &truth.clients {
        let record = record_of(&finished, end);
        assert_described(&finished);
        let length = command(record).concat().len();
        assert_eq!(record["process"]["command_cut"], true);
        assert!((900..=4096).contains(&length), "{length}: {record}");
    }
}
