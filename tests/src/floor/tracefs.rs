//! The prototype needs the number of an event, which is in tracefs; not every machine mounts it.

use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const PLACE: &str = "/sys/kernel/tracing";

/// Mounts it for this process alone, which has no second thread yet, unless it is there.
pub(super) fn mount_privately() -> Result<()> {
    if Path::new(PLACE).join("events").is_dir() {
        return Ok(());
    }
    // SAFETY: only this process's view of the mounts changes; no descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("cannot make a mount namespace")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("cannot make mounts private")?;
    mount(
        "tracefs",
        PLACE,
        "tracefs",
        MountFlags::empty(),
        None::<&std::ffi::CStr>,
    )
    .with_context(|| format!("cannot mount tracefs at {PLACE}"))
}
