//! The map of a live run: counted in the loop, saved and shown by a thread of its own. The loop never
//! waits for a disk, except at the end.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::Source;
use super::delta::{Accumulator, Delta};
use super::options::Live;
use super::report_file::ReportFile;
use super::saver::Saver;
use super::store::Store;
use crate::clock;
use crate::options::peers::PeerOptions;
use crate::peers::Peers;
use crate::record::{ConnectionId, Record, WallTime};
use crate::say::say;
use crate::stop::Stop;

/// New relations, each of about 200 bytes, that make a save due,
const MANY: usize = 1 << 16;
/// and that are kept while it is not possible; further ones are counted.
const MOST: usize = 1 << 18;
/// How long the end waits before it says so.
const HINT: Duration = Duration::from_secs(2);

/// Keeps the map of this run.
#[derive(Debug)]
pub struct Keeper {
    accumulator: Accumulator,
    jobs: Sender<Job>,
    done: UnboundedReceiver<Done>,
    /// Jobs that are not done.
    outstanding: u32,
    /// The last save failed: the next one is made when its time has come, and not before.
    failing: bool,
    save_every: Duration,
    next_save: Instant,
    report_every: Option<Duration>,
    next_report: Instant,
}

#[derive(Debug)]
struct Job {
    delta: Delta,
    now: WallTime,
    save: bool,
    report: bool,
}

/// What became of a job.
#[derive(Debug, Default)]
struct Done {
    save: Option<String>,
    report: Option<String>,
}

impl Keeper {
    /// Opens what the map goes to, so that a bad path is known early; `None` if none is wanted.
    /// Reports have what `peers` asks for.
    pub fn start(options: &Live, peers: &PeerOptions) -> anyhow::Result<Option<Self>> {
        if !options.is_wanted() {
            return Ok(None);
        }
        let store = match &options.state {
            Some(path) => Store::open(path, options.limits),
            None => Store::in_memory(options.limits),
        };
        let store = store.map_err(|error| anyhow::anyhow!("--state: {error}"))?;
        let mut report = match &options.report {
            Some(report) => {
                let peers = Peers::start(peers)?;
                Some(ReportFile::open(report.clone(), peers).map_err(report_error)?)
            }
            None => None,
        };
        if let Some(report) = &mut report {
            let map = store.read()?;
            report.write(map, clock::now()).map_err(report_error)?;
        }
        let (jobs, new_jobs) = channel();
        let (tell, done) = unbounded_channel();
        let worker = Worker {
            saver: Saver::new(store),
            report,
            pending: Delta::new(MOST),
            report_failing: false,
        };
        std::thread::Builder::new()
            .name("map".to_owned())
            .spawn(move || worker.run(&new_jobs, &tell))?;
        let now = Instant::now();
        let report_every = options.report.as_ref().map(|report| report.every);
        Ok(Some(Self {
            accumulator: Accumulator::new(Source::Traced, MOST),
            jobs,
            done,
            outstanding: 0,
            failing: false,
            save_every: options.save_every,
            next_save: now + options.save_every,
            report_every,
            next_report: now + report_every.unwrap_or_default(),
        }))
    }

    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        self.accumulator.add(record);
    }

    /// Forgets a connection whose end nobody will tell.
    pub fn vanished(&mut self, id: ConnectionId) {
        self.accumulator.vanished(id);
    }

    /// Has the thread do what is due; to be called now and then.
    pub fn tick(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            self.outstanding -= 1;
            self.failing = done.save.is_some();
        }
        if self.outstanding > 0 {
            return;
        }
        let now = Instant::now();
        let save = now >= self.next_save;
        let report = self.report_every.is_some() && now >= self.next_report;
        let many = self.accumulator.delta.len() >= MANY && !self.failing;
        if save || many {
            self.next_save = now + self.save_every;
        }
        if report {
            self.next_report = now + self.report_every.unwrap_or_default();
        }
        if save || many || report {
            self.hand_over(save || many, report);
        }
    }

    fn hand_over(&mut self, save: bool, report: bool) {
        let job = Job {
            delta: self.accumulator.delta.take(),
            now: clock::now(),
            save,
            report,
        };
        // The thread ends after this, and only then.
        if self.jobs.send(job).is_ok() {
            self.outstanding += 1;
        }
    }

    /// Saves and shows the rest, and returns what went wrong. Does not wait past a signal.
    ///
    /// `untraced`: connections that the tracer knows to be missing.
    pub async fn finish(mut self, untraced: u64, stop: &mut Stop) -> Vec<String> {
        self.accumulator.delta.forgotten.untraced_connections += untraced;
        self.hand_over(true, self.report_every.is_some());
        let mut last = Done::default();
        let everything = async {
            while self.outstanding > 0 {
                match self.done.recv().await {
                    Some(done) => last = done,
                    None => break,
                }
                self.outstanding -= 1;
            }
        };
        let hint = async {
            tokio::time::sleep(HINT).await;
            say("waiting for the disk that keeps the map; once more Ctrl-C to wait no longer");
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = everything => {}
            () = stop.requested() => {}
            () = hint => {}
        }
        if self.outstanding > 0 {
            return vec!["--state: the end of the map is not saved: it took too long".to_owned()];
        }
        last.save.into_iter().chain(last.report).collect()
    }
}

fn report_error(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("--report: {error}")
}

/// The thread's part.
#[derive(Debug)]
struct Worker {
    saver: Saver,
    report: Option<ReportFile>,
    /// What could not be saved yet.
    pending: Delta,
    report_failing: bool,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, tell: &UnboundedSender<Done>) {
        while let Ok(job) = jobs.recv() {
            // Nobody listens when the run has stopped waiting.
            let _ = tell.send(self.work(job));
        }
    }

    fn work(&mut self, job: Job) -> Done {
        self.pending.append(job.delta);
        let mut done = Done::default();
        if job.save {
            done.save = self.save(job.now);
        }
        if job.report {
            done.report = self.show(job.now);
        }
        done
    }

    fn save(&mut self, now: WallTime) -> Option<String> {
        match self.saver.save(&self.pending, now) {
            Ok(()) => {
                self.pending = Delta::new(MOST);
                None
            }
            Err(error) => Some(format!("--state: {error}")),
        }
    }

    fn show(&mut self, now: WallTime) -> Option<String> {
        let report = self.report.as_mut()?;
        let shown = match self.saver.store.read() {
            Ok(mut map) => {
                map.add(&self.pending);
                report.write(map, now).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let error = shown.err().map(|error| format!("--report: {error}"));
        match &error {
            None if self.report_failing => say("note: the report is written again"),
            Some(error) if !self.report_failing => {
                say(&format!("warning: {error}; it is tried again"));
            }
            _ => {}
        }
        self.report_failing = error.is_some();
        error
    }
}

#[cfg(test)]
mod tests;
