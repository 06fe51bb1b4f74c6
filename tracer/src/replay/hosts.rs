//! Host names of recorded lines, each kept once. Pure.

use std::sync::Arc;

use hashbrown::HashSet;

/// Hosts that are kept apart at most: no fleet is larger, and a file of garbage is.
pub const MAX_HOSTS: usize = 65_536;

/// The hosts so far.
#[derive(Debug, Default)]
pub struct Hosts {
    names: HashSet<Arc<str>>,
    latest: Option<Arc<str>>,
}

impl Hosts {
    /// The host of the line before, if `name` is that again, as it nearly always is.
    pub fn same_again(&self, name: &str) -> Option<Arc<str>> {
        self.latest.clone().filter(|latest| **latest == *name)
    }

    /// `name` as all that are equal share it; `None` if there are too many.
    pub fn shared(&mut self, name: &str) -> Option<Arc<str>> {
        let known = self.names.get(name).cloned();
        let host = known.or_else(|| {
            (self.names.len() < MAX_HOSTS).then(|| {
                let host: Arc<str> = name.into();
                self.names.insert(Arc::clone(&host));
                host
            })
        })?;
        self.latest = Some(Arc::clone(&host));
        Some(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_shared_and_there_are_not_too_many() {
        let mut hosts = Hosts::default();
        assert_eq!(hosts.same_again("0"), None);
        let first = hosts.shared("0").unwrap();
        assert!(Arc::ptr_eq(&hosts.same_again("0").unwrap(), &first));
        for number in 1..MAX_HOSTS {
            hosts.shared(&number.to_string()).unwrap();
        }
        assert_eq!(hosts.shared("one more"), None);
        assert!(Arc::ptr_eq(&hosts.shared("0").unwrap(), &first));
    }
}
