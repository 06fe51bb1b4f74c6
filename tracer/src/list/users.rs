//! Names of users, by `/etc/passwd`. Not by the name service, which may ask the network.

use std::collections::HashMap;

use compact_str::CompactString;

use crate::names;

/// Names by user id.
#[derive(Clone, Debug, Default)]
pub struct Users(HashMap<u32, CompactString>);

impl Users {
    /// Of this host; empty if the file cannot be read.
    pub fn read() -> Self {
        Self::parse(&std::fs::read("/etc/passwd").unwrap_or_default())
    }

    /// Of the text of the file. The first name of an id counts; what is no entry is left out.
    pub fn parse(passwd: &[u8]) -> Self {
        let mut users = HashMap::new();
        for line in passwd.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b':');
            let (name, uid) = (fields.next(), fields.nth(1));
            let uid = uid.and_then(|uid| std::str::from_utf8(uid).ok()?.parse().ok());
            if let (Some(name), Some(uid)) = (name, uid)
                && !name.is_empty()
            {
                users.entry(uid).or_insert_with(|| names::escape(name));
            }
        }
        Self(users)
    }

    /// The name of a user.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.0.get(&uid).map(CompactString::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_an_id_counts_and_what_is_no_entry_does_not() {
        let text =
            b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n# comment\n\nbad:x:-1:\n:x:5:\n\
            +::::::\nx\x1b[2J:x:7:7::/:\nshort:x\nwww:x:33";
        let users = Users::parse(text);
        assert_eq!(users.name(0), Some("root"));
        assert_eq!(users.name(33), Some("www"));
        assert_eq!(users.name(7), Some(r"x\x1b[2J"));
        assert_eq!(users.name(5), None);
        assert_eq!(users.0.len(), 3);
    }
}
