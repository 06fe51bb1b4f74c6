//! The programs as a table of data, and one loop that attaches them.

use aya::programs::{BtfTracePoint, Program, ProgramError, TracePoint};
use aya::{Btf, Ebpf};

use super::tracefs::with_tracefs;

/// How a program meets the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A typed tracepoint: needs BTF, no tracefs.
    BtfTracepoint(&'static str),
    /// Classic tracepoints of one category: need tracefs and `perf_event_open`.
    Tracepoints(&'static str, &'static [&'static str]),
}

/// What happens when a program cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// There is no tracer without it.
    Required,
    /// The run goes on; the text says what is not seen.
    Optional(&'static str),
    /// Attached only with `--accept-hooks`; the text says what is not seen.
    AcceptHooks(&'static str),
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name in the object.
    pub name: &'static str,
    /// Where it is attached.
    pub hook: Hook,
    /// What it is needed for.
    pub need: Need,
    /// First kernel that has the hook.
    pub since: &'static str,
    /// The program that reports the same events where the kernel skips this one, because it was
    /// running on that CPU already.
    pub twin: Option<&'static str>,
}

/// The name of this way to attach.
pub const BACKEND: &str = "tracepoint";

/// Every program of the tracepoint backend, in the order of attachment. Bytes come before the life
/// cycle: a connection that is born with a table entry must not move bytes unseen.
pub const PROGRAMS: [Spec; 7] = [
    Spec {
        name: "send_length",
        hook: Hook::BtfTracepoint("sock_send_length"),
        need: Need::Optional(
            "bytes sent are known at the end of a connection only, and not per process",
        ),
        since: "6.3",
        twin: None,
    },
    Spec {
        name: "recv_length",
        hook: Hook::BtfTracepoint("sock_recv_length"),
        need: Need::Optional(
            "bytes received are known at the end of a connection only, and not per process",
        ),
        since: "6.3",
        twin: None,
    },
    Spec {
        name: "accept_exit",
        hook: Hook::Tracepoints("syscalls", &["sys_exit_accept", "sys_exit_accept4"]),
        need: Need::AcceptHooks(
            "an accepted connection has its process only from its first send or receive on",
        ),
        since: "5.5",
        twin: None,
    },
    Spec {
        name: "destroy_sock_again",
        hook: Hook::BtfTracepoint("tcp_destroy_sock"),
        need: Need::Required,
        since: "5.5",
        twin: Some("destroy_sock"),
    },
    Spec {
        name: "destroy_sock",
        hook: Hook::BtfTracepoint("tcp_destroy_sock"),
        need: Need::Required,
        since: "5.5",
        twin: Some("destroy_sock_again"),
    },
    Spec {
        name: "set_state_again",
        hook: Hook::BtfTracepoint("inet_sock_set_state"),
        need: Need::Required,
        since: "5.5",
        twin: Some("set_state"),
    },
    Spec {
        name: "set_state",
        hook: Hook::BtfTracepoint("inet_sock_set_state"),
        need: Need::Required,
        since: "5.5",
        twin: Some("set_state_again"),
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

/// Loads and attaches one program. The links live in `ebpf`. `allocates_safely`: whether the kernel
/// has its own allocator for maps (6.1+).
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    allocates_safely: bool,
    spec: &'static Spec,
) -> Result<(), Failure> {
    let failed = |reason: String| Failure { spec, reason };
    let program = ebpf
        .program_mut(spec.name)
        .ok_or_else(|| failed("the eBPF object does not have this program".to_owned()))?;
    match spec.hook {
        Hook::BtfTracepoint(event) => {
            attach_btf(program, btf, event).map_err(|error| failed(chain(&error)))
        }
        // Before 6.1 the kernel warns, and on PREEMPT_RT refuses, when a program of this kind uses
        // a map that allocates while it runs, as the connection table does.
        Hook::Tracepoints(..) if !allocates_safely => Err(failed(
            "kernels before 6.1 warn about this kind of program".to_owned(),
        )),
        Hook::Tracepoints(category, events) => {
            with_tracefs(|| attach_classic(program, category, events))
                .map_err(|error| failed(format!("tracefs cannot be mounted: {error}")))?
                .map_err(|error| failed(chain(&error)))
        }
    }
}

fn attach_btf(program: &mut Program, btf: &Btf, event: &str) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load(event, btf)?;
    program.attach()?;
    Ok(())
}

fn attach_classic(
    program: &mut Program,
    category: &str,
    events: &[&str],
) -> Result<(), ProgramError> {
    let program: &mut TracePoint = program.try_into()?;
    program.load()?;
    for event in events {
        program.attach(category, event)?;
    }
    Ok(())
}

/// An error with all its causes: the outermost text alone rarely names the reason.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text.push_str(": ");
            text.push_str(&next_text);
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_name_each_other_and_share_their_hook() {
        let find = |name| PROGRAMS.iter().find(|spec| spec.name == name);
        for spec in PROGRAMS.iter().filter(|spec| spec.twin.is_some()) {
            let twin = spec.twin.and_then(find).unwrap();
            assert_eq!(twin.twin, Some(spec.name));
            assert_eq!(twin.hook, spec.hook);
        }
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
