//! `conntracer list`: every TCP socket there is now.
//!
//! | part | does |
//! |---|---|
//! | [`socket`] | what a socket is |
//! | [`arrange`], [`filter`] | each once, with its direction, in order; those that are wanted; pure |
//! | [`json`], [`crate::report::sockets`] | lines and tables; pure |
//! | [`sock_diag`], `tcp_info` | the kernel's list, and its byte counts |
//! | `proc_net` | the list of a kernel without that |
//! | `owners`, [`users`] | whose they are |
//! | [`sampler`], `kept` | from reading to reading what is new, pure; the map of that |
//! | [`place`], [`mod@read`] | where to look; all of the above |

pub mod arrange;
pub mod filter;
pub mod json;
mod kept;
mod owners;
pub mod place;
mod proc_net;
pub mod read;
pub mod sampler;
pub mod sock_diag;
pub mod socket;
mod tcp_info;
pub mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::map::options::Limits;
use crate::options::PeerOptions;
use crate::peers::Peers;
use crate::record::{Peer, WallTime};
use crate::report::{peers, sockets};
use crate::say::say;
use crate::stop::Stop;
use crate::timer::Timer;
use crate::{clock, exit, host, preflight, terminal};
use filter::Filter;
use kept::Kept;
use place::Place;
use read::Listing;
use sampler::Moment;
use users::Users;

/// How long a round may go on after a signal. A consumer that takes nothing must not keep us.
const GRACE: Duration = Duration::from_secs(1);

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Network namespaces; never empty.
    pub places: Vec<Place>,
    /// Which sockets.
    pub filter: Filter,
    /// How they are written.
    pub format: Format,
    /// How often; `None` = until a signal comes.
    pub count: Option<u64>,
    /// From the start of a round to that of the next; longer than zero.
    pub interval: Duration,
    /// Nothing is printed.
    pub quiet: bool,
    /// What is told of peers beyond their addresses.
    pub peers: PeerOptions,
    /// The map that they are added to; `None` = none is.
    pub state: Option<PathBuf>,
    /// Bounds of the map.
    pub limits: Limits,
}

/// How sockets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object a line.
    Json,
}

/// One reading of all sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Counts from 1.
    pub number: u64,
    /// When it began.
    pub time: WallTime,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Whole,
    /// The reader has enough.
    Closed,
}

/// What stays the same from round to round.
#[derive(Debug)]
struct Lister {
    options: Options,
    users: Users,
    host: String,
    zone: TimeZone,
    /// Likewise.
    peers: Mutex<Option<Peers>>,
    /// Rounds follow each other; only to a thread of its own it is borrowed.
    kept: Mutex<Option<Kept>>,
}

/// Lists the sockets, as often as was asked for. Returns the exit code.
pub async fn run(options: Options) -> anyhow::Result<u8> {
    let (count, interval) = (options.count, options.interval);
    let host = host::name();
    let kept = match &options.state {
        Some(path) => {
            let identity = host::identity().context("/dev/urandom")?;
            let kept = Kept::open(path, options.limits, identity, host.as_str().into());
            Some(kept.context("--state")?)
        }
        None => None,
    };
    let peers = Peers::start(&options.peers)?;
    let lister = Arc::new(Lister {
        options,
        users: Users::read(),
        host,
        zone: TimeZone::system(),
        peers: Mutex::new(peers),
        kept: Mutex::new(kept),
    });
    if count == Some(1) {
        lister.round(1)?;
    } else {
        rounds(&lister, count, interval).await?;
    }
    lister.finish()
}

/// Round after round, until there were as many, nobody reads on, or a signal comes.
async fn rounds(
    lister: &Arc<Lister>,
    count: Option<u64>,
    interval: Duration,
) -> anyhow::Result<()> {
    let mut stop =
        Stop::listen(preflight::hangup_ignored()).context("cannot listen for signals")?;
    let mut timer = Timer::new().context("cannot make a timer")?;
    let mut next = Instant::now();
    for number in 1.. {
        let worker = Arc::clone(lister);
        let mut round = tokio::task::spawn_blocking(move || worker.round(number));
        let ended = tokio::select! {
            ended = &mut round => ended,
            () = stop.requested() => {
                if let Ok(ended) = tokio::time::timeout(GRACE, round).await {
                    ended??;
                }
                return Ok(());
            }
        };
        if ended?? == Written::Closed || count == Some(number) {
            break;
        }
        // A round that takes too long delays the others.
        next = (next + interval).max(Instant::now());
        timer.set(next.saturating_duration_since(Instant::now()))?;
        tokio::select! {
            gone_off = timer.gone_off() => gone_off?,
            () = stop.requested() => break,
        }
    }
    Ok(())
}

impl Lister {
    fn round(&self, number: u64) -> anyhow::Result<Written> {
        let mono_ns = clock::mono_ns();
        let time = clock::wall_time(mono_ns, clock::wall_offset_ns());
        let listing = read::read(&self.options.places, &self.options.filter)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &mut *kept {
            kept.add(&listing.sockets, Moment { mono_ns, time });
        }
        drop(kept);
        let written = if self.options.quiet {
            Ok(())
        } else {
            self.write(&listing, Round { number, time })
        };
        if number == 1 {
            let unseen = listing.unseen.sentence();
            listing
                .notes
                .iter()
                .chain(&unseen)
                .for_each(|note| say(note));
        }
        match written {
            Ok(()) => Ok(Written::Whole),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Written::Closed),
            Err(error) => Err(error).context("cannot write the list"),
        }
    }

    /// Whether all of the map is saved. A round that does not end keeps it: it has saved the ones
    /// before.
    fn finish(&self) -> anyhow::Result<u8> {
        let kept = self.kept.try_lock().ok().and_then(|mut kept| kept.take());
        kept.map_or(Ok(()), Kept::finish).context("--state")?;
        Ok(exit::CLEAN)
    }

    /// What is known of the peers of the sockets.
    fn known(&self, listing: &Listing) -> BTreeMap<IpAddr, Arc<Peer>> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(peers) = &mut *peers else {
            return BTreeMap::new();
        };
        let remotes = listing.sockets.iter().filter_map(|socket| socket.remote);
        let ips: BTreeSet<_> = remotes.map(|remote| remote.ip()).collect();
        peers.of_all(&ips)
    }

    fn write(&self, listing: &Listing, round: Round) -> io::Result<()> {
        let known = self.known(listing);
        let stdout = io::stdout().lock();
        let width = terminal::width(&stdout);
        let mut out = BufWriter::new(stdout);
        match self.options.format {
            Format::Json => {
                for socket in &listing.sockets {
                    let mut line = json::Line::new(socket, round, &self.host, &self.users);
                    line.peer = socket.remote.and_then(|it| known.get(&it.ip()).cloned());
                    serde_json::to_writer(&mut out, &line)?;
                    out.write_all(b"\n")?;
                }
            }
            Format::Table => {
                if self.options.count != Some(1) {
                    let title = sockets::title(round, &self.zone);
                    writeln!(out, "{title}")?;
                }
                out.write_all(sockets::text(&listing.sockets, &self.users, width).as_bytes())?;
                let known = known.iter().map(|(ip, peer)| (*ip, &**peer));
                let lines = peers::lines(known, width);
                let gap = if lines.is_empty() { "" } else { "\n" };
                out.write_all(gap.as_bytes())?;
                for line in lines {
                    writeln!(out, "{line}")?;
                }
                if self.options.count != Some(1) {
                    writeln!(out)?;
                }
            }
        }
        out.flush()
    }
}
