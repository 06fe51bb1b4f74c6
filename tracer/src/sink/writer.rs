//! A bounded queue of bytes in front of a thread that writes them. A consumer that stalls, leaves
//! or runs out of space costs records, which are counted, and never time of the tracer.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};

/// How long to wait before trying again when the target is non-blocking and full. A terminal or
/// pipe shared with a program that set `O_NONBLOCK` on it is.
const RETRY: Duration = Duration::from_millis(10);

/// Where the writer stands.
#[derive(Clone, Debug)]
pub enum State {
    /// Chunks are taken and written.
    Running,
    /// The reader is gone (EPIPE).
    Closed,
    /// A write failed.
    Failed(Arc<io::Error>),
}

/// How [`Output::finish`] ended. A chunk that was cut short counts as unwritten.
#[derive(Debug)]
pub enum Finished {
    /// Everything that was accepted is written.
    Flushed,
    /// The consumer did not take everything in time.
    Stalled {
        /// Accepted records that are not written.
        records: u64,
    },
    /// The reader was gone.
    Closed {
        /// Accepted records that are not written.
        records: u64,
    },
    /// A write failed.
    Failed {
        /// Why.
        error: Arc<io::Error>,
        /// Accepted records that are not written.
        records: u64,
    },
}

/// The queue and its thread.
#[derive(Debug)]
pub struct Output {
    shared: Arc<Shared>,
    capacity: usize,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told to the thread: there is a chunk, or no more will come.
    news: Condvar,
    /// Told to `finish`: the thread is done.
    done: Condvar,
    /// Told to `room`: a chunk was written, or the thread is done.
    taken: Notify,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    /// Bytes and records accepted and not yet written, the chunk in the writer's hands included.
    bytes: usize,
    records: u64,
    dropped: u64,
    /// No more chunks will come.
    closing: bool,
    /// The thread takes no more chunks, and has let go of the target.
    done: bool,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    records: u64,
}

impl Output {
    /// Starts the thread. At most `capacity_bytes` wait at a time. `target` gets one write per
    /// chunk and a flush after it, so it needs no buffer; it is dropped when the thread ends.
    pub fn start(target: impl Write + Send + 'static, capacity_bytes: usize) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            news: Condvar::new(),
            done: Condvar::new(),
            taken: Notify::new(),
            state: watch::Sender::new(State::Running),
        });
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("output".to_owned());
        if let Err(error) = thread.spawn(move || writer.run(target)) {
            shared.end(Err(error));
        }
        Self {
            shared,
            capacity: capacity_bytes,
        }
    }

    /// Hands over `chunk`, which holds `records` whole records. Never blocks: a chunk that does not
    /// fit, or comes after the end, is dropped whole and counted.
    pub fn push(&self, chunk: Bytes, records: u64) {
        let mut queue = self.shared.lock();
        let room = self.capacity.saturating_sub(queue.bytes);
        if queue.done || chunk.len() > room {
            queue.dropped += records;
            return;
        }
        queue.bytes += chunk.len();
        queue.records += records;
        queue.chunks.push_back(Chunk {
            bytes: chunk,
            records,
        });
        drop(queue);
        self.shared.news.notify_one();
    }

    /// Waits until a chunk of `bytes` would be accepted, or the writer ended. Safe to cancel.
    pub async fn room(&self, bytes: usize) {
        loop {
            let mut taken = pin!(self.shared.taken.notified());
            // From here on a notification is not missed.
            taken.as_mut().enable();
            if self.has_room(bytes) {
                return;
            }
            taken.await;
        }
    }

    /// Records pushed and not accepted so far.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Whether a chunk of `bytes` would be accepted, or dropped only because the writer ended.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.shared.has_room(bytes, self.capacity)
    }

    /// Whether the consumer has caught up, more or less.
    pub fn is_half_empty(&self) -> bool {
        self.has_room(self.capacity / 2)
    }

    /// Waits until everything accepted is written, or the writer ended: `true`; or until nothing
    /// was taken for `patience`: `false`. Safe to cancel.
    pub async fn flushed(&self, patience: Duration) -> bool {
        // Everything is written when a chunk as large as the queue would fit.
        loop {
            let mut taken = pin!(self.shared.taken.notified());
            taken.as_mut().enable();
            if self.has_room(self.capacity) {
                return true;
            }
            if tokio::time::timeout(patience, taken).await.is_err() {
                return false;
            }
        }
    }

    /// Where the writer stands.
    pub fn state(&self) -> State {
        self.shared.state.borrow().clone()
    }

    /// Waits until the reader is gone or a write has failed. Safe to cancel and to call again.
    pub async fn ended(&self) {
        let mut state = self.shared.state.subscribe();
        // The sender lives as long as `self`, so this cannot end for its lack.
        let _ = state
            .wait_for(|state| !matches!(state, State::Running))
            .await;
    }

    /// Waits until everything accepted is written, or the writer ended, but not longer than
    /// `patience`. A thread that is stuck in a write is left behind.
    pub fn finish(self, patience: Duration) -> Finished {
        let mut queue = self.shared.lock();
        queue.closing = true;
        self.shared.news.notify_one();
        let waited = self
            .shared
            .done
            .wait_timeout_while(queue, patience, |queue| !queue.done);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let records = queue.records;
        match self.state() {
            State::Closed => Finished::Closed { records },
            State::Failed(error) => Finished::Failed { error, records },
            State::Running if queue.done => Finished::Flushed,
            State::Running => Finished::Stalled { records },
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.news.notify_one();
    }
}

impl Shared {
    /// The lock is held for a few instructions only, never during a write.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, bytes: usize, capacity: usize) -> bool {
        let queue = self.lock();
        queue.done || queue.bytes.saturating_add(bytes) <= capacity
    }

    /// The thread.
    fn run(&self, mut target: impl Write) {
        let mut result = Ok(());
        while result.is_ok()
            && let Some(chunk) = self.next()
        {
            result = write_chunk(&mut target, &chunk.bytes);
            if result.is_ok() {
                let mut queue = self.lock();
                queue.bytes -= chunk.bytes.len();
                queue.records -= chunk.records;
                drop(queue);
                self.taken.notify_waiters();
            }
        }
        drop(target);
        self.end(result);
    }

    /// The next chunk; `None` when the last one is written and no more will come.
    fn next(&self) -> Option<Chunk> {
        let queue = self.lock();
        let idle = |queue: &mut Queue| queue.chunks.is_empty() && !queue.closing;
        let waited = self.news.wait_while(queue, idle);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .chunks
            .pop_front()
    }

    fn end(&self, result: io::Result<()>) {
        // The state first: who sees `done` must find the reason.
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.state.send_replace(State::Closed);
            }
            Err(error) => {
                self.state.send_replace(State::Failed(Arc::new(error)));
            }
        }
        let mut queue = self.lock();
        queue.done = true;
        queue.chunks = VecDeque::new();
        self.done.notify_all();
        drop(queue);
        self.taken.notify_waiters();
    }
}

fn write_chunk(target: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match target.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) => wait_out(error)?,
        }
    }
    while let Err(error) = target.flush() {
        wait_out(error)?;
    }
    Ok(())
}

/// Returns the error, or waits if trying again can help.
fn wait_out(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => {}
        ErrorKind::WouldBlock => std::thread::sleep(RETRY),
        _ => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
