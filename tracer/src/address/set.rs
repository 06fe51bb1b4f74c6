//! Kinds of addresses as users choose them: `public`, `private`, or classes by name.

use std::fmt;
use std::str::FromStr;

use super::{Class, Entry};

/// Which addresses are chosen: those that fit any of what was listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassSet {
    /// A bit a class, by its number.
    classes: u16,
    public: bool,
    private: bool,
}

/// Why a list of classes is refused; completes "`--class value`: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no class of addresses; write some of public, private, {}", .0.escape_debug(), names())]
pub struct ClassError(String);

fn names() -> String {
    Class::ALL.map(Class::name).join(", ")
}

impl ClassSet {
    /// Whether an address that is `entry` is chosen.
    pub const fn contains(&self, entry: &Entry) -> bool {
        self.classes & (1 << entry.class as u16) != 0
            || (entry.globally_reachable && self.public)
            || (!entry.globally_reachable && self.private)
    }

    /// Adds what `other` chooses.
    pub const fn insert(&mut self, other: Self) {
        self.classes |= other.classes;
        self.public |= other.public;
        self.private |= other.private;
    }
}

/// A comma-separated list. Case does not matter.
impl FromStr for ClassSet {
    type Err = ClassError;

    fn from_str(list: &str) -> Result<Self, ClassError> {
        let mut set = Self::default();
        for word in list.split(',').map(str::trim) {
            match word.to_ascii_lowercase().as_str() {
                "public" => set.public = true,
                "private" => set.private = true,
                name => {
                    let class = Class::ALL.into_iter().find(|class| class.name() == name);
                    let class = class.ok_or_else(|| ClassError(word.to_owned()))?;
                    set.classes |= 1 << class as u16;
                }
            }
        }
        Ok(set)
    }
}

/// The list that parses to the same set.
impl fmt::Display for ClassSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selectors = [(self.public, "public"), (self.private, "private")];
        let selectors = selectors
            .into_iter()
            .filter_map(|(on, name)| on.then_some(name));
        let classes = Class::ALL
            .into_iter()
            .filter(|class| self.classes & (1 << *class as u16) != 0)
            .map(Class::name);
        for (index, name) in selectors.chain(classes).enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::address::of;

    fn contains(list: &str, ip: &str) -> bool {
        let set: ClassSet = list.parse().unwrap();
        set.contains(&of(ip.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn every_address_is_either_public_or_private() {
        for ip in [
            "8.8.8.8",
            "192.0.0.9",
            "2a00::1",
            "10.0.0.1",
            "::1",
            "2002::1",
            "ff0e::1",
            "0.0.0.0",
        ] {
            assert!(contains("public,private", ip), "{ip}");
            assert_ne!(contains("public", ip), contains("private", ip), "{ip}");
        }
        assert!(contains("public", "192.0.0.9") && !contains("public", "192.0.0.8"));
        assert!(contains("private", "127.0.0.1") && contains("private", "::ffff:10.1.2.3"));
    }

    #[test]
    fn classes_are_chosen_by_name_and_add_up() {
        assert!(contains("private-use", "10.0.0.1") && !contains("private-use", "127.0.0.1"));
        assert!(
            contains("shared, Loopback", "127.0.0.1") && contains("shared, Loopback", "100.64.0.1")
        );
        assert!(contains("multicast,public", "1.1.1.1") && contains("multicast,public", "ff02::1"));
        assert!(!contains("multicast,public", "10.0.0.1"));
        for class in Class::ALL {
            let set: ClassSet = class.name().parse().unwrap();
            assert_eq!(set.to_string(), class.name());
        }
        let mut set: ClassSet = "public".parse().unwrap();
        set.insert("loopback,private".parse().unwrap());
        assert_eq!(set.to_string(), "public,private,loopback");
        assert_eq!(set.to_string().parse(), Ok(set));
    }

    #[test]
    fn what_is_no_class_is_named_with_the_choices() {
        for list in ["", "rfc1918", "public,,private", "global, lan", "a\x1b[2J"] {
            let error = list.parse::<ClassSet>().unwrap_err().to_string();
            assert!(error.contains("public, private, unspecified"), "{error}");
            assert!(!error.contains('\x1b'), "{error}");
        }
    }
}
