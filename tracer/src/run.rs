//! One run: attach, loop over ring, timer and stop, print the tables.

mod boundary;
mod end;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aya_log::EbpfLogger;
use boundary::Boundary;
use end::End;
use tokio::time::Instant;

use crate::aggregate::{Aggregate, Run};
use crate::bpf::loader::Tracer;
use crate::bpf::log::Log;
use crate::bpf::ring::Ring;
use crate::clock::{self, Moment};
use crate::collect::{Collector, Wanted};
use crate::command::{Command, CommandLine};
use crate::conclude::{Outcome, conclude};
use crate::exit;
use crate::host;
use crate::options::Options;
use crate::preflight::Machine;
use crate::publish::{self, Publisher};
use crate::reconcile::Watch;
use crate::say::say;
use crate::sink::file::open_summary;
use crate::start;
use crate::stop::Stop;
use crate::summary::Traced;
use crate::timer::Timer;
use crate::track::Track;

/// How often the ring is read when nothing in it is worth a wake-up,
const TICK: Duration = Duration::from_millis(100);
/// and while there is nothing in it.
const IDLE_TICK: Duration = Duration::from_millis(200);
/// How often the kernel is asked whether it has finished a command's connections.
const GOODBYE_TICK: Duration = Duration::from_millis(10);
/// A traffic interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often processes are looked at again for who carries our output; first after one interval,
/// when a pipeline has all its stages.
const REFRESH: Duration = Duration::from_mins(1);

/// Runs until a signal, the end of `--duration` or of the command, or the end of the output. Returns
/// the exit code.
pub async fn run(mut options: Options) -> anyhow::Result<u8> {
    if let Err(code) = check(&options) {
        return Ok(code);
    }
    let machine = Machine::read();
    // Before there are threads, handlers for signals, and files that are none of its business.
    let mut command = start::command(&options, &machine)?;
    let (mut stop, reload) = start::listen(&options.filter.choice, machine.sighup_ignored())
        .context("cannot listen for signals")?;
    // Where results go comes first: a run must not end with nowhere to put them.
    let summary_file = options.summary.as_deref().map(open_summary);
    let summary_file = summary_file.transpose().context("--summary")?;
    let host: Arc<str> = host::name().into();
    let tables = Aggregate::new(options.max_rows);
    let mut publisher = start::publisher(&options, tables, &host)?;

    let mut tracer = start::attach(&options, &machine)?;
    let ring = Ring::new(tracer.take_ring()?, options.ring_bytes)
        .context("cannot wait for the ring buffer")?;
    let log = options.debug.then(|| tracer.take_log()).transpose()?;
    let identity = host::identity().context("/dev/urandom")?;
    let track = Track::new(identity, Arc::clone(&host), tracer.sees_bytes());
    let wanted = Wanted {
        stages: options.has_stages(),
        traffic: options.has_traffic(),
    };
    let samplers = tracer
        .samplers()
        .context("cannot read the connection table")?;
    let mut kernel = Watch::new(&options.filter);
    let followed = start::follow(&options, &mut tracer, command.as_ref())?;
    let maps = tracer.take_maps()?;
    let mut chosen = tracer.take_chosen(&options.filter.choice)?;
    reload.start(&options.filter.choice, move |choice| chosen.change(choice));
    let mut collector = Watch::around(&mut kernel, || {
        Collector::start(maps, track, wanted, samplers)
    })?;
    let started = Instant::now();
    publisher.begin(Moment::now());
    start::find_older(&options, &mut tracer)?;
    collector.older_are_known();
    Watch::older_are_known(&mut kernel);
    start::say_ready(&mut options, &tracer)?;
    if let Err(code) = begin(command.as_mut()) {
        return Ok(code);
    }

    let mut tracing = Tracing {
        ring,
        log,
        collector,
        publisher,
        boundary: Boundary::Ahead,
    };
    let deadline = options.duration.map(|duration| started + duration);
    let mut end = End::new(&mut stop, command.as_mut(), followed.as_ref(), deadline);
    let mut error = tracing.until(&mut end).await.err();
    if let Some(command) = &command {
        command.interrupt_is_over(&mut stop).await;
    }

    let duration = started.elapsed();
    let missed_probes = tracer.missed_runs();
    if options.debug {
        tracer.say_missed_runs();
    }
    error = error.or(tracing.read_the_rest(&mut kernel, &mut stop).await.err());
    tracing.publisher.close_interval(Moment::now());
    let Tracing {
        collector,
        publisher,
        ..
    } = tracing;
    let mut loss = collector.loss();
    publisher.programs.say_missed();
    let publish::End {
        aggregate,
        stream,
        map_errors,
        peers,
    } = publisher.finish(loss.connections(), &mut stop).await;
    loss.missed_probes = missed_probes;
    loss.output_dropped = stream.dropped;
    let kernel = kernel.and_then(|kernel| kernel.conclude(&aggregate.seen, &loss));
    let mut summary = aggregate.finish(Run {
        time: clock::now(),
        host: Some(host),
        traced: Some(traced(&tracer, duration)),
        loss: Some(loss),
        kernel,
        replay: None,
        sampled: None,
    });
    if let Some(mut peers) = peers {
        peers.describe(&mut summary.peers);
    }
    let outcome = Outcome {
        error,
        stream,
        hooks_missing: !tracer.missing.is_empty(),
        map_errors,
    };
    let code = conclude(&options, &summary, summary_file, &outcome);
    Ok(exit_code(command, code, &mut stop).await)
}

/// Whether the command can be run as it is asked for; the exit code if not.
fn check(options: &Options) -> Result<(), u8> {
    let line = options.command.as_ref();
    line.map_or(Ok(()), CommandLine::check).map_err(|problem| {
        say(&format!("error: {problem}"));
        exit::USAGE
    })
}

/// Lets the command begin; the exit code if it cannot.
fn begin(command: Option<&mut Command>) -> Result<(), u8> {
    command.map_or(Ok(()), Command::begin).map_err(|failure| {
        say(&format!("error: {failure}"));
        failure.exit_code()
    })
}

/// The command's exit code if ours is clean, else ours.
async fn exit_code(command: Option<Command>, ours: u8, stop: &mut Stop) -> u8 {
    match command {
        // The trace may have ended before, with its output.
        Some(mut command) => {
            command.ended(stop).await;
            command.exit_code(ours)
        }
        None => ours,
    }
}

/// How it was traced, for so long.
fn traced(tracer: &Tracer, duration: Duration) -> Traced {
    let missing = tracer.missing.iter();
    Traced {
        duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        backend: tracer.backend.name().to_owned(),
        accounting: tracer.accounting.name(),
        not_attached: missing.map(|failure| failure.spec.name).collect(),
    }
}

/// What the loop works with.
struct Tracing {
    ring: Ring,
    log: Option<EbpfLogger<Log>>,
    collector: Collector,
    publisher: Publisher,
    boundary: Boundary,
}

impl Tracing {
    /// Stops the count and reads what is left, also after an error, which is the first one then.
    async fn read_the_rest(
        &mut self,
        kernel: &mut Option<Watch>,
        stop: &mut Stop,
    ) -> io::Result<()> {
        let Self {
            ring,
            collector,
            publisher,
            ..
        } = self;
        let prepared = collector.prepare_stop();
        let stopped = Watch::around(kernel, || collector.stop());
        let mut result = prepared.and(stopped).and(collector.read_the_rest());
        while collector.has_steps() {
            let taken = collector.step(ring, publisher);
            result = result.and(taken.map(drop));
            publisher.catch_up(stop).await;
        }
        let sums = collector.sums(|key, totals| {
            if publisher.programs.keeps_process(key.tgid, key.start_ns) {
                publisher.add_folded(key, totals);
            }
        });
        result.and(sums)
    }

    /// Moves records from the ring to the output until something says stop. After an error the
    /// totals so far are still good.
    async fn until(&mut self, end: &mut End<'_>) -> io::Result<()> {
        let mut timer = Timer::new()?;
        timer.set(Duration::ZERO)?;
        let mut next_interval = Instant::now() + INTERVAL;
        let mut next_refresh = next_interval;
        loop {
            let behind = self.publisher.is_behind();
            tokio::select! {
                biased;
                () = end.come() => {
                    if !end.waits_for_goodbyes() {
                        return Ok(());
                    }
                }
                () = self.publisher.output_ended() => return Ok(()),
                room = self.publisher.room(), if behind => {
                    self.publisher.hand_over(room);
                    continue;
                }
                gone_off = timer.gone_off(), if !behind => gone_off?,
                filled = self.ring.filled(), if !behind => filled?,
            }
            let now = Instant::now();
            if now >= next_interval {
                next_interval = now + INTERVAL;
                self.collector.interval()?;
            }
            if now >= next_refresh {
                next_refresh = now + REFRESH;
                self.publisher.refresh_carriers();
            }
            if let Some(log) = &mut self.log {
                log.flush();
            }
            let mut more = self.collector.drain(&mut self.ring, &mut self.publisher)?;
            more |= self.pass_boundary()?;
            self.publisher.flush();
            if let Some(keeper) = &mut self.publisher.keeper {
                keeper.tick();
            }
            if end.is_at_goodbyes() && !more && !self.collector.has_goodbyes()? {
                return Ok(());
            }
            timer.set(if end.is_at_goodbyes() {
                GOODBYE_TICK
            } else if more {
                // Signals and the output get their turn in between.
                tokio::task::yield_now().await;
                Duration::ZERO
            } else {
                self.tick()
            })?;
        }
    }
}
