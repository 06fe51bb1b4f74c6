//! Where addresses are, by the databases that the user has. A file that is replaced is read again,
//! in a thread of its own.
//!
//! | part | does |
//! |---|---|
//! | `entry` | an entry to what is known; pure |
//! | `other` | what a file is that is no database; pure |
//! | `database` | one file |

mod database;
mod entry;
mod other;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::record::Peer;
use crate::say::say;
use database::{Database, Stamp};

/// How often is looked whether a file was replaced, when somebody asks for addresses.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Orders that wait for the thread: a look, and databases that are thrown away.
const ORDERS: usize = 8;

/// The databases.
#[derive(Debug)]
pub(super) struct GeoIp {
    databases: Vec<Database>,
    orders: SyncSender<Order>,
    replacements: Receiver<(usize, Database)>,
    next_look: Instant,
}

impl GeoIp {
    /// Reads all of them.
    pub(super) fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let open = |path: &PathBuf| {
            let opened = Database::open(path);
            opened.map_err(|error| anyhow::anyhow!("--geoip {} {error}", path.display()))
        };
        let databases: Vec<_> = paths.iter().map(open).collect::<Result<_, _>>()?;
        let files = paths.iter().zip(&databases);
        let files = files.map(|(path, database)| Watched::new(path.clone(), database.stamp));
        let files = files.collect();
        let (orders, taken) = sync_channel(ORDERS);
        let (found, replacements) = channel();
        thread::Builder::new()
            .name("geoip".to_owned())
            .spawn(move || watch(files, &taken, &found))
            .context("--geoip: cannot start a thread")?;
        Ok(Self {
            databases,
            orders,
            replacements,
            next_look: Instant::now() + LOOK_EVERY,
        })
    }

    /// Has the files looked at now and then; returns whether one was replaced. Never waits.
    pub(super) fn look_after(&mut self, now: Instant) -> bool {
        if now >= self.next_look {
            self.next_look = now + LOOK_EVERY;
            // One that has not looked yet will.
            let _ = self.orders.try_send(Order::Look);
        }
        let mut replaced = false;
        while let Ok((index, database)) = self.replacements.try_recv() {
            let old = std::mem::replace(&mut self.databases[index], database);
            // Giving back so much memory takes milliseconds.
            let unsent = self.orders.try_send(Order::Drop(Box::new(old)));
            if let Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) = unsent {
                drop(order);
            }
            replaced = true;
        }
        replaced
    }

    /// Where `ip` is.
    pub(super) fn find(&mut self, ip: IpAddr) -> Peer {
        let mut peer = Peer::default();
        for database in &mut self.databases {
            database.fill(ip, &mut peer);
        }
        peer
    }
}

enum Order {
    Look,
    Drop(Box<Database>),
}

/// Carries out orders until nobody gives any.
fn watch(mut files: Vec<Watched>, orders: &Receiver<Order>, found: &Sender<(usize, Database)>) {
    for order in orders {
        match order {
            Order::Drop(database) => drop(database),
            Order::Look => {
                for (index, file) in files.iter_mut().enumerate() {
                    let fresh = file.look();
                    if fresh.is_some_and(|fresh| found.send((index, fresh)).is_err()) {
                        return;
                    }
                }
            }
        }
    }
}

/// A file that may be replaced.
struct Watched {
    path: PathBuf,
    /// Of the latest one that was read, or was of no use.
    read: Stamp,
    /// At the latest look.
    seen: Stamp,
}

impl Watched {
    const fn new(path: PathBuf, stamp: Stamp) -> Self {
        Self {
            path,
            read: stamp,
            seen: stamp,
        }
    }

    /// Another one than was read, once it has not changed from one look to the next: it may be
    /// written in place. A file that is missing comes back.
    fn look(&mut self) -> Option<Database> {
        let stamp = Stamp::of(&self.path).ok()?;
        let settled = std::mem::replace(&mut self.seen, stamp) == stamp;
        if !settled || stamp == self.read {
            return None;
        }
        self.read = stamp;
        match Database::open(&self.path) {
            Ok(database) => Some(database),
            Err(error) => {
                say(&format!(
                    "note: --geoip {} {error}; the one that was read before stays in use",
                    self.path.display()
                ));
                None
            }
        }
    }
}
