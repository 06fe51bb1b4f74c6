//! The reader's end of the ring buffer.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use tracer_common::event::Touched;

use crate::decode::{self, Decoded};

/// A ring that can be waited for. The kernel side wakes it above a threshold only; below that, a
/// timer has to come by.
pub struct Ring {
    ring: AsyncFd<RingBuf<MapData>>,
    most_records: usize,
}

/// Of the smallest record, with the kernel's head.
const SMALLEST: usize = size_of::<Touched>() + 8;

impl Ring {
    /// `bytes` is the ring's size. Must be called inside a tokio runtime.
    pub fn new(ring: RingBuf<MapData>, bytes: u32) -> io::Result<Self> {
        // SAFETY: a `RingBuf` owns its map descriptor and returns the same one until it is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self {
            ring,
            most_records: bytes as usize / SMALLEST,
        })
    }

    /// Waits until the kernel side finds the ring worth reading.
    pub async fn filled(&mut self) -> io::Result<()> {
        self.ring.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// Records that can be in the ring at one moment: who reads as many has read all that were
    /// there, however fast the kernel adds to them.
    pub fn most_records(&self) -> usize {
        self.most_records
    }

    /// Hands over what is in the ring, at most `limit` records, so that a busy kernel cannot keep
    /// the reader from everything else. Returns whether the ring is empty.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(Decoded)) -> bool {
        let ring = self.ring.get_mut();
        for _ in 0..limit {
            match ring.next() {
                Some(record) => each(decode::decode(&record)),
                None => return true,
            }
        }
        false
    }
}
