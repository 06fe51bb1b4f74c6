//! Which host a row is of, by number: a live run has one, recorded files may have many. Pure.

use std::sync::Arc;

use hashbrown::HashMap;

/// Host names in the order of their first record. As many as the records have: who adds records of
/// foreign files bounds them.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    /// Of the latest record: the next one is nearly always of the same host.
    latest: u32,
}

impl Hosts {
    /// The number of `host`, from 0 on.
    pub(crate) fn number(&mut self, host: &Arc<str>) -> u32 {
        if self.name(self.latest).is_some_and(|name| name == host) {
            return self.latest;
        }
        self.latest = match self.numbers.get(host) {
            Some(number) => *number,
            None => self.insert(Arc::clone(host)),
        };
        self.latest
    }

    fn insert(&mut self, host: Arc<str>) -> u32 {
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(Arc::clone(&host));
        self.numbers.insert(host, number);
        number
    }

    fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.names.get(number as usize)
    }

    /// The host of everything; `None` if there are several, or none.
    pub(crate) fn only(&self) -> Option<&Arc<str>> {
        match self.names.as_slice() {
            [host] => Some(host),
            _ => None,
        }
    }

    /// What a row says of its host: nothing, unless there are several.
    pub(crate) fn of_row(&self, number: u32) -> Option<Arc<str>> {
        let several = self.names.len() > 1;
        several.then(|| self.name(number).cloned()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_keeps_its_number_and_is_told_only_beside_another() {
        let mut hosts = Hosts::default();
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        assert_eq!((hosts.only(), hosts.of_row(0)), (None, None));
        assert_eq!(hosts.number(&one), 0);
        assert_eq!((hosts.only(), hosts.of_row(0)), (Some(&one), None));
        assert_eq!([hosts.number(&two), hosts.number(&"one".into())], [1, 0]);
        assert_eq!((hosts.only(), hosts.of_row(1)), (None, Some(two)));
    }
}
