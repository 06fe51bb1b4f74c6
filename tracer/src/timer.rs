//! A timer that wakes the process once. tokio's own wheel does so twice for a wait of more than
//! 64 ms, which is half of what an idle tracer does.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

/// Waits for the end of a run; for ever without one.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Goes off once each time it is set.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
}

impl Timer {
    /// Not set. Must be called inside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an `OwnedFd` is the same descriptor until it is dropped.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
            .map_err(|error| error.into_parts().1)?;
        Ok(Self { fd })
    }

    /// Has it go off `after` a time, and not before.
    pub fn set(&mut self, after: Duration) -> io::Result<()> {
        // Zero would switch it off.
        let after = after.max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(after).map_err(io::Error::other)?;
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value,
        };
        timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Waits until it has gone off since it was set. Safe to cancel.
    pub async fn gone_off(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            let mut count = [0; 8];
            // Setting it takes a count back that nobody read.
            match rustix::io::read(self.fd.get_ref(), &mut count) {
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                result => {
                    result?;
                    ready.clear_ready();
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_off_each_time_it_is_set_and_the_last_time_counts() {
        let mut timer = Timer::new().unwrap();
        for after in [Duration::ZERO, Duration::from_millis(3)] {
            timer.set(after).unwrap();
            timer.gone_off().await.unwrap();
        }
        timer.set(Duration::ZERO).unwrap();
        timer.set(Duration::from_hours(1)).unwrap();
        let early = tokio::time::timeout(Duration::from_millis(20), timer.gone_off()).await;
        assert!(early.is_err());
    }
}
