//! Loads and attaches programs.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use aya::programs::{
    BtfTracePoint, FEntry, FExit, Iter, KProbe, Program, ProgramError, TracePoint,
};
use aya::{Btf, Ebpf};

use super::programs::{Failure, Hook, Need, Spec};
use super::tracefs::with_tracefs;

/// What became of the programs of a backend, in their order.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) attached: Vec<&'static str>,
    /// Optional ones that cannot be attached.
    pub(super) missing: Vec<Failure>,
    /// The required ones; the first alone, unless all are asked for.
    pub(super) failures: Vec<Failure>,
}

/// Loads all, then attaches them one after the other. The links live in `ebpf`.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    specs: &[&'static Spec],
    thorough: bool,
) -> Outcome {
    let mut outcome = Outcome::default();
    for (spec, loaded) in specs.iter().zip(load(ebpf, btf, specs)) {
        match (loaded.and_then(|()| attach_one(ebpf, spec)), spec.need) {
            (Ok(()), _) => outcome.attached.push(spec.name),
            (Err(failure), Need::Required) => {
                outcome.failures.push(failure);
                if !thorough {
                    break;
                }
            }
            (Err(failure), _) => outcome.missing.push(failure),
        }
    }
    outcome
}

/// Whether a program is one that decides whether a backend can be had.
pub(super) fn may_be_refused(spec: &Spec) -> bool {
    spec.need == Need::Required && matches!(spec.hook, Hook::Fentry(_) | Hook::Kprobe(_))
}

/// Asks whether it can be had. Where a kernel refuses `fentry`, it nearly always does so when it loads
/// the program; attached, it would take the kernel long to get rid of it again.
pub(super) fn ask(ebpf: &mut Ebpf, btf: &Btf, spec: &'static Spec) -> Result<(), Failure> {
    let program = ebpf.program_mut(spec.name).ok_or_else(|| not_there(spec))?;
    load_one(program, btf, spec)
        .and_then(|()| match spec.hook {
            Hook::Kprobe(_) => attach_here(program, spec.hook),
            _ => Ok(()),
        })
        .map_err(|error| failure(spec, &error))
}

/// Loads them on all processors: a program is verified for up to 20 ms, one a thread. Returns what
/// came of each, in their order.
fn load(ebpf: &mut Ebpf, btf: &Btf, specs: &[&'static Spec]) -> Vec<Result<(), Failure>> {
    let mut programs: HashMap<&str, &mut Program> = ebpf.programs_mut().collect();
    let mut results: Vec<_> = specs.iter().map(|spec| Err(not_there(spec))).collect();
    let jobs: Vec<_> = specs
        .iter()
        .zip(&mut results)
        .filter_map(|(spec, result)| Some((*spec, programs.remove(spec.name)?, result)))
        .collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let helpers = threads.min(jobs.len()).saturating_sub(1);
    let jobs = Mutex::new(jobs);
    let work = || {
        // From the end: the large ones are there.
        let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some((spec, program, result)) = next() {
            *result = load_one(program, btf, spec).map_err(|error| failure(spec, &error));
        }
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(work);
        }
        work();
    });
    results
}

fn load_one(program: &mut Program, btf: &Btf, spec: &Spec) -> Result<(), ProgramError> {
    match spec.hook {
        Hook::BtfTracepoint(event) => <&mut BtfTracePoint>::try_from(program)?.load(event, btf),
        Hook::Tracepoints(..) => <&mut TracePoint>::try_from(program)?.load(),
        Hook::Fentry(function) => <&mut FEntry>::try_from(program)?.load(function, btf),
        Hook::Fexit(function) => <&mut FExit>::try_from(program)?.load(function, btf),
        Hook::Kprobe(_) | Hook::Kretprobe(_) => <&mut KProbe>::try_from(program)?.load(),
        Hook::Iterator(objects) => <&mut Iter>::try_from(program)?.load(objects, btf),
    }
}

/// Attaches one that is loaded.
fn attach_one(ebpf: &mut Ebpf, spec: &'static Spec) -> Result<(), Failure> {
    let program = ebpf.program_mut(spec.name).ok_or_else(|| not_there(spec))?;
    let attached = match spec.hook {
        Hook::Tracepoints(category, events) => {
            with_tracefs(|| attach_classic(program, category, events)).map_err(|error| Failure {
                spec,
                reason: format!("tracefs cannot be mounted: {error}"),
            })?
        }
        hook => attach_here(program, hook),
    };
    attached.map_err(|error| failure(spec, &error))
}

/// Where no file system is needed.
fn attach_here(program: &mut Program, hook: Hook) -> Result<(), ProgramError> {
    match hook {
        Hook::BtfTracepoint(_) => {
            <&mut BtfTracePoint>::try_from(program)?.attach()?;
        }
        Hook::Fentry(_) => {
            <&mut FEntry>::try_from(program)?.attach()?;
        }
        Hook::Fexit(_) => {
            <&mut FExit>::try_from(program)?.attach()?;
        }
        // The program itself says whether it is for the entry or the return.
        Hook::Kprobe(functions) | Hook::Kretprobe(functions) => {
            let program: &mut KProbe = program.try_into()?;
            for function in functions {
                program.attach(function, 0)?;
            }
        }
        // They are attached anew for each pass, and classic ones elsewhere.
        Hook::Iterator(_) | Hook::Tracepoints(..) => {}
    }
    Ok(())
}

fn attach_classic(
    program: &mut Program,
    category: &str,
    events: &[&str],
) -> Result<(), ProgramError> {
    let program: &mut TracePoint = program.try_into()?;
    for event in events {
        program.attach(category, event)?;
    }
    Ok(())
}

fn not_there(spec: &'static Spec) -> Failure {
    let reason = "the eBPF object does not have this program".to_owned();
    Failure { spec, reason }
}

fn failure(spec: &'static Spec, error: &ProgramError) -> Failure {
    let reason = refusal(error);
    Failure { spec, reason }
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
