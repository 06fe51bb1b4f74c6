//! Traces the connection of a `Stage`, by the same path as every other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};

use super::compare::{Comparison, Own, Truth, compare};
use super::stage::Stage;
use crate::bpf::loader::Tracer;
use crate::bpf::ring::Ring;
use crate::bpf::sample::Samplers;
use crate::collect::{Collector, Wanted};
use crate::options::{Events, FilterOptions, Options};
use crate::process::in_initial_namespace;
use crate::record::{EventKind, Record};
use crate::track::Track;
use crate::{host, names};

/// How long the records of a connection that is over may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often they are looked for.
const TICK: Duration = Duration::from_millis(5);
/// Its traffic is looked at in total only.
const WANTED: Wanted = Wanted {
    stages: true,
    traffic: false,
};

/// How the self-test went.
pub enum Trial {
    /// There was none, or it broke off.
    NotMade {
        /// Why.
        reason: String,
        /// Where it would have been, if that is known.
        place: Option<String>,
    },
    /// It ran to its end.
    Made {
        /// Where.
        place: String,
        /// What was seen.
        comparisons: Vec<Comparison>,
    },
}

impl Trial {
    /// None was made.
    pub fn not_made(reason: &str) -> Self {
        Self::NotMade {
            reason: reason.to_owned(),
            place: None,
        }
    }
}

/// A run's options, as a trace has them by default, for the connection of `stage` alone: both of
/// its ends have both ports.
pub(super) fn options(stage: Option<&Stage>) -> Options {
    let filter = stage.map_or_else(FilterOptions::default, |stage| {
        let ports = format!("{},{}", stage.client_port, stage.server_port);
        let ports = ports.parse().ok();
        FilterOptions {
            local_ports: ports.clone(),
            remote_ports: ports,
            netns: vec![stage.netns],
            ..FilterOptions::default()
        }
    });
    Options {
        filter,
        events: Events::Lifecycle,
        ..Options::default()
    }
}

/// Traces the connection with `tracer`, which was started with these options.
pub(super) async fn run(tracer: Tracer, stage: Stage, options: &Options) -> Trial {
    let place = stage.place.clone();
    match trace(tracer, stage, options).await {
        Ok(comparisons) => Trial::Made { place, comparisons },
        Err(error) => Trial::NotMade {
            reason: format!("{error:#}"),
            place: Some(place),
        },
    }
}

async fn trace(
    mut tracer: Tracer,
    stage: Stage,
    options: &Options,
) -> anyhow::Result<Vec<Comparison>> {
    let mut ring = Ring::new(tracer.take_ring()?, options.ring_bytes)
        .context("cannot wait for the ring buffer")?;
    let identity = host::identity().context("/dev/urandom")?;
    let track = Track::new(identity, Arc::from(host::name()), tracer.sees_bytes());
    let mut collector = Collector::start(tracer.take_maps()?, track, WANTED, Samplers::default())
        .context("cannot start to count")?;
    let (client_port, server_port) = (stage.client_port, stage.server_port);
    let (to_server, to_client) = stage.play().context("no loopback connection")?;

    let deadline = Instant::now() + PATIENCE;
    let mut records = Vec::new();
    loop {
        collector.drain(&mut ring, &mut records)?;
        if closes(&records) == 2 || Instant::now() > deadline {
            break;
        }
        sleep(TICK).await;
    }
    collector.stop().context("cannot stop the count")?;
    collector
        .read_the_rest()
        .context("cannot read what was counted")?;
    while collector
        .step(&mut ring, &mut records)
        .context("cannot read what was counted")?
    {}
    let truth = Truth {
        client_port,
        server_port,
        to_server,
        to_client,
        process: own().context("/proc/self")?,
    };
    Ok(compare(&truth, &records, tracer.sees_bytes()))
}

fn closes(records: &[Record]) -> usize {
    let closes = records.iter().filter(|it| it.event == EventKind::Close);
    closes.count()
}

fn own() -> io::Result<Own> {
    let name = std::fs::read("/proc/self/comm")?;
    Ok(Own {
        name: names::escape(name.strip_suffix(b"\n").unwrap_or(&name)).into(),
        pid: in_initial_namespace()?.then(std::process::id),
    })
}
