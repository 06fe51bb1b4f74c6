//! Classic tracepoints need the event ids in tracefs, which minimal systems do not mount.

use std::io;
use std::path::Path;
use std::thread;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const TRACEFS: &str = "/sys/kernel/tracing";
const PLACES: [&str; 2] = [TRACEFS, "/sys/kernel/debug/tracing"];

/// Runs `work` where tracefs is mounted: here if it is, otherwise in a thread with a mount
/// namespace of its own, so that nothing changes for the rest of the system.
pub(super) fn with_tracefs<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if PLACES
        .iter()
        .any(|place| Path::new(place).join("events").is_dir())
    {
        return Ok(work());
    }
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            mount_privately()?;
            Ok(work())
        });
        worker
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the attaching thread failed")))
    })
}

fn mount_privately() -> io::Result<()> {
    // SAFETY: only this thread's view of the mounts changes (which implies its working directory);
    // no descriptor table is unshared, and the thread ends with the attachment.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(
        "tracefs",
        TRACEFS,
        "tracefs",
        flags,
        None::<&std::ffi::CStr>,
    )?;
    Ok(())
}
