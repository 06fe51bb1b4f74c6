//! Loads and attaches programs.

use aya::programs::{
    BtfTracePoint, FEntry, FExit, Iter, KProbe, Program, ProgramError, TracePoint,
};
use aya::{Btf, Ebpf};

use super::programs::{Failure, Hook, Spec};
use super::tracefs::with_tracefs;

/// Loads and attaches one. The links live in `ebpf`.
pub(super) fn attach(ebpf: &mut Ebpf, btf: &Btf, spec: &'static Spec) -> Result<(), Failure> {
    let failed = |reason: String| Failure { spec, reason };
    let program = ebpf
        .program_mut(spec.name)
        .ok_or_else(|| failed("the eBPF object does not have this program".to_owned()))?;
    let attached = match spec.hook {
        Hook::BtfTracepoint(event) => attach_btf(program, btf, event),
        Hook::Fentry(function) => attach_fentry(program, btf, function),
        Hook::Fexit(function) => attach_fexit(program, btf, function),
        Hook::Kprobe(functions) | Hook::Kretprobe(functions) => attach_kprobe(program, functions),
        Hook::Iterator(objects) => load_iterator(program, btf, objects),
        Hook::Tracepoints(category, events) => {
            with_tracefs(|| attach_classic(program, category, events))
                .map_err(|error| failed(format!("tracefs cannot be mounted: {error}")))?
        }
    };
    attached.map_err(|error| failed(refusal(&error)))
}

fn attach_btf(program: &mut Program, btf: &Btf, event: &str) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint = program.try_into()?;
    program.load(event, btf)?;
    program.attach()?;
    Ok(())
}

fn attach_fentry(program: &mut Program, btf: &Btf, function: &str) -> Result<(), ProgramError> {
    let program: &mut FEntry = program.try_into()?;
    program.load(function, btf)?;
    program.attach()?;
    Ok(())
}

fn attach_fexit(program: &mut Program, btf: &Btf, function: &str) -> Result<(), ProgramError> {
    let program: &mut FExit = program.try_into()?;
    program.load(function, btf)?;
    program.attach()?;
    Ok(())
}

/// The program itself says whether it is for the entry or the return.
fn attach_kprobe(program: &mut Program, functions: &[&str]) -> Result<(), ProgramError> {
    let program: &mut KProbe = program.try_into()?;
    program.load()?;
    for function in functions {
        program.attach(function, 0)?;
    }
    Ok(())
}

/// It is attached anew for each pass.
fn load_iterator(program: &mut Program, btf: &Btf, objects: &str) -> Result<(), ProgramError> {
    let program: &mut Iter = program.try_into()?;
    program.load(objects, btf)
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

/// Why a program was refused. aya puts the verifier's log behind every refusal, also an empty one.
fn refusal(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } if verifier_log.to_string().is_empty() => format!("the kernel refuses it: {io_error}"),
        _ => chain(error),
    }
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
