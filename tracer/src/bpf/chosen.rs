//! The kernel side's sets of prefixes, names and cgroups, filled and changed.

use std::collections::HashSet;
use std::io;

use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError};
use tracer_common::filter::PrefixKey;
use tracer_common::map;
use zerocopy::IntoBytes as _;

use super::attach::chain;
use super::undisturbed::MapCalls;
use crate::choose::Choice;

/// Bytes of a prefix behind its length.
const DATA: usize = size_of::<PrefixKey>() - size_of::<u32>();
/// Map calls in one go, between which the processor may be taken from us.
const AT_ONCE: usize = 256;

/// Cgroups that there is room for beyond those of the start.
const CGROUPS: u32 = 1024;

type Prefixes<T> = LpmTrie<T, [u8; DATA], u8>;
type Cgroups<T> = HashMap<T, u64, u8>;

/// Entries of the map of cgroups.
pub(super) fn cgroup_room(choice: &Choice) -> u32 {
    if choice.cgroups.is_empty() {
        return 1;
    }
    // There may be more the next time.
    let now = u32::try_from(choice.cgroups.ids().len()).unwrap_or(u32::MAX);
    now.saturating_mul(2).saturating_add(CGROUPS)
}

/// Entries of the map of names.
pub(super) fn name_room(choice: &Choice) -> u32 {
    let names = choice.name_keys().count();
    u32::try_from(names).unwrap_or(u32::MAX).max(1)
}

/// Fills the maps of programs that count nothing yet.
pub(super) fn fill(ebpf: &mut Ebpf, choice: &Choice) -> Result<(), MapError> {
    if choice.prefix_keys().next().is_some() {
        let mut prefixes = Prefixes::try_from(one(ebpf, map::PREFIXES)?)?;
        for key in choice.prefix_keys() {
            prefixes.insert(&trie_key(&key), 1, 0)?;
        }
    }
    if choice.name_keys().next().is_some() {
        let mut names: HashMap<_, [u64; 3], u8> = HashMap::try_from(one(ebpf, map::NAMES)?)?;
        for key in choice.name_keys() {
            let key: [u64; 3] = zerocopy::transmute!(key);
            names.insert(key, 1, 0)?;
        }
    }
    if !choice.cgroups.is_empty() {
        let mut cgroups = Cgroups::try_from(one(ebpf, map::CGROUPS)?)?;
        for id in choice.cgroups.ids() {
            cgroups.insert(id, 1, 0)?;
        }
    }
    Ok(())
}

fn one<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map, MapError> {
    ebpf.map_mut(name).ok_or_else(|| MapError::InvalidName {
        name: name.to_owned(),
    })
}

fn trie_key(key: &PrefixKey) -> Key<[u8; DATA]> {
    let mut data = [0; DATA];
    let bytes = key.as_bytes();
    data.copy_from_slice(&bytes[bytes.len() - DATA..]);
    Key::new(key.bits, data)
}

/// The sets of a run, to be changed while it goes on.
pub struct Chosen {
    prefixes: Prefixes<MapData>,
    cgroups: Cgroups<MapData>,
    now: Choice,
    calls: MapCalls,
}

impl Chosen {
    pub(super) fn take(
        ebpf: &mut Ebpf,
        choice: &Choice,
        calls: MapCalls,
    ) -> Result<Self, MapError> {
        let mut take = |name: &'static str| {
            ebpf.take_map(name).ok_or_else(|| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        Ok(Self {
            prefixes: take(map::PREFIXES)?.try_into()?,
            cgroups: take(map::CGROUPS)?.try_into()?,
            now: choice.clone(),
            calls,
        })
    }

    /// Makes the sets those of `choice`. What is new is there before what is gone is taken away, so
    /// that what stays never misses, however it is split.
    pub fn change(&mut self, choice: &Choice) -> io::Result<()> {
        let before: HashSet<_> = self.now.prefix_keys().collect();
        let after: HashSet<_> = choice.prefix_keys().collect();
        let added: Vec<_> = after.difference(&before).collect();
        let gone: Vec<_> = before.difference(&after).collect();
        for keys in added.chunks(AT_ONCE) {
            let _undisturbed = self.calls.undisturbed();
            for key in keys {
                let inserted = self.prefixes.insert(&trie_key(key), 1, 0);
                inserted.map_err(|error| failed(&error))?;
            }
        }
        for keys in gone.chunks(AT_ONCE) {
            let _undisturbed = self.calls.undisturbed();
            for key in keys {
                let removed = self.prefixes.remove(&trie_key(key));
                removed.map_err(|error| failed(&error))?;
            }
        }
        self.change_cgroups(choice)
            .map_err(|error| failed(&error))?;
        self.now = choice.clone();
        Ok(())
    }

    fn change_cgroups(&mut self, choice: &Choice) -> Result<(), MapError> {
        let _undisturbed = self.calls.undisturbed();
        let (before, after) = (self.now.cgroups.ids(), choice.cgroups.ids());
        for id in after.iter().filter(|id| !before.contains(id)) {
            self.cgroups.insert(id, 1, 0)?;
        }
        for id in before.iter().filter(|id| !after.contains(id)) {
            self.cgroups.remove(id)?;
        }
        Ok(())
    }
}

fn failed(error: &MapError) -> io::Error {
    io::Error::other(chain(error))
}

#[cfg(test)]
mod tests {
    use tracer_common::filter::prefix;
    use tracer_common::flow::halves;

    use super::*;

    #[test]
    fn a_key_is_the_bytes_that_the_programs_look_up() {
        let mut ip = [0; 16];
        ip[10..].copy_from_slice(&[0xff, 0xff, 10, 1, 2, 3]);
        let key = PrefixKey::of(halves(&ip), prefix::ONLY).prefix(104);
        let trie = trie_key(&key);
        assert_eq!(trie.prefix_len(), 136);
        let data = trie.data();
        assert_eq!(data[..4], (prefix::ONLY | prefix::IPV4).to_ne_bytes());
        assert_eq!(data[4..], ip);
    }
}
