//! What there is now, chosen and in order.

use std::collections::HashSet;

use super::arrange;
use super::filter::Filter;
use super::owners::{self, Owners};
use super::place::{Place, PlaceError};
use super::proc_net;
use super::sock_diag::{self, DiagError};
use super::socket::Socket;
use crate::namespaces::Namespace;

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
    let (mut sockets, mut notes) = (Vec::new(), Vec::new());
    for place in places {
        let mut here = read_one(&place.open()?, &mut notes)?;
        arrange::settle(&mut here);
        filter.retain(&mut here);
        sockets.append(&mut here);
    }
    let wanted: HashSet<u32> = sockets.iter().filter_map(|socket| socket.inode).collect();
    let mut listing = attribute(sockets, &owners::find(&wanted), filter);
    notes.dedup();
    listing.notes = notes;
    Ok(listing)
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
    sockets.retain(|socket| filter.passes_holders(socket));
    arrange::sort(&mut sockets);
    Listing {
        sockets,
        unseen,
        notes: Vec::new(),
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
            pids: vec![1],
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
