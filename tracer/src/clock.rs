//! The two clocks: monotonic for durations, wall for people.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::record::WallTime;

/// Now, nanoseconds of the monotonic clock, which the kernel side uses.
pub fn mono_ns() -> u64 {
    u64::try_from(nanoseconds(clock_gettime(ClockId::Monotonic))).unwrap_or(0)
}

/// Wall clock minus monotonic clock, nanoseconds. It changes when the clock is set, so it is asked
/// for again now and then.
pub fn wall_offset_ns() -> i64 {
    let wall = nanoseconds(clock_gettime(ClockId::Realtime));
    wall - nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// A monotonic time by the wall clock.
pub fn wall_time(mono_ns: u64, wall_offset_ns: i64) -> WallTime {
    WallTime(
        i64::try_from(mono_ns)
            .unwrap_or(i64::MAX)
            .saturating_add(wall_offset_ns),
    )
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}
