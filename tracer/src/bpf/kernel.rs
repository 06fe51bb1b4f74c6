//! What the running kernel says of itself.

use aya::Btf;
use tracer_common::classic::LENGTH_SOCK;
use tracer_common::config::feature;
use tracer_common::offsets::Offsets;

use super::attach::chain;
use super::btf::{self, KERNEL_BTF};
use super::classic;
use super::loader::LoadError;
use super::offsets;
use super::programs::{self, Accounting, Backend, Failure, Kernels, Need, Spec};
use crate::preflight::kernel_release;

/// What the programs depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// It preempts typed programs, and skips them meanwhile for every other task on that processor
    /// (7.0+). What can be done about it is known.
    pub preempting: bool,
    /// It has tracepoints for what send and receive calls return (6.3+).
    pub tells_calls: bool,
    /// It can do MPTCP, and programs can read what any function returns (5.17+).
    pub mptcp: bool,
}

impl Traits {
    /// Bits of [`feature`] that come with them.
    pub fn features(self, backend: Backend) -> u32 {
        let mut features = 0;
        if self.preempting {
            features |= feature::PREEMPTIBLE;
        }
        if self.tells_calls && backend == Backend::Tracepoint {
            features |= feature::CALLS;
        }
        if self.mptcp && backend == Backend::Fentry {
            features |= feature::MPTCP_CALLS;
        }
        features
    }

    /// What is left of them without these programs.
    #[must_use]
    pub fn but_for(self, missing: &[Failure]) -> Self {
        let lacks = |is_it: fn(&Spec) -> bool| missing.iter().any(|failure| is_it(failure.spec));
        Self {
            tells_calls: self.tells_calls && !lacks(|spec| matches!(spec.need, Need::Bytes(_))),
            mptcp: self.mptcp && !lacks(|spec| spec.kernels == Kernels::Mptcp),
            ..self
        }
    }
}

/// Structs that show what a kernel has.
const ALLOCATOR: &str = "bpf_mem_alloc";
const MPTCP: &str = "mptcp_sock";

/// Its types, and what follows from them; reading it takes no rights.
pub struct Kernel {
    /// For aya: those that programs are attached to.
    pub(super) btf: Btf,
    pub(super) offsets: Offsets,
    /// Whether maps may allocate in programs of every kind: they have an allocator of their own
    /// (6.1+).
    pub(super) maps_allocate_safely: bool,
    pub(super) traits: Traits,
    /// Why nothing can be done about preempted programs, if so.
    unsteady: Option<String>,
}

impl Kernel {
    /// Reads its types and finds in them what the programs read.
    pub fn read() -> Result<Self, LoadError> {
        let unreadable = |reason: String| LoadError::Btf { reason };
        let raw = std::fs::read(KERNEL_BTF).map_err(|error| unreadable(error.to_string()))?;
        let types = btf::Btf::parse(&raw).map_err(|error| unreadable(error.to_string()))?;
        let attached = types.only(&programs::types());
        let btf = Btf::parse(&attached, aya::Endianness::default())
            .map_err(|error| unreadable(chain(&error)))?;
        let release = kernel_release();
        let preempts = is_at_least(&release, 7, 0);
        let unsteady = if preempts {
            classic::check(&types).err()
        } else {
            None
        };
        // All are looked for in one pass.
        let signs = [ALLOCATOR, MPTCP, LENGTH_SOCK.record];
        let found = signs.into_iter().zip(types.structs(&signs));
        let found: Vec<&str> = found
            .filter(|(_, structure)| structure.is_ok())
            .map(|(sign, _)| sign)
            .collect();
        let has = |sign| found.contains(&sign);
        Ok(Self {
            offsets: offsets::resolve(&types)?,
            traits: Traits {
                preempting: preempts && unsteady.is_none(),
                tells_calls: has(LENGTH_SOCK.record),
                mptcp: has(MPTCP) && is_at_least(&release, 5, 17),
            },
            unsteady,
            maps_allocate_safely: has(ALLOCATOR),
            btf,
        })
    }

    /// The programs that `backend` uses here by default, in the order of attachment.
    pub fn programs(&self, backend: Backend) -> impl Iterator<Item = &'static Spec> {
        programs::of(backend, self.traits)
            .filter(|spec| spec.counts_by(Accounting::Process) && spec.serves(0))
    }

    /// See [`Tracer::unsteady`](super::loader::Tracer::unsteady).
    pub fn unsteady(&self) -> Option<&str> {
        self.unsteady.as_deref()
    }
}

/// For what no type or symbol tells.
fn is_at_least(release: &str, major: u32, minor: u32) -> bool {
    let mut numbers = release.split(['.', '-']).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(this)), Some(Ok(next))) => (this, next) >= (major, minor),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::programs::PROGRAMS;
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        for (release, from_5_17, from_7_0) in [
            ("5.10.0-30-cloud-amd64", false, false),
            ("5.17.0", true, false),
            ("6.1-rc3", true, false),
            ("6.18.44", true, false),
            ("7.2.13+deb14-cloud-amd64", true, true),
            ("10.0.1", true, true),
            ("5.9", false, false),
            ("", false, false),
            ("x.y", false, false),
        ] {
            let is = |major, minor| is_at_least(release, major, minor);
            assert_eq!((is(5, 17), is(7, 0)), (from_5_17, from_7_0), "{release}");
        }
    }

    #[test]
    fn a_program_that_cannot_be_had_takes_its_trait_along() {
        let traits = Traits {
            preempting: true,
            tells_calls: true,
            mptcp: true,
        };
        let without = |name: &str| {
            let spec = PROGRAMS.iter().find(|spec| spec.name == name).unwrap();
            let reason = String::new();
            traits.but_for(&[Failure { spec, reason }])
        };
        assert_eq!(without("graft_kprobe"), traits);
        assert_eq!(
            without("send_length"),
            Traits {
                tells_calls: false,
                ..traits
            }
        );
        assert_eq!(
            without("mptcp_recv_fexit"),
            Traits {
                mptcp: false,
                ..traits
            }
        );
        assert_eq!(traits.features(Backend::Kprobe), feature::PREEMPTIBLE);
    }
}
