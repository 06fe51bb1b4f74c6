//! The two clocks: monotonic for durations, wall for people. The monotonic one is the kernel side's:
//! it is never set, and stands still while the machine is suspended. Only the start of a process
//! counts that time, as everywhere in Linux; the two are never subtracted from each other.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::record::WallTime;

/// Now, nanoseconds of the monotonic clock, which the kernel side uses.
pub fn mono_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap_or(0)
}

/// Wall clock minus monotonic clock, nanoseconds. It changes when the clock is set, so it is asked
/// for again before records are made.
pub fn wall_offset_ns() -> i64 {
    // Of three readings the one during which least time passed, in case this process was held up.
    let mut readings = [(); 3].map(|()| {
        let before = nanoseconds(clock_gettime(ClockId::Monotonic));
        let wall = nanoseconds(clock_gettime(ClockId::Realtime));
        let passed = nanoseconds(clock_gettime(ClockId::Monotonic)) - before;
        (passed, wall - before - passed / 2)
    });
    readings.sort_unstable();
    readings[0].1
}

/// Now, by the wall clock.
pub fn now() -> WallTime {
    wall_time(mono_ns(), wall_offset_ns())
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the monotonic clock, nanoseconds.
    pub mono_ns: u64,
    /// By the wall clock.
    pub time: WallTime,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let mono_ns = mono_ns();
        Self {
            mono_ns,
            time: wall_time(mono_ns, wall_offset_ns()),
        }
    }
}

/// A monotonic time by the wall clock.
pub fn wall_time(mono_ns: u64, wall_offset_ns: i64) -> WallTime {
    WallTime(
        i64::try_from(mono_ns)
            .unwrap_or(i64::MAX)
            .saturating_add(wall_offset_ns),
    )
}

/// A time since boot, as the start of a process is told, by the wall clock.
pub fn wall_time_of_boot(boot_ns: u64) -> WallTime {
    let boot = nanoseconds(clock_gettime(ClockId::Boottime));
    let wall = nanoseconds(clock_gettime(ClockId::Realtime));
    wall_time(boot_ns, wall.saturating_sub(boot))
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}
