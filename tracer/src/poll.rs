//! A run without privileges: sockets are looked at now and then, and what is new since the last look
//! is told by the records of a trace, marked as sampled. A sibling of [`crate::run`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::aggregate::{Aggregate, Run};
use crate::bpf::programs::Accounting;
use crate::clock::Moment;
use crate::conclude::{Outcome, conclude};
use crate::list::filter::Filter;
use crate::list::place::Place;
use crate::list::read::{self, Listing, ReadError};
use crate::list::sampler::{Sampler, Tell};
use crate::options::{FilterOptions, Options, Poll};
use crate::process::Processes;
use crate::publish::{self, Publisher};
use crate::record::{EventKind, Out, Record};
use crate::report::sampled::blind_spots;
use crate::say::say;
use crate::sink::file::open_summary;
use crate::start;
use crate::stop::Stop;
use crate::summary::{Sampled, Traced};
use crate::{host, preflight, timer};

/// The name in options and records.
pub const BACKEND: &str = "poll";

/// How often processes are looked at again for who carries our output.
const REFRESH: Duration = Duration::from_mins(1);
/// How long the last look may take.
const GRACE: Duration = Duration::from_secs(1);

/// Runs until a signal, the end of `--duration`, or the end of the output. Returns the exit code.
pub async fn run(mut options: Options, how: Poll) -> anyhow::Result<u8> {
    let interval = how.interval;
    let mut stop =
        Stop::listen(preflight::hangup_ignored()).context("cannot listen for signals")?;
    // Where results go comes first: a run must not end with nowhere to put them.
    let summary = options.summary.as_deref().map(open_summary);
    let summary_file = summary.transpose().context("--summary")?;
    let host: Arc<str> = host::name().into();
    let identity = host::identity().context("/dev/urandom")?;
    let tables = Aggregate::of_recorded(options.max_rows);
    let mut publisher = start::publisher(&options, tables, &host)?;
    publisher.enricher.processes = options.has_stages().then(Processes::of_proc);
    let mut sampling = Sampling {
        looks: Looks::new(&options.filter, how),
        sampler: Sampler::new(identity, Arc::clone(&host), Tell::News),
        publisher,
        traffic: options.has_traffic(),
    };

    let started = Instant::now();
    sampling.publisher.begin(Moment::now());
    let first = sampling.looks.next().await?;
    sampling.take(&first);
    say_ready(&mut options, &first.listing, interval)?;
    let deadline = options.duration.map(|duration| started + duration);
    let mut error = sampling.until(&mut stop, deadline).await.err();
    error = error.or(sampling.last_look().await.err());
    let duration = started.elapsed();
    let rounds = sampling.sampler.rounds();
    let publisher = sampling.finish(&mut stop).await;

    let publish::End {
        aggregate,
        stream,
        map_errors,
        peers,
    } = publisher.finish(0, &mut stop).await;
    let mut summary = aggregate.finish(Run {
        time: Moment::now().time,
        host: Some(host),
        traced: Some(Traced {
            duration_ns: nanoseconds(duration),
            backend: BACKEND.to_owned(),
            accounting: Accounting::Socket.name(),
            not_attached: Vec::new(),
        }),
        loss: None,
        kernel: None,
        replay: None,
        sampled: Some(Sampled {
            rounds,
            interval_ns: nanoseconds(interval),
            output_dropped: stream.dropped,
        }),
    });
    if let Some(mut peers) = peers {
        peers.describe(&mut summary.peers);
    }
    let outcome = Outcome {
        error: error.map(io::Error::other),
        stream,
        hooks_missing: false,
        map_errors,
    };
    Ok(conclude(&options, &summary, summary_file, &outcome))
}

/// Says what is seen from now on, and what is not.
fn say_ready(options: &mut Options, first: &Listing, interval: Duration) -> anyhow::Result<()> {
    let blind = format!("backend {BACKEND} does not see {}", blind_spots(interval));
    let closed = (first.closed > 0).then(|| {
        format!(
            "nothing is seen in {} other network namespaces, which only CAP_SYS_ADMIN may enter",
            first.closed
        )
    });
    let unseen = first.unseen.sentence();
    let notes = first.notes.iter().cloned().chain(unseen).chain(closed);
    for note in std::iter::once(blind).chain(notes) {
        say(&format!("note: {note}"));
    }
    say(&format!(
        "ready: backend {BACKEND}, sampled: sockets are looked at every {}, not traced",
        crate::report::sampled::time(interval)
    ));
    start::tell_ready(options)
}

/// What the loop works with.
struct Sampling {
    looks: Looks,
    sampler: Sampler,
    publisher: Publisher,
    /// Whether traffic of open connections is told.
    traffic: bool,
}

impl Sampling {
    fn take(&mut self, look: &Look) {
        let mut out = Wanted {
            publisher: &mut self.publisher,
            traffic: self.traffic,
        };
        self.sampler.take(&look.listing.sockets, look.at, &mut out);
        // An interval ends with the first look after its time: what that finds came before.
        let now = Moment::now();
        let remaining = self.publisher.interval_remaining(now.mono_ns);
        if remaining == Some(Duration::ZERO) {
            self.publisher.close_interval(now);
        }
        self.publisher.flush();
        if let Some(keeper) = &mut self.publisher.keeper {
            keeper.tick();
        }
    }

    /// Looks, until something says stop. After an error the totals so far are still good.
    async fn until(&mut self, stop: &mut Stop, deadline: Option<Instant>) -> anyhow::Result<()> {
        let mut next_refresh = Instant::now();
        loop {
            let behind = self.publisher.is_behind();
            tokio::select! {
                biased;
                () = stop.requested() => return Ok(()),
                () = self.publisher.output_ended() => return Ok(()),
                () = timer::until(deadline) => return Ok(()),
                room = self.publisher.room(), if behind => self.publisher.hand_over(room),
                look = self.looks.next(), if !behind => self.take(&look?),
            }
            let now = Instant::now();
            if now >= next_refresh {
                next_refresh = now + REFRESH;
                self.publisher.refresh_carriers();
            }
        }
    }

    /// What changed since the last look; nothing if that takes too long.
    async fn last_look(&mut self) -> anyhow::Result<()> {
        match timeout(GRACE, self.looks.last()).await {
            Ok(look) => self.take(&look?),
            Err(_) => say("note: looking at the sockets takes too long; the tables end before"),
        }
        Ok(())
    }

    async fn finish(mut self, stop: &mut Stop) -> Publisher {
        self.publisher.catch_up(stop).await;
        let now = Moment::now();
        self.sampler.stop(now, &mut self.publisher);
        self.publisher.close_interval(now);
        self.publisher
    }
}

/// Leaves out what is not asked for.
struct Wanted<'a> {
    publisher: &'a mut Publisher,
    traffic: bool,
}

impl Out for Wanted<'_> {
    fn push(&mut self, record: Record) {
        if self.traffic || record.event != EventKind::Traffic {
            self.publisher.push(record);
        }
    }
}

/// Looks at the sockets, one after the other.
struct Looks {
    what: Arc<What>,
    interval: Duration,
    next: Instant,
    /// The one that is not done.
    looking: Option<JoinHandle<Result<Look, ReadError>>>,
}

/// What is looked at.
struct What {
    places: Vec<Place>,
    filter: Filter,
    /// What goes away after the first look is not there any more, and no error.
    has_looked: AtomicBool,
}

/// The sockets at a moment.
struct Look {
    at: Moment,
    listing: Listing,
}

impl Looks {
    fn new(filter: &FilterOptions, how: Poll) -> Self {
        Self {
            what: Arc::new(What {
                places: how.places,
                filter: Filter {
                    options: filter.clone(),
                    ..Filter::default()
                },
                has_looked: AtomicBool::new(false),
            }),
            interval: how.interval,
            next: Instant::now(),
            looking: None,
        }
    }

    /// The next one, when it is its time. In a thread of its own: it reads all of `/proc`. Safe to
    /// cancel.
    async fn next(&mut self) -> anyhow::Result<Look> {
        let looking = match &mut self.looking {
            Some(looking) => looking,
            none => {
                sleep_until(self.next).await;
                let what = Arc::clone(&self.what);
                none.insert(tokio::task::spawn_blocking(move || what.look()))
            }
        };
        let look = looking.await;
        self.looking = None;
        // One that takes too long delays the others.
        self.next = (self.next + self.interval).max(Instant::now());
        Ok(look.context("looking at the sockets broke off")??)
    }

    /// One more, now.
    async fn last(&mut self) -> anyhow::Result<Look> {
        if self.looking.is_some() {
            // Began before whatever ended the run; what it saw, the next one sees, too.
            self.next().await?;
        }
        self.next = Instant::now();
        self.next().await
    }
}

impl What {
    fn look(&self) -> Result<Look, ReadError> {
        let at = Moment::now();
        let has_looked = self.has_looked.swap(true, Ordering::Relaxed);
        let listing = match &self.places[..] {
            [] => read::read_all(&self.filter),
            places if has_looked => read::read_remaining(places, &self.filter),
            places => read::read(places, &self.filter),
        }?;
        Ok(Look { at, listing })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
