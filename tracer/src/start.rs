//! From options to attached programs, and what to tell the user about them.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use tracer_common::config::feature;

use crate::aggregate::Aggregate;
use crate::bpf::follow::Followed;
use crate::bpf::loader::{LoadError, Settings, Tracer};
use crate::bpf::programs::{Accounting, Backend, Failure, Need};
use crate::carrier::Carriers;
use crate::choose::Choice;
use crate::choose::exe;
use crate::choose::reload::Reload;
use crate::clock::Moment;
use crate::command::Command;
use crate::follow;
use crate::interval::Intervals;
use crate::map::keeper::Keeper;
use crate::namespaces;
use crate::options::{AcceptHooks, Events, Options, OutputFormat};
use crate::peers::Peers;
use crate::ports::PortSet;
use crate::preflight::{AcceptHooksPossible, Machine, memlock};
use crate::process::{self, Processes};
use crate::publish::{Publisher, Stream};
use crate::say::say;
use crate::sink::Format;
use crate::sink::file::open_output;
use crate::sink::json::Json;
use crate::sink::live::time::Measure;
use crate::sink::live::{Live, LiveOptions};
use crate::sink::selected::Selected;
use crate::sink::writer::Output;
use crate::stop::Stop;
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

/// Starts the command, if there is one; it waits until it may begin. See [`Command::start`].
pub fn command(options: &Options, machine: &Machine) -> anyhow::Result<Option<Command>> {
    let line = options.command.as_ref();
    line.map(|line| Command::start(line, machine.sighup_ignored()))
        .transpose()
}

/// Has the kernel side follow the command, or the processes that were asked for with all that they
/// started; `None` if nobody is followed.
pub fn follow(
    options: &Options,
    tracer: &mut Tracer,
    command: Option<&Command>,
) -> anyhow::Result<Option<Followed>> {
    if !options.filter.follow {
        return Ok(None);
    }
    if !follow::ids_are_the_kernels() {
        bail!(
            "processes cannot be followed from here: this is a container with process ids of its own. \
             Run on the host, or in a container with the host's (`--pid host`)"
        );
    }
    let mut followed = tracer.take_followed()?;
    if let Some(command) = command {
        followed
            .insert(command.pid())
            .context("cannot follow the command")?;
        return Ok(Some(followed));
    }
    let roots = &options.filter.pids;
    let missing = follow::tree(&mut followed, roots).context("cannot follow processes")?;
    if missing.len() == roots.len() {
        bail!("--follow: none of the processes that --pid names is there");
    }
    for pid in missing {
        say(&format!(
            "note: process {pid} is not there, and not followed"
        ));
    }
    Ok(Some(followed))
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
        choice: &filter.choice,
        features: features(options),
        ring_bytes: options.ring_bytes,
        max_connections: options.max_connections,
        accounting: options.accounting,
        accept_hooks: options.accept_hooks != AcceptHooks::Off,
        debug: options.debug,
    }
}

/// Bits of [`feature`].
fn features(options: &Options) -> u32 {
    /// Whoever hears of stages hears of processes.
    const STAGES: u32 = feature::STAGES | feature::PROCESSES;
    let told = match options.events {
        _ if !options.has_stages() => 0,
        Events::Lifecycle if !options.has_traffic() => STAGES,
        Events::Lifecycle | Events::Traffic => STAGES | feature::TRAFFIC,
        Events::Io => STAGES | feature::TRAFFIC | feature::IO,
    };
    let if_wanted = |wanted, feature| if wanted { feature } else { 0 };
    told | if_wanted(options.wire, feature::WIRE)
        | if_wanted(options.filter.follow, feature::FOLLOW)
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

/// Opens everything that results go to, with `tables` for the sums of them.
pub fn publisher(
    options: &Options,
    tables: Aggregate,
    host: &Arc<str>,
) -> anyhow::Result<Publisher> {
    let stream = open_stream(options)?;
    let mut publisher = Publisher::new(stream, Carriers::detect(), tables);
    publisher.keeper = Keeper::start(&options.map, &options.peers)?;
    publisher.enricher.peers = Peers::start(&options.peers)?;
    publisher.enricher.processes = options.has_stages().then(Processes::traced);
    publisher.enricher.own_pid = process::own_pid();
    publisher.programs = exe::Stage::new(options.filter.choice.exe.clone());
    publisher.intervals = options.interval.as_ref().map(|interval| {
        Intervals::live(interval, options.max_rows, host, Moment::now()).with_wire(options.wire)
    });
    Ok(publisher)
}

/// Listens for the signals that end a run, and for the one that has chosen files read again: a
/// hangup ends a run that reads no files. With a command that signal is the command's, too.
pub fn listen(choice: &Choice, hangup_ignored: bool) -> io::Result<(Stop, Reload)> {
    let reload = Reload::listen(choice, hangup_ignored)?;
    let stop = Stop::listen(hangup_ignored || reload.takes_hangup())?;
    Ok((stop, reload))
}

/// Opens where the records go; `None` when none are wanted.
fn open_stream(options: &Options) -> anyhow::Result<Option<Stream>> {
    let ours = standard(options)?;
    let (target, colour) = match &options.output {
        Some(path) => (open_output(path)?, false),
        None if !options.has_records() && options.interval.is_none() => return Ok(None),
        None => (ours.file, ours.colour),
    };
    let format: Box<dyn Format> = match options.format {
        OutputFormat::Json => Box::new(Json),
        OutputFormat::Live => Box::new(Live::new(LiveOptions {
            colour,
            traffic: options.events == Events::Io,
            milliseconds: ours.width >= terminal::ROOMY,
            zone: TimeZone::system(),
            time: options.time,
            measure: Measure::Mono,
            width: if options.output.is_some() {
                terminal::UNLIMITED
            } else {
                ours.width
            },
        })),
    };
    let format = if options.interval.is_some() {
        let events = options.has_records().then_some(options.events);
        Box::new(Selected::new(format, events))
    } else {
        format
    };
    Ok(Some(Stream::new(
        format,
        Output::start(target, OUTPUT_QUEUE),
    )))
}

/// A standard stream.
struct Standard {
    file: File,
    colour: bool,
    width: usize,
}

/// The one where records go.
fn standard(options: &Options) -> anyhow::Result<Standard> {
    if options.has_stdout() {
        look_at(&std::io::stdout()).context("stdout is not usable")
    } else {
        look_at(&std::io::stderr()).context("stderr is not usable")
    }
}

fn look_at(stream: &(impl AsFd + IsTerminal)) -> std::io::Result<Standard> {
    Ok(Standard {
        file: stream.as_fd().try_clone_to_owned()?.into(),
        colour: terminal::wants_colour(stream),
        width: terminal::width(stream),
    })
}
