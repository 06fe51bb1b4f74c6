//! The programs of the floor object, in the sets that are attached together.

use anyhow::{Context as _, Result};
use aya::programs::{BtfTracePoint, FEntry, KProbe, TracePoint};
use aya::{Btf, Ebpf};
use clap::ValueEnum;

/// What a program is attached to.
#[derive(Clone, Copy, Debug)]
enum Hook {
    TypedTracepoint(&'static str),
    Tracepoint(&'static str, &'static str),
    FunctionEntry(&'static str),
    Probe(&'static str),
}

use Hook::{FunctionEntry, Probe, Tracepoint, TypedTracepoint};

/// Programs that are attached together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Set {
    /// Programs that do nothing, where bytes move
    Empty,
    /// Programs that do nothing, where conntracer has its own with `--accounting socket` and no
    /// accept hooks
    EmptySocket,
    /// The same with `--accounting process`
    EmptyProcess,
    /// A look-up that finds nothing, where bytes move
    Lookup,
    /// A look-up and an atomic add, where bytes move
    Update,
    /// The same in socket storage
    Storage,
    /// A connection tracer as one writes it first, whose records wake its reader
    Prototype,
    /// The same with records that wake nobody
    QuietPrototype,
    /// A program that does nothing, at the entry of `release_sock`
    EmptyFentry,
    /// A look-up and an atomic add, at the entry of `release_sock`
    UpdateFentry,
    /// A program that does nothing, as a kprobe on `release_sock`
    EmptyKprobe,
    /// A look-up and an atomic add, as a kprobe on `release_sock`
    UpdateKprobe,
}

const SEND: Hook = TypedTracepoint("sock_send_length");
const RECEIVE: Hook = TypedTracepoint("sock_recv_length");

const PROTOTYPE: &[(&str, Hook)] = &[
    ("proto_state", TypedTracepoint("inet_sock_set_state")),
    ("proto_destroy", TypedTracepoint("tcp_destroy_sock")),
    ("proto_accept", Tracepoint("syscalls", "sys_exit_accept4")),
    ("proto_send", SEND),
    ("proto_recv", RECEIVE),
];

const LIFE: [(&str, Hook); 4] = [
    ("empty_state", TypedTracepoint("inet_sock_set_state")),
    ("empty_state_again", TypedTracepoint("inet_sock_set_state")),
    ("empty_destroy", TypedTracepoint("tcp_destroy_sock")),
    ("empty_destroy_again", TypedTracepoint("tcp_destroy_sock")),
];
const PROCESS: &[(&str, Hook)] = &[
    LIFE[0],
    LIFE[1],
    LIFE[2],
    LIFE[3],
    ("empty_send", SEND),
    ("empty_recv", RECEIVE),
];

impl Set {
    /// Its name on the command line and in what is reported.
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether its programs send records.
    pub(super) fn sends(self) -> bool {
        matches!(self, Self::Prototype | Self::QuietPrototype)
    }

    fn programs(self) -> &'static [(&'static str, Hook)] {
        match self {
            Self::Empty => &[("empty_send", SEND), ("empty_recv", RECEIVE)],
            Self::EmptySocket => &LIFE,
            Self::EmptyProcess => PROCESS,
            Self::Lookup => &[("lookup_send", SEND), ("lookup_recv", RECEIVE)],
            Self::Update => &[("update_send", SEND), ("update_recv", RECEIVE)],
            Self::Storage => &[("storage_send", SEND), ("storage_recv", RECEIVE)],
            Self::Prototype | Self::QuietPrototype => PROTOTYPE,
            Self::EmptyFentry => &[("empty_fentry", FunctionEntry("release_sock"))],
            Self::UpdateFentry => &[("update_fentry", FunctionEntry("release_sock"))],
            Self::EmptyKprobe => &[("empty_kprobe", Probe("release_sock"))],
            Self::UpdateKprobe => &[("update_kprobe", Probe("release_sock"))],
        }
    }

    /// Loads its programs and attaches them; returns their ids.
    pub(super) fn attach(self, object: &mut Ebpf, kernel: &Btf) -> Result<Vec<u32>> {
        let programs = self.programs().iter();
        programs
            .map(|(name, hook)| {
                attach(object, kernel, name, *hook)
                    .with_context(|| format!("cannot attach {name} to {hook:?}"))
            })
            .collect()
    }
}

fn attach(object: &mut Ebpf, kernel: &Btf, name: &str, hook: Hook) -> Result<u32> {
    let program = object
        .program_mut(name)
        .context("it is not in the object")?;
    match hook {
        TypedTracepoint(event) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(event, kernel)?;
            program.attach()?;
        }
        Tracepoint(category, event) => {
            let program: &mut TracePoint = program.try_into()?;
            program.load()?;
            program.attach(category, event)?;
        }
        FunctionEntry(function) => {
            let program: &mut FEntry = program.try_into()?;
            program.load(function, kernel)?;
            program.attach()?;
        }
        Probe(function) => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            program.attach(function, 0)?;
        }
    }
    program_id(object, name)
}

fn program_id(object: &Ebpf, name: &str) -> Result<u32> {
    let program = object.program(name).context("it is not in the object")?;
    Ok(program.info()?.id())
}
