//! From options to attached programs, and what to tell the user about them.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use tracer_common::config::feature;

use crate::bpf::loader::{LoadError, Settings, Tracer};
use crate::bpf::programs::{Accounting, Backend, Failure, Need};
use crate::namespaces;
use crate::options::{AcceptHooks, Events, Options, OutputFormat};
use crate::ports::PortSet;
use crate::preflight::{AcceptHooksPossible, Machine, memlock};
use crate::publish::Stream;
use crate::say::say;
use crate::sink::Format;
use crate::sink::file::open_output;
use crate::sink::json::Json;
use crate::sink::live::{Live, LiveOptions};
use crate::sink::writer::Output;
use crate::terminal;

/// Bytes of records that wait for a slow consumer; more are dropped and counted.
const OUTPUT_QUEUE: usize = 16 << 20;

/// Checks the machine, loads and attaches. What optional hooks cannot do is said at once.
pub fn attach(options: &Options, machine: &Machine) -> anyhow::Result<Tracer> {
    if let Err(blocker) = machine.check() {
        bail!("{blocker}. Or sample instead, which needs no rights: `--backend poll`");
    }
    let limit = memlock::raise_limit();
    let settings = settings(options);
    let backends: &[Backend] = match &options.backend {
        Some(backend) => std::slice::from_ref(backend),
        None => &Backend::ALL,
    };
    let tracer =
        Tracer::start(&settings, backends).map_err(|error| explain(error, &settings, limit))?;
    // Of two that see the same, one reason is enough.
    for failure in tracer
        .missing
        .iter()
        .filter(|failure| failure.spec.twin.is_none())
    {
        say_missing(failure, options, machine)?;
    }
    Ok(tracer)
}

/// What is not seen without an optional program, or why a demanded one cannot be had.
fn say_missing(failure: &Failure, options: &Options, machine: &Machine) -> anyhow::Result<()> {
    let Failure { spec, reason } = failure;
    match spec.need {
        Need::Required => {}
        Need::Optional(lost) | Need::Bytes(lost) => say(&format!(
            "note: `{}` (Linux {}+) is not attached ({reason}): {lost}",
            spec.name, spec.since
        )),
        Need::AcceptHooks(lost) => {
            // The kernel's own words rarely say what to do; the preflight knows the usual causes.
            let reason = match machine.accept_hooks() {
                AcceptHooksPossible::No(known) => known.to_string(),
                _ => reason.clone(),
            };
            if options.accept_hooks == AcceptHooks::On {
                bail!("--accept-hooks on: they cannot be attached: {reason}");
            }
            say(&format!("note: no accept hooks ({reason}): {lost}"));
        }
    }
    Ok(())
}

/// Finds the connections that are older than this run, and says where it cannot.
pub fn find_older(options: &Options, tracer: &mut Tracer) -> anyhow::Result<()> {
    let namespaces = namespaces::all(&options.filter.netns);
    let closed = tracer
        .find_older(&namespaces)
        .context("cannot look for connections that are older than this run")?;
    if closed > 0 {
        say(&format!(
            "note: connections older than this run are not known in {closed} other network \
             namespaces, which only CAP_SYS_ADMIN may enter"
        ));
    }
    Ok(())
}

/// Says that everything from now on is seen, and how.
pub fn say_ready(options: &mut Options, tracer: &Tracer) -> anyhow::Result<()> {
    let backend = tracer.backend;
    for refusal in &tracer.refused {
        say(&format!(
            "note: backend {} cannot be used here ({})",
            refusal.backend.name(),
            refusal.reasons()
        ));
    }
    say(&format!(
        "note: backend {} does not see {}",
        backend.name(),
        tracer.accounting.blind_to(backend)
    ));
    if let Some(reason) = &tracer.unsteady {
        say(&format!(
            "note: this kernel may preempt tracing programs and skip events meanwhile, and what helps \
             against that cannot be used ({reason}); connections can be missing"
        ));
    }
    say(&format!(
        "ready: backend {}, {}{}",
        backend.name(),
        accepts(tracer),
        bytes(tracer)
    ));
    tell_ready(options)
}

/// Tells whoever waits at `--ready-fd`.
pub fn tell_ready(options: &mut Options) -> anyhow::Result<()> {
    if let Some(fd) = options.ready_fd.take() {
        File::from(fd)
            .write_all(b"ready\n")
            .context("--ready-fd: cannot write to it")?;
    }
    Ok(())
}

/// How the accepting process is known.
fn accepts(tracer: &Tracer) -> String {
    let otherwise = match tracer.accounting {
        Accounting::Process => "its first byte or its close",
        Accounting::Socket => "its close",
    };
    match tracer.backend {
        Backend::Fentry | Backend::Kprobe => "accepts seen as they happen".to_owned(),
        Backend::Tracepoint if tracer.has("accept_exit") => format!(
            "accept hooks on (70-93 ns on each system call of this host; --accept-hooks off saves \
             them, but then a process is known from {otherwise} on only)"
        ),
        Backend::Tracepoint => {
            format!("accept hooks off (a process is known from {otherwise} on only)")
        }
    }
}

/// Where bytes come from, unless it is as usual.
fn bytes(tracer: &Tracer) -> &'static str {
    match tracer.accounting {
        Accounting::Process => "",
        Accounting::Socket => ", bytes from the kernel's counters of each socket",
    }
}

/// What the kernel side is told of `options`.
pub fn settings(options: &Options) -> Settings<'_> {
    let filter = &options.filter;
    Settings {
        filter: filter.to_kernel(),
        local_ports: filter.local_ports.as_ref().map(PortSet::words),
        remote_ports: filter.remote_ports.as_ref().map(PortSet::words),
        ids: filter.ids().collect(),
        features: match options.events {
            _ if !options.has_stages() => 0,
            Events::Lifecycle => feature::STAGES,
            Events::Traffic => feature::STAGES | feature::TRAFFIC,
            Events::Io => feature::STAGES | feature::TRAFFIC | feature::IO,
        },
        ring_bytes: options.ring_bytes,
        max_connections: options.max_connections,
        accounting: options.accounting,
        accept_hooks: options.accept_hooks != AcceptHooks::Off,
        debug: options.debug,
    }
}

/// Before 5.11 maps are charged to the locked-memory limit, and the kernel says only EPERM.
pub fn explain(error: LoadError, settings: &Settings<'_>, limit: Option<u64>) -> anyhow::Error {
    let advice = match &error {
        LoadError::Maps(_) => memlock::advice(memlock::charged_bytes(&settings.map_sizes()), limit),
        _ => None,
    };
    match advice {
        Some(advice) => anyhow::anyhow!("{error}. {advice}"),
        None => error.into(),
    }
}

/// Opens where the records go; `None` when none are wanted.
pub fn open_stream(options: &Options) -> anyhow::Result<Option<Stream>> {
    let stdout = std::io::stdout();
    let (target, colour) = match &options.output {
        Some(path) => (open_output(path)?, false),
        None if !options.has_records() => return Ok(None),
        None => {
            let fd = stdout
                .as_fd()
                .try_clone_to_owned()
                .context("stdout is not usable")?;
            (File::from(fd), terminal::wants_colour(&stdout))
        }
    };
    let format: Box<dyn Format> = match options.format {
        OutputFormat::Json => Box::new(Json),
        OutputFormat::Live => Box::new(Live::new(LiveOptions {
            colour,
            traffic: options.events == Events::Io,
            milliseconds: terminal::width(&stdout) >= terminal::ROOMY,
            zone: TimeZone::system(),
        })),
    };
    Ok(Some(Stream::new(
        format,
        Output::start(target, OUTPUT_QUEUE),
    )))
}
