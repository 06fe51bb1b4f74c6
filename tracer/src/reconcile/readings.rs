//! Reads the kernel's counters in each network namespace.
//!
//! The namespaces are found anew each time: held open in between, those whose containers are gone
//! would live on.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::thread;

use super::mib::Counters;
use crate::namespaces::{self, Namespace};

/// Namespaces that are read; each costs some 0.1 ms a reading, which should be short.
const MOST: usize = 256;

/// Counters by namespace.
pub type Readings = BTreeMap<u32, Counters>;

/// Namespaces that exist now.
#[derive(Debug)]
pub struct Places(Vec<Namespace>);

impl Places {
    /// Those in `wanted`, or all if that is empty.
    pub fn find(wanted: &[u32]) -> Self {
        Self(namespaces::all(wanted))
    }

    /// Their counters now; without those that cannot be read.
    pub fn read(&self) -> Readings {
        // In a thread of its own: nobody else's namespace changes.
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let places = self.0.iter().take(MOST);
                places
                    .filter_map(|place| Some((place.inode, read(place)?)))
                    .collect()
            });
            worker.join().unwrap_or_default()
        })
    }

    /// Those that exist and are not among `readings`.
    pub fn without(&self, readings: &Readings) -> Vec<u32> {
        let all = self.0.iter().map(|place| place.inode);
        all.filter(|inode| !readings.contains_key(inode)).collect()
    }
}

/// Enters the namespace for good.
fn read(place: &Namespace) -> Option<Counters> {
    place.enter().ok()?;
    let text = |name| read_to_string(format!("/proc/thread-self/net/{name}")).ok();
    Counters::parse(&text("snmp")?, &text("netstat")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_can_be_read() {
        let places = Places::find(&[]);
        let own = places.0[0].inode;
        let readings = places.read();
        assert!(readings.contains_key(&own));
        assert!(!places.without(&readings).contains(&own));
        assert!(places.without(&Readings::new()).contains(&own));
        assert!(Places::find(&[own]).read().contains_key(&own));
    }

    #[test]
    fn a_namespace_that_is_not_wanted_is_not_read() {
        assert!(Places::find(&[1]).read().is_empty());
    }
}
