//! The processes that are followed. A child of one is followed before it runs for the first time: the
//! kernel tells of a fork between making the child and waking it.
//!
//! Where the kernel preempts programs, and skips them meanwhile, two report each fork. Both are
//! skipped only if a task was preempted in the one and another task, on the same processor, in the
//! other. The child of such a fork is found by its parent, when it first connects, accepts or forks
//! itself. That can only fail if its parent has ended by then, too.

use aya_ebpf::bindings::BPF_ANY;
use tracer_common::{config::feature, counters::Counter, filter::test, follow::is_same};

use crate::{
    emit,
    kernel::TaskStruct,
    maps::{FILTER, FOLLOWED, count},
    untracked::Reporter,
};

/// Whether anybody is.
#[inline(always)]
pub fn is_on() -> bool {
    FILTER.load().tests & test::FOLLOW != 0
}

/// Whether the running process is.
#[inline(always)]
pub fn is_running() -> bool {
    is_followed(TaskStruct::current())
}

/// Whether the process of this task is. Not inlined: many ask.
#[inline(never)]
pub fn is_followed(task: TaskStruct) -> bool {
    is_known(task) || (emit::wants(feature::PREEMPTIBLE) && adopt(task))
}

/// Follows the process of this task if its parent is followed.
#[inline(always)]
fn adopt(task: TaskStruct) -> bool {
    let Some(parent) = task.parent() else {
        return false;
    };
    is_known(parent) && follow(task, Reporter::Last)
}

#[inline(always)]
fn is_known(task: TaskStruct) -> bool {
    let Some(start_ns) = FOLLOWED.get_ptr(task.tgid()) else {
        return false;
    };
    // SAFETY: entries are not freed; one that is removed and used again just now has the start of
    // another process, or of the same one.
    is_same(unsafe { *start_ns }, task.process_start())
}

/// `false` without room, which the last of those that report the same fork counts.
#[inline(always)]
fn follow(task: TaskStruct, reporter: Reporter) -> bool {
    let start_ns = task.process_start();
    let has_room = FOLLOWED
        .insert(task.tgid(), start_ns, u64::from(BPF_ANY))
        .is_ok();
    if !has_room && reporter == Reporter::Last {
        count(Counter::FollowFull, 1);
    }
    has_room
}

/// `parent` made `child`, which did not run yet: a process or a thread.
#[inline(always)]
pub fn forked(parent: TaskStruct, child: TaskStruct, reporter: Reporter) {
    if child.tgid() != parent.tgid() && is_followed(parent) {
        follow(child, reporter);
    }
}

/// Nobody can ask for this task any more: it has closed its files, and its parent has waited for it.
#[inline(always)]
pub fn freed(task: TaskStruct) {
    // The last task of a process is the one that has its id.
    if task.tid() == task.tgid() && is_known(task) {
        let _ = FOLLOWED.remove(task.tgid());
    }
}
