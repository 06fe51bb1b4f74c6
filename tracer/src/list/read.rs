//! What there is now, chosen and in order.

use std::collections::HashSet;

use super::arrange;
use super::filter::Filter;
use super::owners::{self, Owners};
use super::place::{Place, PlaceError};
use super::proc_net;
use super::sock_diag::{self, DiagError};
use super::socket::Socket;
use crate::choose::exe;
use crate::namespaces::{self, Namespace};

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
#[expect(missing_docs, reason = "each has its own words")]
pub enum ReadError {
    Place(#[from] PlaceError),
    Diag(#[from] DiagError),
}

/// The sockets that were asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted.
    pub sockets: Vec<Socket>,
    /// What could not be seen.
    pub unseen: Unseen,
    /// For people: what is missing besides.
    pub notes: Vec<String>,
    /// In how many network namespaces nothing is seen, because they may not be entered.
    pub closed: usize,
}

/// Sockets that some process has open which cannot be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// How many.
    pub sockets: usize,
    /// Of how many that some process has open.
    pub of: usize,
    /// Processes whose descriptors could not be looked at.
    pub denied: usize,
}

/// Reads the sockets in `places`.
pub fn read(places: &[Place], filter: &Filter) -> Result<Listing, ReadError> {
    let mut found = Found::default();
    for place in places {
        found.add(&place.open()?, filter)?;
    }
    Ok(found.listing(filter))
}

/// The same of those that are still there.
pub fn read_remaining(places: &[Place], filter: &Filter) -> Result<Listing, ReadError> {
    let mut found = Found::default();
    for place in places {
        match place.open() {
            Ok(namespace) => found.add(&namespace, filter)?,
            Err(PlaceError::Denied(name)) => return Err(PlaceError::Denied(name).into()),
            Err(_) => {}
        }
    }
    Ok(found.listing(filter))
}

/// Reads the sockets in all network namespaces that may be entered.
pub fn read_all(filter: &Filter) -> Result<Listing, ReadError> {
    let mut found = Found::default();
    for namespace in namespaces::all(&[]) {
        match found.add(&namespace, filter) {
            Err(DiagError::Enter { .. }) => found.closed += 1,
            result => result?,
        }
    }
    Ok(found.listing(filter))
}

/// What was read so far.
#[derive(Default)]
struct Found {
    sockets: Vec<Socket>,
    notes: Vec<String>,
    closed: usize,
}

impl Found {
    fn add(&mut self, namespace: &Namespace, filter: &Filter) -> Result<(), DiagError> {
        let mut here = read_one(namespace, &mut self.notes)?;
        arrange::settle(&mut here);
        filter.retain(&mut here);
        self.sockets.append(&mut here);
        Ok(())
    }

    fn listing(self, filter: &Filter) -> Listing {
        let Self {
            sockets,
            mut notes,
            closed,
        } = self;
        let wanted: HashSet<u32> = sockets.iter().filter_map(|socket| socket.inode).collect();
        notes.dedup();
        Listing {
            notes,
            closed,
            ..attribute(sockets, &owners::find(&wanted), filter)
        }
    }
}

/// The sockets of one namespace, from where this kernel has them.
fn read_one(namespace: &Namespace, notes: &mut Vec<String>) -> Result<Vec<Socket>, DiagError> {
    match sock_diag::read(namespace) {
        Err(error @ DiagError::Unsupported(_)) => match proc_net::read(namespace) {
            Ok(sockets) => {
                notes.push(format!("no byte counts: {error}"));
                Ok(sockets)
            }
            Err(_) => Err(error),
        },
        sockets => sockets,
    }
}

fn attribute(mut sockets: Vec<Socket>, owners: &Owners, filter: &Filter) -> Listing {
    for socket in &mut sockets {
        owners.give(socket);
    }
    let open = |socket: &&Socket| socket.inode.is_some();
    let unseen = Unseen {
        sockets: sockets
            .iter()
            .filter(open)
            .filter(|socket| socket.holders.is_empty())
            .count(),
        of: sockets.iter().filter(open).count(),
        denied: owners.denied,
    };
    sockets.retain(|socket| filter.passes_holders(socket, exe::path_of));
    arrange::sort(&mut sockets);
    Listing {
        sockets,
        unseen,
        ..Listing::default()
    }
}

impl Unseen {
    /// One line for people; `None` if everything was seen.
    pub fn sentence(self) -> Option<String> {
        let Self {
            sockets,
            of,
            denied,
        } = self;
        let why = if denied > 0 {
            let plural = if denied == 1 { "" } else { "es" };
            format!(
                "/proc/PID/fd of {denied} process{plural} may not be read; run with sudo, or with CAP_SYS_PTRACE"
            )
        } else {
            "they are in another pid namespace, hidden, or just ended".to_owned()
        };
        (sockets > 0)
            .then(|| format!("not seen: the processes of {sockets} of {of} open sockets: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::socket::samples::{connection, listener};
    use crate::options::FilterOptions;

    #[test]
    fn sockets_that_nobody_has_open_are_not_called_unseen() {
        let nobody = Socket {
            inode: None,
            ..connection("1.1.1.1:1", "2.2.2.2:2")
        };
        let listing = attribute(
            vec![nobody, listener("0.0.0.0:80")],
            &Owners::default(),
            &Filter::default(),
        );
        assert_eq!(
            listing.unseen,
            Unseen {
                sockets: 1,
                of: 1,
                denied: 0
            }
        );
        assert_eq!(listing.sockets.len(), 2);
        assert_eq!(listing.sockets[0].local.port(), 80);
    }

    #[test]
    fn what_is_not_seen_is_counted_even_if_a_test_on_processes_leaves_it_out() {
        let filter = Filter {
            options: FilterOptions {
                pids: vec![1],
                ..FilterOptions::default()
            },
            ..Filter::default()
        };
        let listing = attribute(vec![listener("0.0.0.0:80")], &Owners::default(), &filter);
        assert!(listing.sockets.is_empty());
        assert!(listing.unseen.sentence().unwrap().contains("1 of 1"));
    }

    #[test]
    fn the_reason_is_told_and_nothing_if_all_is_seen() {
        let unseen = |sockets, denied| {
            Unseen {
                sockets,
                of: 9,
                denied,
            }
            .sentence()
        };
        assert_eq!(unseen(0, 5), None);
        assert!(unseen(2, 5).unwrap().contains("/fd of 5 processes may not"));
        assert!(unseen(2, 0).unwrap().contains("pid namespace"));
    }
}
