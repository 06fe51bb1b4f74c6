//! The limit on locked memory, to which kernels before 5.11 charge maps.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Size of a map as the kernel charges it: 5.10 charges all entries at creation, even of maps
/// that allocate them later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapSize {
    /// A hash table.
    Hash {
        /// Bytes of a key.
        key: u32,
        /// Bytes of a value.
        value: u32,
        /// Most entries.
        entries: u32,
    },
    /// An array; for a per-CPU one, `entries` is times the CPUs.
    Array {
        /// Bytes of a value.
        value: u32,
        /// Entries.
        entries: u32,
    },
    /// A ring buffer.
    Ring {
        /// Bytes of its data area.
        bytes: u32,
    },
}

impl MapSize {
    /// Bytes that are charged, within a few pages.
    pub fn charged_bytes(self) -> u64 {
        const PAGE: u64 = 4096;
        // Head and lock of a bucket; list links, hash and padding before each key.
        const BUCKET: u64 = 16;
        const ELEMENT: u64 = 48;
        let eights = |bytes: u32| u64::from(bytes).next_multiple_of(8);
        let bytes = match self {
            Self::Hash {
                key,
                value,
                entries,
            } => {
                let buckets = u64::from(entries).next_power_of_two() * BUCKET;
                let element = ELEMENT + eights(key) + eights(value);
                u64::from(entries)
                    .saturating_mul(element)
                    .saturating_add(buckets)
            }
            Self::Array { value, entries } => u64::from(entries).saturating_mul(eights(value)),
            // Two position pages, one of bookkeeping.
            Self::Ring { bytes } => u64::from(bytes) + 3 * PAGE,
        };
        bytes.checked_next_multiple_of(PAGE).unwrap_or(bytes)
    }
}

/// Bytes that all `maps` are charged with.
pub fn charged_bytes(maps: &[MapSize]) -> u64 {
    maps.iter()
        .fold(0, |sum, map| sum.saturating_add(map.charged_bytes()))
}

/// Raises this process's limit as far as it may, and returns it in bytes; `None` is unlimited.
/// Best effort: newer kernels do not need it, and a service's sandbox may forbid it.
pub fn raise_limit() -> Option<u64> {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if setrlimit(Resource::Memlock, unlimited).is_err() {
        let maximum = getrlimit(Resource::Memlock).maximum;
        let _ = setrlimit(
            Resource::Memlock,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
    getrlimit(Resource::Memlock).current
}

/// What to add to the message when creating a map failed with EPERM: nothing if `needed` bytes
/// fit into `limit`.
pub fn advice(needed: u64, limit: Option<u64>) -> Option<String> {
    let limit = limit.filter(|limit| needed > *limit)?;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Some(format!(
        "Kernels before 5.11 charge maps to the limit on locked memory: about {} MiB are needed \
         and {} MiB allowed. Raise it (`ulimit -l unlimited` as root, LimitMEMLOCK=infinity in a \
         systemd unit), or lower --max-connections and --ring-size.",
        mib(needed),
        limit >> 20,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_charged_for_buckets_and_all_entries() {
        // 65,536 buckets of 16 bytes, 40,000 elements of 48 + 8 + 288.
        let hash = MapSize::Hash {
            key: 8,
            value: 288,
            entries: 40_000,
        };
        let expected: u64 = 65_536 * 16 + 40_000 * 344;
        assert_eq!(hash.charged_bytes(), expected.next_multiple_of(4096));
        let odd = MapSize::Hash {
            key: 5,
            value: 1,
            entries: 1,
        };
        assert_eq!(odd.charged_bytes(), 4096);
    }

    #[test]
    fn maps_add_up() {
        let maps = [
            MapSize::Array {
                value: 8,
                entries: 1024,
            },
            MapSize::Array {
                value: 4,
                entries: 1,
            },
            MapSize::Ring { bytes: 1 << 20 },
        ];
        assert_eq!(charged_bytes(&maps), 8192 + 4096 + (1 << 20) + 3 * 4096);
    }

    #[test]
    fn the_largest_maps_do_not_overflow() {
        let most = u32::MAX;
        let hash = MapSize::Hash {
            key: most,
            value: most,
            entries: most,
        };
        assert_eq!(charged_bytes(&[hash, hash]), u64::MAX);
    }

    #[test]
    fn advice_is_for_who_needs_more_than_the_limit() {
        assert_eq!(advice(100 << 20, None), None);
        assert_eq!(advice(8 << 20, Some(8 << 20)), None);
        let text = advice((93 << 20) + 1, Some(8 << 20)).unwrap();
        assert!(
            text.contains("about 94 MiB are needed and 8 MiB allowed"),
            "{text}"
        );
    }

    #[test]
    fn raising_reaches_the_hard_limit() {
        let limit = raise_limit();
        let after = getrlimit(Resource::Memlock);
        assert_eq!((limit, after.current), (after.maximum, after.maximum));
    }
}
