//! The processes that are followed: a command or some that ran already, and all that they start.
//!
//! The map has an id for each, with the start of its process: an id that is used again is another
//! process.

/// Room in the map, for processes that run at the same time.
pub const MAX_FOLLOWED: u32 = 65_536;

/// What the user side writes for a start, which it cannot know as exactly as the kernel. It does so
/// while the process is there, and the kernel side removes the id when the process is gone.
pub const ANY_START: u64 = 0;

/// Whether the process that started at `start_ns` (boot time) is the one that the map has.
#[inline(always)]
pub const fn is_same(known: u64, start_ns: u64) -> bool {
    known == ANY_START || known == start_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_used_again_is_another_process() {
        assert!(is_same(7, 7));
        assert!(!is_same(7, 8));
        assert!(is_same(ANY_START, 8));
    }
}
