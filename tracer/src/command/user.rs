//! Whom a command runs as: who called sudo.

use std::ffi::{CString, OsStr, OsString};
use std::io;

use nix::unistd::{Gid, Uid, User as Account, getgrouplist, setgroups, setresgid, setresuid};
use rustix::process::{getegid, geteuid, getgid, getuid};

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    gid: u32,
    /// `None` = as they are.
    groups: Option<Vec<u32>>,
    /// `None` = the environment stays as it is.
    names: Option<Names>,
}

/// What the environment says of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    name: Option<OsString>,
    home: Option<OsString>,
}

/// Why nobody can be chosen.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    #[error("{variable} is `{value}`, which is no id; unset it, or use `--as-root`")]
    NotAnId {
        variable: &'static str,
        value: String,
    },
    #[error("SUDO_UID is {0} without SUDO_GID, and no such user is known; use `--as-root`")]
    NoGroup(u32),
    #[error("user {uid} cannot be looked up: {error}")]
    NoLookup { uid: u32, error: io::Error },
}

/// The command was to run as root by somebody who is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--as-root: only root can run a command as root, and this was started by user {0}, whatever \
     capabilities or set-uid bit conntracer itself has. Run it with sudo, or leave --as-root out"
)]
pub struct NotRoot(u32);

/// Whether a command can run as root, if it is to.
pub(super) fn check(as_root: bool) -> Result<(), NotRoot> {
    check_user(as_root, getuid().as_raw())
}

fn check_user(as_root: bool, real: u32) -> Result<(), NotRoot> {
    if as_root && real != 0 {
        Err(NotRoot(real))
    } else {
        Ok(())
    }
}

/// Whom to become; `None` = we stay who we are.
pub(super) fn choose(as_root: bool) -> Result<Option<User>, UserError> {
    let (real, effective) = (getuid().as_raw(), geteuid().as_raw());
    if real != effective || getgid() != getegid() {
        // A program that is root for everybody is so for itself only.
        return Ok(Some(User {
            uid: real,
            gid: getgid().as_raw(),
            groups: None,
            names: None,
        }));
    }
    if as_root || effective != 0 {
        return Ok(None);
    }
    let variable = |name: &'static str| std::env::var_os(name);
    let Some(caller) = Caller::of(variable)? else {
        return Ok(None);
    };
    let account = Account::from_uid(Uid::from_raw(caller.uid));
    let account = account.map_err(|error| UserError::NoLookup {
        uid: caller.uid,
        error: error.into(),
    })?;
    caller.user(account).map(Some)
}

/// Who called sudo, as that says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Caller {
    uid: u32,
    gid: Option<u32>,
    name: Option<OsString>,
}

impl Caller {
    /// `None` without sudo, or if root called it.
    fn of(variable: impl Fn(&'static str) -> Option<OsString>) -> Result<Option<Self>, UserError> {
        let id = |name: &'static str| variable(name).map(|value| id(name, &value)).transpose();
        id("SUDO_UID")?
            .filter(|uid| *uid != 0)
            .map(|uid| -> Result<Self, UserError> {
                Ok(Self {
                    uid,
                    gid: id("SUDO_GID")?,
                    name: variable("SUDO_USER"),
                })
            })
            .transpose()
    }

    /// With all groups of an account that is known.
    fn user(self, account: Option<Account>) -> Result<User, UserError> {
        let Self { uid, gid, name } = self;
        let known = account.as_ref().map(|account| account.gid.as_raw());
        let gid = gid.or(known).ok_or(UserError::NoGroup(uid))?;
        let groups = match &account {
            Some(account) => {
                groups(account, gid).map_err(|error| UserError::NoLookup { uid, error })?
            }
            None => vec![gid],
        };
        let names = match account {
            Some(account) => Names {
                name: Some(account.name.into()),
                home: Some(account.dir.into()),
            },
            // Not root's, at any rate.
            None => Names { name, home: None },
        };
        Ok(User {
            uid,
            gid,
            groups: Some(groups),
            names: Some(names),
        })
    }
}

fn id(variable: &'static str, value: &OsStr) -> Result<u32, UserError> {
    let text = value.to_str().unwrap_or_default();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    // The largest one stands for "no change".
    let parsed = text.parse().ok().filter(|id| digits && *id != u32::MAX);
    parsed.ok_or_else(|| UserError::NotAnId {
        variable,
        value: value.to_string_lossy().escape_debug().to_string(),
    })
}

fn groups(account: &Account, gid: u32) -> io::Result<Vec<u32>> {
    let name = CString::new(account.name.as_str())?;
    let groups = getgrouplist(&name, Gid::from_raw(gid))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

impl User {
    /// Makes this process, which has one thread, the user's, with no way back.
    pub(super) fn become_it(&self) -> io::Result<()> {
        if let Some(groups) = &self.groups {
            let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
            setgroups(&groups)?;
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        Ok(())
    }

    /// Variables to set, or to remove.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&'static str, Option<&OsStr>)> {
        self.names.iter().flat_map(|Names { name, home }| {
            [
                ("USER", name.as_deref()),
                ("LOGNAME", name.as_deref()),
                ("HOME", home.as_deref()),
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(set: &[(&'static str, &str)]) -> Result<Option<Caller>, UserError> {
        Caller::of(|wanted| {
            let found = set.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn only_root_can_stay_root() {
        assert_eq!(check_user(true, 0), Ok(()));
        assert_eq!(check_user(false, 1000), Ok(()));
        let text = check_user(true, 1000).unwrap_err().to_string();
        for word in ["--as-root: ", "user 1000", "with sudo"] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn who_called_sudo_is_in_its_variables() {
        let all = [
            ("SUDO_UID", "1000"),
            ("SUDO_GID", "1001"),
            ("SUDO_USER", "ann"),
        ];
        let expected = Caller {
            uid: 1000,
            gid: Some(1001),
            name: Some("ann".into()),
        };
        assert_eq!(caller(&all).unwrap(), Some(expected));
        assert_eq!(caller(&all[1..]).unwrap(), None, "not by sudo");
        assert_eq!(caller(&[("SUDO_UID", "0")]).unwrap(), None, "by root");
    }

    #[test]
    fn what_is_no_id_is_an_error_and_never_root() {
        for value in ["", "-1", "+5", "ann", "4294967295", "4294967296", "1 "] {
            assert!(caller(&[("SUDO_UID", value)]).is_err(), "{value:?}");
            let pair = [("SUDO_UID", "1000"), ("SUDO_GID", value)];
            assert!(caller(&pair).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_user_that_is_not_known_has_the_ids_and_the_name_and_no_home() {
        let of = |gid| Caller {
            uid: 1000,
            gid,
            name: Some("ann".into()),
        };
        let user = of(Some(1001)).user(None).unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1001));
        assert_eq!(user.groups, Some(vec![1001]));
        let environment: Vec<_> = user.environment().collect();
        let ann = Some(OsStr::new("ann"));
        assert_eq!(
            environment,
            [("USER", ann), ("LOGNAME", ann), ("HOME", None)]
        );
        assert!(matches!(of(None).user(None), Err(UserError::NoGroup(1000))));
    }

    #[test]
    fn a_known_user_has_all_its_groups_and_its_home() {
        let root = Account::from_uid(Uid::from_raw(0)).unwrap().unwrap();
        let caller = Caller {
            uid: 0,
            gid: None,
            name: None,
        };
        let home = root.dir.clone();
        let user = caller.user(Some(root)).unwrap();
        assert!(user.groups.as_ref().unwrap().contains(&0));
        assert!(
            user.environment()
                .any(|(name, value)| name == "HOME" && value == Some(home.as_os_str()))
        );
    }
}
