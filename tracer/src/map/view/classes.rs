//! Relations by what the address on the other side is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Shown;
use crate::address::{self, Class};
use crate::map::Uses;

/// All relations whose other side is of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub class: Class,
    /// Different addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// How many relations they have.
    pub relations: usize,
    /// Everything added up.
    pub uses: Uses,
}

impl Shown {
    /// By class, in the order of [`Class::ALL`]. A relation without an address is in none.
    pub fn classes(&self) -> Vec<Group> {
        let mut groups: BTreeMap<Class, Group> = BTreeMap::new();
        for (relation, uses) in &self.relations {
            let Some(ip) = relation.other_side() else {
                continue;
            };
            let class = address::of(ip).class;
            let group = groups.entry(class).or_insert_with(|| Group {
                class,
                addresses: BTreeSet::new(),
                relations: 0,
                uses: Uses::at(uses.first_seen),
            });
            group.addresses.insert(ip);
            group.relations += 1;
            group.uses += *uses;
        }
        groups.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::view::Filter;
    use crate::map::view::samples::map;

    #[test]
    fn each_relation_is_in_the_group_of_its_address() {
        let filter = Filter {
            loopback: true,
            ..Filter::default()
        };
        let shown = Shown::of(map(), &filter);
        let groups = shown.classes();
        assert!(groups.len() > 1, "{groups:?}");
        let relations: usize = groups.iter().map(|group| group.relations).sum();
        assert_eq!(relations, shown.relations.len());
        let addresses: usize = groups.iter().map(|group| group.addresses.len()).sum();
        assert_eq!(addresses, shown.addresses().len());
        let connections = |uses: &Uses| uses.connections + uses.older;
        let sum: u64 = groups.iter().map(|group| connections(&group.uses)).sum();
        let all = shown.relations.iter().map(|(_, uses)| connections(uses));
        assert_eq!(sum, all.sum::<u64>());
        for group in groups {
            let class = |ip: &IpAddr| address::of(*ip).class;
            assert!(group.addresses.iter().all(|ip| class(ip) == group.class));
        }
    }
}
