//! What happens on each connection: a function of its number, told to the server in a header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{DUAL_PORT, V4_PORT};
use crate::workload::counted::Style;

/// Bytes of a burst.
const BURST: u32 = 300_000;

/// How a connection goes and ends. Unless it says otherwise the client sends a request, the server
/// reads it and sends a response, the client reads that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client closes first.
    ClientCloses,
    /// The server closes first.
    ServerCloses,
    /// The client closes with a linger time of zero.
    ClientResets,
    /// The server closes with a linger time of zero.
    ServerResets,
    /// The client closes without having read the response.
    ClientLeavesUnread,
    /// The server closes with half of the request unread.
    ServerLeavesUnread,
    /// A long request; the client closes first.
    Upload,
    /// A long response; the server closes first.
    Download,
    /// The client ends its direction after the request.
    HalfClose,
    /// Nothing is sent.
    Silent,
    /// Nothing is sent, and the client closes with a linger time of zero at once.
    ResetAtOnce,
    /// The client sends until nothing more fits, then closes with a linger time of zero.
    UnsentReset,
}

impl Ending {
    const ALL: [Self; 12] = [
        Self::ClientCloses,
        Self::ServerCloses,
        Self::ClientResets,
        Self::ServerResets,
        Self::ClientLeavesUnread,
        Self::ServerLeavesUnread,
        Self::Upload,
        Self::Download,
        Self::HalfClose,
        Self::Silent,
        Self::ResetAtOnce,
        Self::UnsentReset,
    ];

    /// Its name in truth lines.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ClientCloses => "client_closes",
            Self::ServerCloses => "server_closes",
            Self::ClientResets => "client_resets",
            Self::ServerResets => "server_resets",
            Self::ClientLeavesUnread => "client_leaves_unread",
            Self::ServerLeavesUnread => "server_leaves_unread",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::HalfClose => "half_close",
            Self::Silent => "silent",
            Self::ResetAtOnce => "reset_at_once",
            Self::UnsentReset => "unsent_reset",
        }
    }
}

/// Length of [`Plan::header`].
pub(super) const HEADER: usize = 13;

/// What happens on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) number: u32,
    pub(super) ending: Ending,
    /// Bytes after the header.
    pub(super) request: u32,
    pub(super) response: u32,
}

impl Plan {
    pub(super) fn numbered(number: u32) -> Self {
        let index = number as usize % Ending::ALL.len();
        let ending = Ending::ALL[index];
        let (small, large) = (scatter(number) % 2000 + 2, scatter(!number) % 9000 + 1);
        let (request, response) = match ending {
            Ending::Upload => (BURST, small),
            Ending::Download => (small, BURST),
            _ => (small, large),
        };
        Self {
            number,
            ending,
            request,
            response,
        }
    }

    /// All kinds of addresses and sockets in turn, or `only`.
    pub(super) fn address(&self, only: Option<Ipv4Addr>) -> SocketAddr {
        let v4 = only.unwrap_or(Ipv4Addr::LOCALHOST);
        let turn = self.number as usize / Ending::ALL.len() % 4;
        match (turn, only) {
            (0, _) => (v4, V4_PORT).into(),
            (1, None) => (Ipv6Addr::LOCALHOST, DUAL_PORT).into(),
            (2, _) => (IpAddr::from(v4.to_ipv6_mapped()), DUAL_PORT).into(),
            _ => (v4, DUAL_PORT).into(),
        }
    }

    pub(super) fn style(&self) -> Style {
        Style::numbered(scatter(self.number) >> 16)
    }

    pub(super) fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0] = u8::try_from(self.number as usize % Ending::ALL.len()).unwrap_or(u8::MAX);
        header[1..5].copy_from_slice(&self.number.to_be_bytes());
        header[5..9].copy_from_slice(&self.request.to_be_bytes());
        header[9..].copy_from_slice(&self.response.to_be_bytes());
        header
    }

    /// The plan that `header` tells of; `None` if it cannot be one.
    pub(super) fn parse(header: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| header[at..at + 4].try_into().ok().map(u32::from_be_bytes);
        Some(Self {
            ending: *Ending::ALL.get(usize::from(header[0]))?,
            number: word(1)?,
            request: word(5)?,
            response: word(9)?,
        })
    }
}

/// A number that looks random (the finisher of `MurmurHash3`).
fn scatter(mut number: u32) -> u32 {
    number ^= number >> 16;
    number = number.wrapping_mul(0x85eb_ca6b);
    number ^= number >> 13;
    number = number.wrapping_mul(0xc2b2_ae35);
    number ^ (number >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_the_whole_plan() {
        for number in 0..100 {
            let plan = Plan::numbered(number);
            assert_eq!(Plan::parse(&plan.header()), Some(plan));
        }
        assert_eq!(Plan::parse(&[0xff; HEADER]), None);
    }

    #[test]
    fn every_ending_meets_every_kind_of_address() {
        let addresses = |ending| {
            let plans = (0..48)
                .map(Plan::numbered)
                .filter(move |plan| plan.ending == ending);
            plans
                .map(|plan| plan.address(None))
                .collect::<std::collections::BTreeSet<_>>()
        };
        for ending in Ending::ALL {
            assert_eq!(addresses(ending).len(), 4, "{ending:?}");
        }
    }
}
