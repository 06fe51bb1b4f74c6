//! Who the prototype's records are for: without a reader the kernel would have nobody to wake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::RingBuf;

use crate::harness::readable;

/// How long it waits when nobody wakes it.
const PAUSE: Duration = Duration::from_millis(20);

/// A thread that takes records and forgets them.
#[derive(Debug)]
pub(super) struct Reader {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Takes the ring buffer from the object.
    pub(super) fn start(object: &mut Ebpf) -> Result<Self> {
        let map = object.take_map("RECORDS").context("no ring buffer")?;
        let mut ring = RingBuf::try_from(map)?;
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                readable(&ring, PAUSE);
                while ring.next().is_some() {}
            }
        });
        Ok(Self {
            over,
            thread: Some(thread),
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}
