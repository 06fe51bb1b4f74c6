//! One run: attach, loop over ring, timer and stop, detach, print the tables.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::aggregate::Run;
use crate::bpf::programs::BACKEND;
use crate::bpf::ring::Ring;
use crate::carrier::Carriers;
use crate::clock;
use crate::collect::Collector;
use crate::conclude::{conclude, finish_stream};
use crate::host;
use crate::identity::Identity;
use crate::options::Options;
use crate::preflight::Machine;
use crate::publish::Publisher;
use crate::sink::file::open_summary;
use crate::start;
use crate::stop::Stop;
use crate::track::Track;

/// How often the ring is read when nothing in it is worth a wake-up.
const TICK: Duration = Duration::from_millis(100);
/// Ticks a traffic interval.
const INTERVAL_TICKS: u32 = 10;

/// Runs until a signal, the end of `--duration`, or the end of the output. Returns the exit code.
pub async fn run(mut options: Options) -> anyhow::Result<u8> {
    let machine = Machine::read();
    let mut stop = Stop::listen(machine.sighup_ignored()).context("cannot listen for signals")?;
    // Where results go comes first: a run must not end with nowhere to put them.
    let summary_file = options
        .summary
        .as_deref()
        .map(open_summary)
        .transpose()
        .context("--summary")?;
    let stream = start::open_stream(&options)?;

    let mut tracer = start::attach(&options, &machine)?;
    let mut ring = Ring::new(tracer.take_ring()?).context("cannot wait for the ring buffer")?;
    let mut log = options.debug.then(|| tracer.take_log()).transpose()?;
    let host: Arc<str> = host::name().into();
    let identity = Identity::new(&host::boot_id(), &host::secret().context("/dev/urandom")?);
    let track = Track::new(identity, Arc::clone(&host));
    let mut publisher = Publisher::new(stream, Carriers::detect());
    let mut collector = Collector::start(tracer.take_maps()?, track)?;
    let started = Instant::now();
    start::say_ready(&mut options, &tracer)?;

    let mut records = Vec::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks_left = INTERVAL_TICKS;
    let deadline = options.duration.map(|duration| started + duration);
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => break,
            () = publisher.output_ended() => break,
            () = wait_until(deadline) => break,
            _ = ticks.tick() => {
                ticks_left -= 1;
                if ticks_left == 0 {
                    ticks_left = INTERVAL_TICKS;
                    collector.interval(&mut records)?;
                }
                if let Some(log) = &mut log {
                    log.flush();
                }
            }
            filled = ring.filled() => filled?,
        }
        // More may be waiting after one round; signals get their turn in between.
        if collector.drain(&mut ring, &mut records)? {
            ticks.reset_immediately();
        }
        publisher.publish(&mut records).await;
    }

    let duration = started.elapsed();
    let missed_probes = tracer.missed_runs();
    let mut loss = collector.finish(&mut ring, &mut publisher.aggregate, &mut records)?;
    publisher.publish(&mut records).await;
    let (aggregate, output) = publisher.into_parts();
    let stream_end = finish_stream(output, &mut stop).await;
    loss.missed_probes = missed_probes;
    loss.output_dropped = stream_end.dropped;
    let summary = aggregate.finish(Run {
        time: clock::wall_time(clock::mono_ns(), clock::wall_offset_ns()),
        host,
        duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        backend: BACKEND.to_owned(),
        loss,
    });
    Ok(conclude(&options, &summary, summary_file, &stream_end))
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
