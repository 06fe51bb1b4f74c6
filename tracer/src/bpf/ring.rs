//! The reader's end of the ring buffer.

use std::io;

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::decode::{self, Decoded};

/// A ring that can be waited for. The kernel side wakes it above a threshold only; below that, a
/// timer has to come by.
pub struct Ring(AsyncFd<RingBuf<MapData>>);

impl Ring {
    /// Must be called inside a tokio runtime.
    pub fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: a `RingBuf` owns its map descriptor and returns the same one until it is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self(ring))
    }

    /// Waits until the kernel side finds the ring worth reading.
    pub async fn filled(&mut self) -> io::Result<()> {
        self.0.readable_mut().await?.clear_ready();
        Ok(())
    }

    /// Hands over what is in the ring, at most `limit` records, so that a busy kernel cannot keep
    /// the reader from everything else. Returns whether the ring is empty.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(Decoded)) -> bool {
        let ring = self.0.get_mut();
        for _ in 0..limit {
            match ring.next() {
                Some(record) => each(decode::decode(&record)),
                None => return true,
            }
        }
        false
    }
}
