//! What this machine allows, found out before anything is loaded so that a refusal has a name
//! and a cure. [`Machine::read`] does the input; the judgements take texts.

pub mod accept_hooks;
pub mod capabilities;
pub mod memlock;

use std::io;
use std::path::{Path, PathBuf};

use crate::bpf::btf::KERNEL_BTF;
pub use accept_hooks::{AcceptHooksPossible, AcceptHooksReason, Tracefs};
use accept_hooks::{EVENT_ID, TRACEFS, accept_hooks_possible};
use capabilities::{Capabilities, Capability, effective_uid, mask, names, setcap_command};

/// What loading and attaching by BTF takes.
const NEEDED: [Capability; 2] = [Capability::Bpf, Capability::Perfmon];

/// `/proc/self/ns/user` of processes outside containers' user namespaces; the kernel fixes it.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Why the tracer cannot start here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocker {
    /// An ordinary user.
    #[error(
        "{missing} missing: tracing needs root or these capabilities. Run with sudo, or once \
         `{setcap}`",
        missing = names(missing)
    )]
    NotPrivileged {
        /// Which are missing.
        missing: Vec<Capability>,
        /// The command that gives them to the program.
        setcap: String,
    },
    /// Root without the powers of root: a container or a restricted service.
    #[error(
        "{missing} missing although this is root. Add them to the container (`--cap-add BPF \
         --cap-add PERFMON`) or to the service's CapabilityBoundingSet",
        missing = names(missing)
    )]
    RestrictedRoot {
        /// Which are missing.
        missing: Vec<Capability>,
    },
    /// The capabilities count within a user namespace only.
    #[error(
        "this is a user namespace (a rootless container), whose root may not load eBPF programs. \
         Run on the host, or in a privileged container"
    )]
    UserNamespace,
    /// No type information.
    #[error(
        "{KERNEL_BTF} is missing: kernel {release} was built without CONFIG_DEBUG_INFO_BTF, or this \
         is a container without /sys. The kernels of Debian 11, Ubuntu 22.04, Fedora 34 and \
         RHEL 9 and later have it"
    )]
    NoBtf {
        /// Kernel release.
        release: String,
    },
    /// Type information that cannot be read.
    #[error("{KERNEL_BTF} cannot be read: {error}. Run with sudo")]
    UnreadableBtf {
        /// What the kernel said.
        error: String,
    },
    /// Locked down.
    #[error(
        "kernel lockdown is at `confidentiality`, which forbids eBPF programs to read kernel \
         memory. Boot with lockdown=integrity or without lockdown"
    )]
    Lockdown,
}

/// What was found on this machine. Texts of files that cannot be read are empty or `None`.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `/proc/self/status`.
    pub status: String,
    /// Target of `/proc/self/ns/user`.
    pub user_namespace: Option<String>,
    /// Whether [`KERNEL_BTF`] can be opened.
    pub btf: Result<(), io::ErrorKind>,
    /// `/sys/kernel/security/lockdown`.
    pub lockdown: Option<String>,
    /// `/proc/sys/kernel/perf_event_paranoid`.
    pub perf_event_paranoid: Option<String>,
    /// tracefs.
    pub tracefs: Tracefs,
    /// Kernel release, as `uname -r` prints it.
    pub release: String,
    /// This program's file.
    pub exe: PathBuf,
}

impl Machine {
    /// Looks at this machine.
    pub fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).ok();
        let namespace = std::fs::read_link("/proc/self/ns/user");
        Self {
            status: text("/proc/self/status").unwrap_or_default(),
            user_namespace: namespace
                .ok()
                .map(|link| link.to_string_lossy().into_owned()),
            btf: std::fs::File::open(KERNEL_BTF)
                .map(drop)
                .map_err(|error| error.kind()),
            lockdown: text("/sys/kernel/security/lockdown"),
            perf_event_paranoid: text("/proc/sys/kernel/perf_event_paranoid"),
            tracefs: Tracefs::from_reads(TRACEFS.map(|folder| {
                (
                    is_tracefs(folder),
                    std::fs::read(Path::new(folder).join(EVENT_ID)),
                )
            })),
            release: kernel_release(),
            exe: std::env::current_exe().unwrap_or_else(|_| "conntracer".into()),
        }
    }

    /// The first reason why the tracer cannot start here, the one to cure first.
    pub fn check(&self) -> Result<(), Blocker> {
        self.blockers().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every reason why the tracer cannot start here, in the order of cure.
    pub fn blockers(&self) -> Vec<Blocker> {
        let mut blockers = Vec::new();
        let missing = self.capabilities().missing(&NEEDED);
        if !missing.is_empty() {
            blockers.push(match effective_uid(&self.status) {
                Some(0) => Blocker::RestrictedRoot { missing },
                _ => Blocker::NotPrivileged {
                    missing,
                    setcap: setcap_command(&NEEDED, &self.exe),
                },
            });
        }
        if self
            .user_namespace
            .as_deref()
            .is_some_and(|link| link != INITIAL_USER_NAMESPACE)
        {
            blockers.push(Blocker::UserNamespace);
        }
        if self.lockdown.as_deref().is_some_and(is_confidential) {
            blockers.push(Blocker::Lockdown);
        }
        match self.btf {
            Ok(()) => {}
            Err(io::ErrorKind::NotFound) => blockers.push(Blocker::NoBtf {
                release: self.release.clone(),
            }),
            Err(kind) => blockers.push(Blocker::UnreadableBtf {
                error: kind.to_string(),
            }),
        }
        blockers
    }

    /// The privileges of this process.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::from_status(&self.status)
    }

    /// Whether the accept hooks can be used, if all else is right.
    pub fn accept_hooks(&self) -> AcceptHooksPossible {
        accept_hooks_possible(
            self.tracefs,
            self.perf_event_paranoid.as_deref(),
            self.capabilities(),
        )
    }

    /// Whether SIGHUP was ignored when this program started.
    pub fn sighup_ignored(&self) -> bool {
        sighup_ignored(&self.status)
    }
}

/// Kernel release, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Whether SIGHUP is ignored, for who needs nothing else of the machine.
pub fn hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status");
    sighup_ignored(&status.unwrap_or_default())
}

/// Whether SIGHUP is ignored, as nohup makes it, by the text of a `status` file.
fn sighup_ignored(status: &str) -> bool {
    // Bit 0 is signal 1, SIGHUP.
    mask(status, "SigIgn:").is_some_and(|ignored| ignored & 1 != 0)
}

/// The active level stands in brackets.
fn is_confidential(lockdown: &str) -> bool {
    lockdown.contains("[confidentiality]")
}

fn is_tracefs(folder: &str) -> bool {
    const TRACEFS_MAGIC: u64 = 0x7472_6163;
    rustix::fs::statfs(folder).is_ok_and(|found| u64::try_from(found.f_type) == Ok(TRACEFS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(uid: u32, capabilities: u64) -> String {
        format!(
            "Name:\tconntracer\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{capabilities:016x}\n"
        )
    }

    const BPF: u64 = 1 << 39;
    const PERFMON: u64 = 1 << 38;

    /// A machine on which all is well.
    fn machine() -> Machine {
        Machine {
            status: status(0, u64::MAX),
            user_namespace: Some(INITIAL_USER_NAMESPACE.into()),
            btf: Ok(()),
            lockdown: Some("none [integrity] confidentiality\n".into()),
            perf_event_paranoid: Some("2\n".into()),
            tracefs: Tracefs::Readable,
            release: "6.1.0-test".into(),
            exe: "/opt/conntracer".into(),
        }
    }

    #[test]
    fn a_machine_in_order_has_no_blocker() {
        assert_eq!(machine().check(), Ok(()));
        assert_eq!(machine().accept_hooks(), AcceptHooksPossible::Yes);
        let silent = Machine {
            user_namespace: None,
            lockdown: None,
            ..machine()
        };
        assert_eq!(silent.check(), Ok(()));
        let least = Machine {
            status: status(1000, BPF | PERFMON),
            ..machine()
        };
        assert_eq!(least.check(), Ok(()));
    }

    #[test]
    fn an_ordinary_user_is_told_what_is_missing_and_two_cures() {
        let user = Machine {
            status: status(1000, 0),
            ..machine()
        };
        let text = user.check().unwrap_err().to_string();
        assert!(
            text.starts_with("CAP_BPF and CAP_PERFMON missing: "),
            "{text}"
        );
        assert!(text.contains("Run with sudo"), "{text}");
        assert!(
            text.contains("setcap cap_bpf,cap_perfmon+ep /opt/conntracer`"),
            "{text}"
        );
    }

    #[test]
    fn the_setcap_command_names_both_even_if_one_is_missing() {
        let half = Machine {
            status: status(1000, BPF),
            ..machine()
        };
        let text = half.check().unwrap_err().to_string();
        assert!(text.starts_with("CAP_PERFMON missing: "), "{text}");
        assert!(
            text.contains("setcap cap_bpf,cap_perfmon+ep"),
            "setcap replaces: {text}"
        );
    }

    #[test]
    fn root_in_a_container_is_not_told_to_use_sudo() {
        let container = Machine {
            status: status(0, PERFMON),
            ..machine()
        };
        let text = container.check().unwrap_err().to_string();
        assert!(
            text.starts_with("CAP_BPF missing although this is root."),
            "{text}"
        );
        assert!(!text.contains("sudo"), "{text}");
        let rootless = Machine {
            user_namespace: Some("user:[4026532001]".into()),
            ..machine()
        };
        assert_eq!(rootless.check(), Err(Blocker::UserNamespace));
    }

    #[test]
    fn only_active_confidentiality_is_a_lockdown() {
        for (text, expected) in [
            ("none integrity [confidentiality]\n", Err(Blocker::Lockdown)),
            ("none [integrity] confidentiality\n", Ok(())),
            ("[none] integrity confidentiality\n", Ok(())),
            ("", Ok(())),
        ] {
            let found = Machine {
                lockdown: Some(text.into()),
                ..machine()
            };
            assert_eq!(found.check(), expected, "{text:?}");
        }
    }

    #[test]
    fn missing_and_unreadable_types_are_told_apart() {
        let missing = Machine {
            btf: Err(io::ErrorKind::NotFound),
            ..machine()
        };
        let text = missing.check().unwrap_err().to_string();
        assert!(
            text.contains("kernel 6.1.0-test was built without CONFIG_DEBUG_INFO_BTF"),
            "{text}"
        );
        let denied = Machine {
            btf: Err(io::ErrorKind::PermissionDenied),
            ..machine()
        };
        let text = denied.check().unwrap_err().to_string();
        assert!(text.contains("cannot be read: permission denied"), "{text}");
    }

    #[test]
    fn the_first_thing_to_cure_comes_first() {
        let hopeless = Machine {
            status: status(1000, 0),
            btf: Err(io::ErrorKind::NotFound),
            lockdown: Some("none integrity [confidentiality]".into()),
            ..machine()
        };
        assert!(matches!(
            hopeless.check(),
            Err(Blocker::NotPrivileged { .. })
        ));
        assert!(matches!(
            &hopeless.blockers()[1..],
            [Blocker::Lockdown, Blocker::NoBtf { .. }]
        ));
    }

    #[test]
    fn nohup_is_seen() {
        assert!(sighup_ignored(
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"
        ));
        assert!(!sighup_ignored(
            "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"
        ));
        assert!(!sighup_ignored(""));
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let machine = Machine::read();
        assert!(machine.status.contains("CapEff:"));
        assert_eq!(
            machine.release,
            std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap()
                .trim()
        );
        assert!(machine.exe.is_absolute());
        assert_eq!(machine.btf.is_ok(), Path::new(KERNEL_BTF).exists());
    }
}
