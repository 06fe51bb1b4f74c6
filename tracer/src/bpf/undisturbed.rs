//! While a process reads or writes a map by a system call, the kernel runs no kprobe and no classic
//! tracepoint program on that processor. Where it can also take the processor from the process in
//! the middle of such a call (7.0 on), those programs are skipped for as long as others run.

/// Whether map calls have to be protected from that.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapCalls {
    pub(super) can_be_preempted: bool,
}

impl MapCalls {
    /// Until the guard is dropped, only real-time tasks take the processor from this thread. Without
    /// the right to do that (`CAP_SYS_NICE`) nothing changes; what is skipped is counted.
    pub(super) fn undisturbed(self) -> Option<Undisturbed> {
        (self.can_be_preempted && set_policy(libc::SCHED_FIFO, 1)).then_some(Undisturbed)
    }
}

/// See [`MapCalls::undisturbed`].
pub(super) struct Undisturbed;

impl Drop for Undisturbed {
    fn drop(&mut self) {
        set_policy(libc::SCHED_OTHER, 0);
    }
}

/// Sets the scheduling policy of the calling thread; the nice value stays as it is.
fn set_policy(policy: libc::c_int, priority: libc::c_int) -> bool {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: `parameters` is a whole `sched_param`; thread 0 is the calling one.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}
