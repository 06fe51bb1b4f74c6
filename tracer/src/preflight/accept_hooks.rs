//! Whether programs can be attached to the exits of the accept system calls. These go through
//! tracefs and performance events, which the rest of the tracer does without.

use super::capabilities::{Capabilities, Capability};

/// The event whose number is asked for; the kernel has all accept events or none.
pub(super) const EVENT_ID: &str = "events/syscalls/sys_exit_accept4/id";

/// Where tracefs is, by the kernel's own choice and by the older one.
pub(super) const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The level of `perf_event_paranoid` from which distributions refuse all performance events to
/// processes without `CAP_SYS_ADMIN`. Debian does so at 3, Ubuntu at 4; unpatched kernels never.
const PARANOID_REFUSES: i32 = 3;

/// What is found of tracefs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracefs {
    /// The number of the accept event can be read.
    Readable,
    /// It is mounted, for others.
    Forbidden,
    /// It is mounted and has no accept event.
    NoEvent,
    /// It is not mounted.
    NotMounted,
}

impl Tracefs {
    /// From whether each of [`TRACEFS`] is a mounted tracefs, and reading [`EVENT_ID`] there.
    pub(super) fn from_reads<T>(
        reads: impl IntoIterator<Item = (bool, std::io::Result<T>)>,
    ) -> Self {
        let mut best = Self::NotMounted;
        for (mounted, read) in reads {
            let found = match read {
                Ok(_) => return Self::Readable,
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    Self::Forbidden
                }
                Err(_) if mounted => Self::NoEvent,
                Err(_) => continue,
            };
            // The second mount shows the same tracefs behind another door.
            if best == Self::NotMounted || found == Self::NoEvent {
                best = found;
            }
        }
        best
    }
}

/// Whether the accept hooks can be used here: a forecast that words the failure. An attach
/// attempt decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptHooksPossible {
    /// Nothing speaks against it.
    Yes,
    /// Only after mounting tracefs privately, which this process may do.
    AfterMount,
    /// No; why and what to do about it.
    No(AcceptHooksReason),
}

/// Why the accept hooks cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptHooksReason {
    /// tracefs is not mounted, and may not be mounted by this process.
    #[error(
        "tracefs is not mounted; `sudo mount -t tracefs tracefs /sys/kernel/tracing` mounts it"
    )]
    NotMounted,
    /// tracefs cannot be read.
    #[error("tracefs is for root only; run with sudo, or add CAP_DAC_READ_SEARCH")]
    Forbidden,
    /// The kernel has no system call events.
    #[error("this kernel has no system call tracepoints (CONFIG_FTRACE_SYSCALLS)")]
    NoEvent,
    /// The distribution's kernel keeps performance events to administrators.
    #[error(
        "kernel.perf_event_paranoid={0} keeps performance events to CAP_SYS_ADMIN; run with sudo, \
         or lower it with `sudo sysctl kernel.perf_event_paranoid=2`"
    )]
    Paranoid(i32),
}

/// Judges what was found: tracefs, the text of `perf_event_paranoid`, the capabilities.
pub fn accept_hooks_possible(
    tracefs: Tracefs,
    paranoid: Option<&str>,
    capabilities: Capabilities,
) -> AcceptHooksPossible {
    let admin = capabilities.has(Capability::SysAdmin);
    let paranoid = paranoid
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let reason = match tracefs {
        Tracefs::NoEvent => AcceptHooksReason::NoEvent,
        Tracefs::Forbidden => AcceptHooksReason::Forbidden,
        Tracefs::NotMounted if !admin => AcceptHooksReason::NotMounted,
        _ if paranoid >= PARANOID_REFUSES && !admin => AcceptHooksReason::Paranoid(paranoid),
        Tracefs::NotMounted => return AcceptHooksPossible::AfterMount,
        Tracefs::Readable => return AcceptHooksPossible::Yes,
    };
    AcceptHooksPossible::No(reason)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    fn with(bits: &[u8]) -> Capabilities {
        let mask = bits.iter().fold(0_u64, |mask, bit| mask | 1 << bit);
        Capabilities::from_status(&format!("CapEff:\t{mask:016x}\n"))
    }

    #[test]
    fn root_may_whatever_the_paranoid_level_is() {
        for paranoid in [
            None,
            Some("-1\n"),
            Some("2\n"),
            Some("4\n"),
            Some("garbage"),
        ] {
            let possible = accept_hooks_possible(Tracefs::Readable, paranoid, with(&[2, 21]));
            assert_eq!(possible, AcceptHooksPossible::Yes, "{paranoid:?}");
        }
    }

    #[test]
    fn perfmon_may_up_to_the_level_of_unpatched_kernels() {
        let possible =
            |paranoid| accept_hooks_possible(Tracefs::Readable, Some(paranoid), with(&[38, 39]));
        assert_eq!(possible("2\n"), AcceptHooksPossible::Yes);
        let refused = AcceptHooksPossible::No(AcceptHooksReason::Paranoid(3));
        assert_eq!(possible("3\n"), refused);
    }

    #[test]
    fn an_unmounted_tracefs_is_curable_by_an_administrator_only() {
        let possible = |bits| accept_hooks_possible(Tracefs::NotMounted, Some("2\n"), with(bits));
        assert_eq!(possible(&[21]), AcceptHooksPossible::AfterMount);
        let refused = AcceptHooksPossible::No(AcceptHooksReason::NotMounted);
        assert_eq!(possible(&[2, 38, 39]), refused);
    }

    #[test]
    fn an_unreadable_tracefs_and_a_kernel_without_the_event_are_told_apart() {
        let possible = |tracefs| accept_hooks_possible(tracefs, Some("2\n"), with(&[38, 39]));
        let no = AcceptHooksPossible::No;
        assert_eq!(
            possible(Tracefs::Forbidden),
            no(AcceptHooksReason::Forbidden)
        );
        assert_eq!(possible(Tracefs::NoEvent), no(AcceptHooksReason::NoEvent));
    }

    #[test]
    fn the_state_of_tracefs_follows_from_reading_the_event() {
        let denied = || Err(Error::from(ErrorKind::PermissionDenied));
        let absent = || Err(Error::from(ErrorKind::NotFound));
        for (first, second, expected) in [
            ((true, Ok(())), (false, absent()), Tracefs::Readable),
            ((false, absent()), (true, Ok(())), Tracefs::Readable),
            ((true, denied()), (false, absent()), Tracefs::Forbidden),
            ((true, absent()), (false, denied()), Tracefs::NoEvent),
            ((false, absent()), (false, denied()), Tracefs::Forbidden),
            ((true, denied()), (true, Ok(())), Tracefs::Readable),
            ((false, absent()), (false, absent()), Tracefs::NotMounted),
        ] {
            let shown = format!("{first:?} {second:?}");
            assert_eq!(Tracefs::from_reads([first, second]), expected, "{shown}");
        }
    }
}
