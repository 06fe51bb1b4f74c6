//! What was told of one live connection. Pure.

use super::{Increment, Moved, Who, add, who};
use crate::record::{Direction, Record};
use crate::summary::Counts;

/// What a live connection counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Begun {
    /// Nothing yet.
    #[default]
    No,
    Accepted,
    Connected,
    Older,
}

impl Begun {
    pub(super) const fn of(record: &Record) -> Self {
        match record.direction {
            _ if record.pre_existing => Self::Older,
            Direction::Inbound => Self::Accepted,
            Direction::Outbound => Self::Connected,
        }
    }

    pub(super) fn counts(self) -> Counts {
        Counts {
            accepts: u64::from(self == Self::Accepted),
            connects: u64::from(self == Self::Connected),
            pre_existing: u64::from(self == Self::Older),
            ..Counts::default()
        }
    }
}

/// What a live connection was credited with.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) begun: Begun,
    pub(super) moved: Moved,
    /// By process, the owner included; empty = all is its owner's.
    by: Vec<(Who, Moved)>,
}

impl Told {
    /// Nothing but that it is there.
    pub(super) fn begun(record: &Record) -> Self {
        Self {
            begun: Begun::of(record),
            ..Self::default()
        }
    }

    /// What was credited to a process.
    pub(super) fn of(&self, who: Who, owner: Option<Who>) -> Moved {
        if self.by.is_empty() {
            return if Some(who) == owner {
                self.moved
            } else {
                (0, 0)
            };
        }
        let found = self.by.iter().find(|(process, _)| *process == who);
        found.map_or((0, 0), |(_, moved)| *moved)
    }

    pub(super) fn credit(&mut self, increment: &Increment, owner: Option<Who>) {
        let users = &increment.users;
        let is_owners = users.iter().all(|user| Some(who(user)) == owner);
        let is_plain = is_owners && self.by.is_empty();
        if !users.is_empty() && !is_plain {
            if self.by.is_empty() && self.moved != (0, 0) {
                self.by.extend(owner.map(|owner| (owner, self.moved)));
            }
            for user in users {
                let moved = (user.tx, user.rx);
                match self
                    .by
                    .iter_mut()
                    .find(|(process, _)| *process == who(user))
                {
                    Some((_, sum)) => add(sum, moved),
                    None => self.by.push((who(user), moved)),
                }
            }
        }
        add(&mut self.moved, (increment.counts.tx, increment.counts.rx));
    }
}
