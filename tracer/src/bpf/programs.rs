//! The programs as a table of data.

use tracer_common::config::feature;

use super::btf::Kind;
use super::kernel::Traits;

/// A way to attach: which hooks tell of attempts, accepts and bytes. The life cycle comes from the
/// same two tracepoints in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Trampolines at the entry of kernel functions.
    Fentry,
    /// Breakpoints at the entry of kernel functions.
    Kprobe,
    /// Tracepoints only: works everywhere.
    Tracepoint,
}

impl Backend {
    /// In the order of preference: each costs more, or sees less, than the one before.
    pub const ALL: [Self; 3] = [Self::Fentry, Self::Kprobe, Self::Tracepoint];

    /// The name in options and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// Bits of [`feature`] that its hooks need.
    pub const fn features(self) -> u32 {
        match self {
            Self::Fentry | Self::Kprobe => feature::CONNECT_HOOK | feature::SETTLE,
            Self::Tracepoint => 0,
        }
    }

    /// Whether it has programs that may not use maps which allocate, before 6.1: the kernel warns
    /// about them, and with `PREEMPT_RT` refuses them.
    pub const fn wants_preallocation(self) -> bool {
        matches!(self, Self::Kprobe | Self::Tracepoint)
    }

    /// What it does not see, beside what none sees.
    pub const fn blind_to(self) -> &'static str {
        match self {
            Self::Fentry | Self::Kprobe => "bytes of kTLS before encryption",
            Self::Tracepoint => "which process spliced or mapped bytes out of a socket",
        }
    }
}

/// Where the bytes of a connection come from, and who gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounting {
    /// From every call that moves bytes: the process that made it gets them.
    Process,
    /// From the kernel's own counters of the socket, with no program where bytes move: the process
    /// that connected or accepted gets them.
    Socket,
}

impl Accounting {
    /// The name in options and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Socket => "socket",
        }
    }

    /// Of the bits of [`feature`] that go with backend and kernel, those that count here, and its
    /// own.
    pub const fn features(self, found: u32) -> u32 {
        match self {
            Self::Process => found,
            Self::Socket => found & !feature::WATCH_CALLS | feature::SOCKET,
        }
    }

    /// What it does not see with `backend`, beside what none sees.
    pub const fn blind_to(self, backend: Backend) -> &'static str {
        match self {
            Self::Process => backend.blind_to(),
            Self::Socket => {
                "which process moved bytes (the one that connected or accepted gets them), bytes of \
                 kTLS before encryption, and of MPTCP more than the first subflow"
            }
        }
    }
}

/// How a program meets the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A typed tracepoint: needs BTF, no tracefs.
    BtfTracepoint(&'static str),
    /// Classic tracepoints of one category: need tracefs and `perf_event_open`.
    Tracepoints(&'static str, &'static [&'static str]),
    /// A trampoline at a function's entry.
    Fentry(&'static str),
    /// A trampoline at a function's return.
    Fexit(&'static str),
    /// A breakpoint at the entry of each of these functions.
    Kprobe(&'static [&'static str]),
    /// The same at their return.
    Kretprobe(&'static [&'static str]),
    /// Called for every object of a kind, when someone reads.
    Iterator(&'static str),
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BtfTracepoint(event) => write!(f, "tracepoint {event}"),
            Self::Tracepoints(category, events) => {
                write!(f, "tracepoints {category}:{}", events.join(","))
            }
            Self::Fentry(function) => write!(f, "fentry {function}"),
            Self::Fexit(function) => write!(f, "fexit {function}"),
            Self::Kprobe(functions) => write!(f, "kprobe {}", functions.join(",")),
            Self::Kretprobe(functions) => write!(f, "kretprobe {}", functions.join(",")),
            Self::Iterator(objects) => write!(f, "iterator {objects}"),
        }
    }
}

impl Hook {
    /// The type of the kernel that stands for it; classic hooks have none.
    fn ty(self) -> Option<(Kind, String)> {
        match self {
            Self::BtfTracepoint(event) => Some((Kind::Typedef, format!("btf_trace_{event}"))),
            Self::Fentry(function) | Self::Fexit(function) => {
                Some((Kind::Function, function.to_owned()))
            }
            Self::Iterator(objects) => Some((Kind::Function, format!("bpf_iter_{objects}"))),
            Self::Tracepoints(..) | Self::Kprobe(_) | Self::Kretprobe(_) => None,
        }
    }
}

/// What happens when a program cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Its backends cannot be used.
    Required,
    /// The run goes on; the text says what is not seen.
    Optional(&'static str),
    /// The same, for bytes before the end of a connection.
    Bytes(&'static str),
    /// The same; attached only with `--accept-hooks`, because it makes every system call slower.
    AcceptHooks(&'static str),
}

/// The kernels that a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Every kernel.
    All,
    /// Those that run a program to its end before another task gets the processor.
    Steady,
    /// Those that preempt typed programs. Classic ones run with preemption off.
    Preempting,
    /// Those that can do MPTCP.
    Mptcp,
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name in the object.
    pub name: &'static str,
    /// Where it is attached.
    pub hook: Hook,
    /// The backends that use it.
    pub backends: &'static [Backend],
    /// The kernels that it is for.
    pub kernels: Kernels,
    /// The accounting that needs it; `None` = any.
    pub accounting: Option<Accounting>,
    /// Bits of [`feature`] that it is for; 0 = it is always needed.
    pub features: u32,
    /// What it is needed for.
    pub need: Need,
    /// First kernel that has the hook.
    pub since: &'static str,
    /// The program that reports the same events, and more. Where the kernel skips one of the two,
    /// because it was running on that CPU already, it runs the other.
    pub twin: Option<&'static str>,
}

impl Spec {
    /// Whether the program is for this accounting.
    pub fn counts_by(&self, accounting: Accounting) -> bool {
        self.accounting.is_none_or(|only| only == accounting)
    }

    /// Whether the program is for a run with these features.
    pub fn serves(&self, features: u32) -> bool {
        features & self.features == self.features
    }

    /// Whether the program is for a kernel with these traits.
    pub fn is_for(&self, kernel: Traits) -> bool {
        match self.kernels {
            Kernels::All => true,
            Kernels::Steady => !kernel.preempting,
            Kernels::Preempting => kernel.preempting,
            Kernels::Mptcp => kernel.mptcp,
        }
    }
}

const EVERY: &[Backend] = &Backend::ALL;
const FENTRY: &[Backend] = &[Backend::Fentry];
const KPROBE: &[Backend] = &[Backend::Kprobe];
const TRACEPOINT: &[Backend] = &[Backend::Tracepoint];

const fn program(name: &'static str, hook: Hook, backends: &'static [Backend]) -> Spec {
    let since = match hook {
        Hook::Kprobe(_) | Hook::Kretprobe(_) => "4.17",
        _ => "5.5",
    };
    Spec {
        name,
        hook,
        backends,
        kernels: Kernels::All,
        accounting: None,
        features: 0,
        need: Need::Required,
        since,
        twin: None,
    }
}

/// One that is attached where bytes move.
const fn watcher(name: &'static str, hook: Hook, backends: &'static [Backend]) -> Spec {
    Spec {
        accounting: Some(Accounting::Process),
        ..program(name, hook, backends)
    }
}

/// One that is attached only if processes are followed.
const fn follower(name: &'static str, event: &'static str) -> Spec {
    Spec {
        features: feature::FOLLOW,
        ..program(name, Hook::BtfTracepoint(event), EVERY)
    }
}

const NO_SENT: Need =
    Need::Bytes("bytes sent are known at the end of a connection only, and not per process");
const NO_RECEIVED: Need =
    Need::Bytes("bytes received are known at the end of a connection only, and not per process");
const NO_OLDER: Need = Need::Optional("connections older than this run are not known");
const NO_SAMPLES: Need =
    Need::Optional("bytes of a connection are known at its end only, with `--accounting socket`");
const NO_WIRE: Need =
    Need::Optional("segments and wire bytes of connections that are open at the end are not known");
const NO_ACCEPT: Need = Need::AcceptHooks(
    "an accepted connection has its process only from its first send, receive or close on",
);
const ACCEPT_EXIT: Hook = Hook::Tracepoints("syscalls", &["sys_exit_accept", "sys_exit_accept4"]);
/// An accept shows in the release of the new socket's lock, too.
const NO_GRAFT: Need =
    Need::Optional("accepts on connections that found the connection table full are not counted");

const UNROUTED: &str = "connect calls that find no route are not told";
const NO_ROUTE: Need = Need::Optional(UNROUTED);
const NO_ROUTE_CALL: Need = Need::AcceptHooks(UNROUTED);
const CONNECT: [&str; 2] = ["tcp_v4_connect", "tcp_v6_connect"];

const NO_MPTCP: Need =
    Need::Optional("of MPTCP connections, what their first subflow carried is counted");

/// Every program, in the order of attachment. A backend's own come first, so that one that cannot
/// be had is found out early; the life cycle comes last, because a connection that is born with a
/// table entry must not move bytes unseen. Of two that report the same events, the one that counts
/// what finds no room comes last: they run in the order of attachment.
pub static PROGRAMS: [Spec; 35] = [
    program("connect_fentry", Hook::Fentry("tcp_connect"), FENTRY),
    watcher("release_sock_fentry", Hook::Fentry("release_sock"), FENTRY),
    Spec {
        need: NO_GRAFT,
        ..program("graft_fentry", Hook::Fentry("security_sock_graft"), FENTRY)
    },
    program("connect_kprobe", Hook::Kprobe(&["tcp_connect"]), KPROBE),
    watcher(
        "release_sock_kprobe",
        Hook::Kprobe(&["release_sock"]),
        KPROBE,
    ),
    Spec {
        need: NO_GRAFT,
        ..program(
            "graft_kprobe",
            Hook::Kprobe(&["security_sock_graft"]),
            KPROBE,
        )
    },
    Spec {
        need: NO_ROUTE,
        ..program("route_v4_fentry", Hook::Fentry(CONNECT[0]), FENTRY)
    },
    Spec {
        need: NO_ROUTE,
        ..program("route_v4_fexit", Hook::Fexit(CONNECT[0]), FENTRY)
    },
    Spec {
        need: NO_ROUTE,
        ..program("route_v6_fentry", Hook::Fentry(CONNECT[1]), FENTRY)
    },
    Spec {
        need: NO_ROUTE,
        ..program("route_v6_fexit", Hook::Fexit(CONNECT[1]), FENTRY)
    },
    Spec {
        kernels: Kernels::Mptcp,
        need: NO_MPTCP,
        since: "5.17",
        ..watcher("mptcp_send_fexit", Hook::Fexit("mptcp_sendmsg"), FENTRY)
    },
    Spec {
        kernels: Kernels::Mptcp,
        need: NO_MPTCP,
        since: "5.17",
        ..watcher("mptcp_recv_fexit", Hook::Fexit("mptcp_recvmsg"), FENTRY)
    },
    Spec {
        need: NO_ROUTE,
        ..program("route_kprobe", Hook::Kprobe(&CONNECT), KPROBE)
    },
    Spec {
        need: NO_ROUTE,
        ..program("route_kretprobe", Hook::Kretprobe(&CONNECT), KPROBE)
    },
    Spec {
        need: NO_ROUTE_CALL,
        ..program(
            "connect_enter",
            Hook::Tracepoints("syscalls", &["sys_enter_connect"]),
            TRACEPOINT,
        )
    },
    Spec {
        need: NO_ROUTE_CALL,
        ..program(
            "connect_exit",
            Hook::Tracepoints("syscalls", &["sys_exit_connect"]),
            TRACEPOINT,
        )
    },
    Spec {
        kernels: Kernels::Steady,
        need: NO_SENT,
        since: "6.3",
        ..watcher(
            "send_length",
            Hook::BtfTracepoint("sock_send_length"),
            TRACEPOINT,
        )
    },
    Spec {
        kernels: Kernels::Steady,
        need: NO_RECEIVED,
        since: "6.3",
        ..watcher(
            "recv_length",
            Hook::BtfTracepoint("sock_recv_length"),
            TRACEPOINT,
        )
    },
    Spec {
        kernels: Kernels::Preempting,
        need: NO_SENT,
        ..watcher(
            "send_length_classic",
            Hook::Tracepoints("sock", &["sock_send_length"]),
            TRACEPOINT,
        )
    },
    Spec {
        kernels: Kernels::Preempting,
        need: NO_RECEIVED,
        ..watcher(
            "recv_length_classic",
            Hook::Tracepoints("sock", &["sock_recv_length"]),
            TRACEPOINT,
        )
    },
    Spec {
        kernels: Kernels::Preempting,
        need: NO_ACCEPT,
        twin: Some("accept_exit"),
        ..program("accept_exit_again", ACCEPT_EXIT, TRACEPOINT)
    },
    Spec {
        need: NO_ACCEPT,
        ..program("accept_exit", ACCEPT_EXIT, TRACEPOINT)
    },
    Spec {
        twin: Some("destroy_sock"),
        ..program(
            "destroy_sock_again",
            Hook::BtfTracepoint("tcp_destroy_sock"),
            EVERY,
        )
    },
    Spec {
        kernels: Kernels::Preempting,
        twin: Some("destroy_sock"),
        ..program(
            "destroy_sock_classic",
            Hook::Tracepoints("tcp", &["tcp_destroy_sock"]),
            EVERY,
        )
    },
    program(
        "destroy_sock",
        Hook::BtfTracepoint("tcp_destroy_sock"),
        EVERY,
    ),
    Spec {
        twin: Some("set_state"),
        ..program(
            "set_state_again",
            Hook::BtfTracepoint("inet_sock_set_state"),
            EVERY,
        )
    },
    Spec {
        kernels: Kernels::Preempting,
        twin: Some("set_state"),
        ..program(
            "set_state_classic",
            Hook::Tracepoints("sock", &["inet_sock_set_state"]),
            EVERY,
        )
    },
    program(
        "set_state",
        Hook::BtfTracepoint("inet_sock_set_state"),
        EVERY,
    ),
    follower("process_free", "sched_process_free"),
    Spec {
        kernels: Kernels::Preempting,
        twin: Some("process_fork"),
        ..follower("process_fork_again", "sched_process_fork")
    },
    follower("process_fork", "sched_process_fork"),
    Spec {
        need: NO_OLDER,
        since: "5.9",
        ..program("older_sockets", Hook::Iterator("tcp"), EVERY)
    },
    Spec {
        need: NO_OLDER,
        since: "5.8",
        ..program("older_owners", Hook::Iterator("task_file"), EVERY)
    },
    Spec {
        accounting: Some(Accounting::Socket),
        need: NO_SAMPLES,
        since: "5.9",
        ..program("open_totals", Hook::Iterator("bpf_map_elem"), EVERY)
    },
    Spec {
        features: feature::WIRE,
        need: NO_WIRE,
        since: "5.9",
        ..program("open_wire", Hook::Iterator("bpf_map_elem"), EVERY)
    },
];

/// Why a program could not be attached, in the kernel's words.
#[derive(Debug)]
pub struct Failure {
    /// Which program.
    pub spec: &'static Spec,
    /// The whole chain of causes.
    pub reason: String,
}

/// The programs that `backend` uses on a kernel with these traits.
pub fn of(backend: Backend, kernel: Traits) -> impl Iterator<Item = &'static Spec> {
    PROGRAMS
        .iter()
        .filter(move |spec| spec.backends.contains(&backend) && spec.is_for(kernel))
}

/// The types of the kernel that any program is attached to.
pub(super) fn types() -> Vec<(Kind, String)> {
    PROGRAMS.iter().filter_map(|spec| spec.hook.ty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_comes_after_the_program_that_names_it() {
        for (place, spec) in PROGRAMS.iter().enumerate() {
            let Some(twin) = spec.twin else { continue };
            let after = PROGRAMS[place..].iter().find(|other| other.name == twin);
            assert_eq!(after.map(|twin| twin.kernels), Some(Kernels::All), "{twin}");
        }
    }

    #[test]
    fn each_step_of_the_life_cycle_has_two_programs_and_three_where_they_are_preempted() {
        for (preempting, wanted) in [(false, 1), (true, 2)] {
            let kernel = Traits {
                preempting,
                ..Traits::default()
            };
            for last in ["set_state", "destroy_sock"] {
                let twins = PROGRAMS
                    .iter()
                    .filter(|spec| spec.is_for(kernel) && spec.twin == Some(last));
                assert_eq!(twins.count(), wanted, "{last}, preempting: {preempting}");
            }
        }
    }

    #[test]
    fn forks_have_two_programs_where_they_are_preempted() {
        for (preempting, wanted) in [(false, 1), (true, 2)] {
            let kernel = Traits {
                preempting,
                ..Traits::default()
            };
            for backend in Backend::ALL {
                let forks = of(backend, kernel).filter(|spec| {
                    spec.features == feature::FOLLOW && spec.name.starts_with("process_fork")
                });
                assert_eq!(forks.count(), wanted, "preempting: {preempting}");
            }
        }
    }

    #[test]
    fn every_backend_has_a_hook_for_attempts_accepts_and_bytes() {
        for backend in [Backend::Fentry, Backend::Kprobe] {
            let own = PROGRAMS.iter().filter(|spec| spec.backends == [backend]);
            let main = own.filter(|spec| ![NO_ROUTE, NO_MPTCP].contains(&spec.need));
            assert_eq!(main.count(), 3, "{}", backend.name());
        }
    }

    #[test]
    fn socket_accounting_watches_no_call() {
        let watchers: Vec<_> = PROGRAMS
            .iter()
            .filter(|spec| !spec.counts_by(Accounting::Socket))
            .map(|spec| spec.hook.to_string())
            .collect();
        assert_eq!(watchers.len(), 8);
        let moves = ["release_sock", "mptcp_", "_length"];
        assert!(
            watchers
                .iter()
                .all(|hook| moves.iter().any(|it| hook.contains(it)))
        );
        assert_eq!(
            Accounting::Socket.features(feature::CALLS | feature::CONNECT_HOOK),
            feature::SOCKET | feature::CONNECT_HOOK
        );
    }

    #[test]
    fn every_program_is_in_the_object() {
        use object::{Object, ObjectSymbol};
        let bytes = super::super::object::checked().unwrap();
        let file = object::File::parse(bytes).unwrap();
        for spec in &PROGRAMS {
            let symbol = file.symbol_by_name(spec.name);
            assert!(
                symbol.is_some_and(|symbol| symbol.is_definition()),
                "{}",
                spec.name
            );
        }
    }
}
