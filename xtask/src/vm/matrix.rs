//! The matrix: what is claimed of each kernel with each backend, and the tests that prove it.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{arch::Arch, console::Console, kernel::Release};

/// The tracer's backends, the preferred one first.
pub(crate) const BACKENDS: [&str; 3] = ["fentry", "kprobe", "tracepoint"];
/// No VM takes as long, also on a slow machine. One that hangs says nothing, and is ended earlier.
pub(crate) const LIMIT: Duration = Duration::from_mins(40);

/// What is exact.
pub(crate) struct Claim {
    /// Head of its column.
    pub(crate) title: &'static str,
    pub(crate) meaning: &'static str,
    /// What the table says where all its tests pass.
    pub(crate) proven: &'static str,
    /// The same where bytes are not known by process.
    pub(crate) in_total: &'static str,
    /// Full names of the tests that prove it.
    pub(crate) tests: &'static [&'static str],
}

/// Every kernel has to prove all of them with every backend.
pub(crate) const CLAIMS: [Claim; 12] = [
    Claim {
        title: "10,000 ends",
        meaning: "addresses, process, times, ending and bytes of both ends of 5,000 churning \
                  connections with twelve kinds of ending",
        proven: "exact",
        in_total: "exact, bytes in total",
        tests: &["all_of_ten_thousand_ends_are_exact"],
    },
    Claim {
        title: "bytes",
        meaning: "bytes by process, on every way to send and receive",
        proven: "exact",
        in_total: "exact in total",
        tests: &["every_path_is_as_exact_as_the_list_says"],
    },
    Claim {
        title: "processes",
        meaning: "who connected or accepted, who moved bytes and who closed are told apart",
        proven: "exact",
        in_total: "exact, but for who moved bytes",
        tests: &[
            "the_acceptor_owns_what_its_child_serves_and_closes",
            "the_connecting_process_owns_what_its_child_uses_and_closes",
            "bytes_are_split_between_acceptor_and_worker",
        ],
    },
    Claim {
        title: "blocked tasks",
        meaning: "1,024 tasks that wait in accept, in receive or in send since before the start: \
                  each accept has its process, and bytes are theirs",
        proven: "exact",
        in_total: "exact, bytes in total",
        tests: &[
            "tasks_blocked_in_accept_before_the_start_are_all_seen",
            "bytes_for_a_thousand_tasks_blocked_in_receive_are_theirs",
            "bytes_of_a_thousand_tasks_blocked_in_send_are_theirs",
        ],
    },
    Claim {
        title: "older",
        meaning: "connections from before the start: what they carried before and since, and whose \
                  they are",
        proven: "exact",
        in_total: "exact, bytes in total",
        tests: &["what_older_connections_carry_is_split_into_before_and_since"],
    },
    Claim {
        title: "failed",
        meaning: "attempts without a connection, with the reason, and connections that nobody \
                  accepts",
        proven: "exact",
        in_total: "exact",
        tests: &[
            "a_refused_attempt_is_one_failed_record",
            "unreachable_at_once_is_one_failed_record",
            "an_orderly_connection_is_never_failed",
            "a_connection_that_nobody_accepts_has_no_owner",
        ],
    },
    Claim {
        title: "loss",
        meaning: "with a ring of one page nothing is lost, and what finds no room in a table of \
                  eight connections is counted, with every byte",
        proven: "exact",
        in_total: "exact",
        tests: &[
            "totals_are_exact_with_the_smallest_ring",
            "what_the_connection_table_has_no_room_for_is_counted",
        ],
    },
    Claim {
        title: "by socket",
        meaning: "with `--accounting socket`, which watches no call, open and older connections: \
                  bytes of each connection, for its owner",
        proven: "exact",
        in_total: "exact",
        tests: &[
            "what_open_connections_carry_is_sampled_and_told_at_the_end",
            "the_same_by_the_counters_of_each_socket",
        ],
    },
    Claim {
        title: "short-lived",
        meaning: "children of a traced command that execute programs, connect once and end: each \
                  has its process id, and nobody else is counted; and records have the program \
                  and the command line",
        proven: "exact",
        in_total: "exact",
        tests: &[
            "children_that_execute_programs_are_followed",
            "every_record_of_a_process_says_who_it_is",
        ],
    },
    Claim {
        title: "chosen",
        meaning: "traffic chosen in the kernel by networks, by name of process and by cgroup",
        proven: "exact",
        in_total: "exact",
        tests: &[
            "ipv4_on_an_ipv6_socket_is_chosen_as_ipv4",
            "a_name_that_was_longer_before_is_no_other",
            "an_older_connection_is_chosen_by_the_cgroup_of_its_holder",
        ],
    },
    Claim {
        title: "wire",
        meaning: "with `--wire`, segments and bytes of older connections since the start, as a \
                  capture of them has",
        proven: "exact",
        in_total: "exact",
        tests: &["of_older_connections_only_what_came_since_the_start_counts"],
    },
    Claim {
        title: "self-test",
        meaning: "`conntracer doctor` attaches the backend, traces a connection of its own and \
                  sees what that did",
        proven: "passed",
        in_total: "passed, bytes in total",
        tests: &["the_doctor_sees_what_its_own_connection_did"],
    },
];

/// Where no hook sees the bytes of a call: tracepoints for them came with 6.3.
const BYTES_IN_TOTAL: [(Release, &str); 2] = [
    (Release::Bullseye, "tracepoint"),
    (Release::Bookworm, "tracepoint"),
];

/// Where a backend may refuse to attach. Linux before 6.4 has no trampolines on arm64.
const MAY_REFUSE: [(Arch, Release, &str); 1] = [(Arch::Aarch64, Release::Bookworm, "fentry")];

/// The kernels of the matrix: those with BTF.
pub(crate) fn releases(arch: Arch) -> &'static [Release] {
    match arch {
        Arch::X86_64 => &Release::ALL,
        Arch::Aarch64 => &[Release::Bookworm, Release::Trixie, Release::Sid],
    }
}

/// The arguments that make the test binaries run what the claims need.
pub(crate) fn filter() -> String {
    let tests = CLAIMS.iter().flat_map(|claim| claim.tests);
    let words: Vec<&str> = tests.copied().chain(["--exact"]).collect();
    words.join(" ")
}

/// What the tests say of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Proven,
    Failed,
    /// A test of it did not run to its end.
    Unknown,
}

/// One kernel with one backend.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) release: Release,
    /// Major and minor number of the kernel.
    pub(crate) linux: String,
    pub(crate) backend: String,
    /// By title; empty if the backend cannot be attached.
    pub(crate) claims: BTreeMap<&'static str, Verdict>,
    /// What is not counted, in the tracer's words.
    pub(crate) unseen: Vec<String>,
    /// Why the backend cannot be attached, in the tracer's words.
    pub(crate) refusal: Option<String>,
    /// Why the matrix fails.
    pub(crate) faults: Vec<String>,
}

impl Cell {
    /// What the console of a VM says of `backend`. `version` is that of Debian's package.
    pub(crate) fn new(
        arch: Arch,
        release: Release,
        version: &str,
        backend: &str,
        console: &Console,
    ) -> Self {
        let mut cell = Self {
            release,
            linux: version.split('.').take(2).collect::<Vec<_>>().join("."),
            backend: backend.to_owned(),
            claims: BTreeMap::new(),
            unseen: Vec::new(),
            refusal: None,
            faults: console.faults(),
        };
        match &console.tracer {
            None => cell.faults.push("the tracer did not run".to_owned()),
            Some((true, lines)) => cell.unseen = unseen(lines, backend),
            Some((false, lines)) => {
                let refusal = lines.join(" ");
                if !MAY_REFUSE.contains(&(arch, release, backend)) {
                    cell.faults.push(format!("the tracer failed: {refusal}"));
                }
                let own = format!("error: backend {backend} cannot be used here: ");
                let reasons = refusal.strip_prefix(&own).unwrap_or(&refusal);
                cell.refusal = Some(reasons.to_owned());
                return cell;
            }
        }
        for claim in &CLAIMS {
            let verdict = verdict(claim, console);
            if verdict == Verdict::Unknown {
                let fault = format!("`{}` is not proven: not all its tests ran", claim.title);
                cell.faults.push(fault);
            }
            cell.claims.insert(claim.title, verdict);
        }
        cell
    }

    /// What the table says of a claim that all its tests prove.
    pub(crate) fn proven(&self, claim: &Claim) -> &'static str {
        if BYTES_IN_TOTAL.contains(&(self.release, &*self.backend)) {
            claim.in_total
        } else {
            claim.proven
        }
    }

    /// Whether something was not tested that should have been.
    pub(crate) fn is_unknown(&self) -> bool {
        self.claims
            .values()
            .any(|verdict| *verdict == Verdict::Unknown)
    }
}

fn verdict(claim: &Claim, console: &Console) -> Verdict {
    let among = |names: &[String], test: &str| {
        let mut names = names.iter().filter_map(|name| name.rsplit("::").next());
        names.any(|name| name == test)
    };
    let mut tests = claim.tests.iter();
    if tests.clone().any(|test| among(&console.failed, test)) {
        Verdict::Failed
    } else if tests.all(|test| among(&console.passed, test)) {
        Verdict::Proven
    } else {
        Verdict::Unknown
    }
}

/// All that the tracer notes before it is ready is about what it does not see.
fn unseen(lines: &[String], backend: &str) -> Vec<String> {
    let start = lines.iter().take_while(|line| !line.starts_with("ready:"));
    let notes = start.filter_map(|line| line.strip_prefix("note: "));
    let own = format!("backend {backend} does not see ");
    notes
        .map(|note| note.strip_prefix(&own).unwrap_or(note).to_owned())
        .collect()
}

/// Writes the cells for other programs.
pub(crate) fn write(cells: &[&Cell], path: &Path) -> Result<()> {
    let mut json = serde_json::to_string_pretty(cells)?;
    json.push('\n');
    fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn console(lines: &[&str]) -> Console {
        let mut console = Console::default();
        for line in lines {
            console.take(line);
        }
        console
    }

    fn cell(arch: Arch, console: &Console) -> Cell {
        Cell::new(arch, Release::Bookworm, "6.1.176-1", "fentry", console)
    }

    const READY: &str = r#"@vm {"tracer":{"well":true,"lines":["note: backend fentry does not see x","note: y","ready: z","note: late"]}}"#;
    const REFUSED: &str =
        r#"@vm {"tracer":{"well":false,"lines":["error: backend fentry cannot be used here: a"]}}"#;

    #[test]
    fn every_claim_has_its_tests() {
        let folder = workspace::root().unwrap().join("tests/tests");
        let files = fs::read_dir(folder).unwrap();
        let sources: String = files
            .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
            .collect();
        for test in CLAIMS.iter().flat_map(|claim| claim.tests) {
            assert!(
                sources.contains(&format!("\n#[test]\nfn {test}()")),
                "there is no test {test}"
            );
        }
    }

    #[test]
    fn the_backends_are_the_tracers() {
        let path = workspace::root()
            .unwrap()
            .join("tracer/src/bpf/programs.rs");
        let source = fs::read_to_string(path).unwrap();
        for backend in BACKENDS {
            assert!(source.contains(&format!("=> \"{backend}\"")), "{backend}");
        }
    }

    #[test]
    fn a_claim_holds_only_if_all_its_tests_passed() {
        let [ends, bytes, processes, ..] = &CLAIMS;
        let lines = [
            format!("test {} ... ok", ends.tests[0]),
            format!("test {} ... FAILED", bytes.tests[0]),
            format!("test {} ... ok", processes.tests[0]),
        ];
        let mut run = console(&[READY]);
        for line in &lines {
            run.take(line);
        }
        let cell = cell(Arch::X86_64, &run);
        assert_eq!(cell.claims[ends.title], Verdict::Proven);
        assert_eq!(cell.claims[bytes.title], Verdict::Failed);
        assert_eq!(cell.claims[processes.title], Verdict::Unknown);
        let unproven = |title| {
            let fault = format!("`{title}` is not proven");
            cell.faults.iter().any(|text| text.starts_with(&fault))
        };
        assert!(unproven(processes.title) && !unproven(ends.title) && !unproven(bytes.title));
        assert_eq!(cell.unseen, ["x", "y"]);
        assert_eq!(cell.linux, "6.1");
    }

    #[test]
    fn a_backend_may_refuse_only_where_that_is_known() {
        let run = console(&[REFUSED, "@vm \"done\""]);
        let known = cell(Arch::Aarch64, &run);
        assert_eq!(known.refusal.as_deref(), Some("a"));
        assert!(known.faults.is_empty());
        let unknown = cell(Arch::X86_64, &run);
        assert!(unknown.faults[0].contains("cannot be used here: a"));
    }

    #[test]
    fn a_tracer_that_said_nothing_is_a_fault() {
        let cell = cell(Arch::X86_64, &console(&[]));
        assert!(cell.faults.contains(&"the tracer did not run".to_owned()));
    }
}
