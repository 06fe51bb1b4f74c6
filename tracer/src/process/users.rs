//! What users are called.

use std::fs;
use std::time::SystemTime;

use compact_str::CompactString;

use crate::list::users::Users;

/// Names of users, read again when the file has changed.
#[derive(Debug, Default)]
pub struct UserNames {
    users: Users,
    changed: Option<SystemTime>,
}

impl UserNames {
    /// The name of a user; `None` for one without.
    pub fn name(&mut self, uid: u32) -> Option<CompactString> {
        if self.users.name(uid).is_none() {
            // A new user, or one of another name service; the latter must not cost much.
            let changed = fs::metadata("/etc/passwd").and_then(|file| file.modified());
            if self.changed.is_none() || self.changed != changed.as_ref().ok().copied() {
                self.changed = Some(changed.unwrap_or(SystemTime::UNIX_EPOCH));
                self.users = Users::read();
            }
        }
        self.users.name(uid).map(CompactString::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_called_so_and_nobody_else_is() {
        let mut names = UserNames::default();
        assert_eq!(names.name(0).as_deref(), Some("root"));
        assert_eq!(names.name(u32::MAX - 7), None);
    }
}
