//! One TCP socket as it is now.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Serialize, Serializer};
use tracer_common::tcp_state;

use crate::record::{Bytes, Direction, Family};

/// The kernel's states of a TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the states of RFC 9293, by the kernel's names")]
pub enum State {
    Established = tcp_state::ESTABLISHED,
    SynSent = tcp_state::SYN_SENT,
    SynRecv = tcp_state::SYN_RECV,
    FinWait1 = tcp_state::FIN_WAIT1,
    FinWait2 = tcp_state::FIN_WAIT2,
    TimeWait = tcp_state::TIME_WAIT,
    Close = tcp_state::CLOSE,
    CloseWait = tcp_state::CLOSE_WAIT,
    LastAck = tcp_state::LAST_ACK,
    Listen = tcp_state::LISTEN,
    Closing = tcp_state::CLOSING,
}

impl State {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    /// The state with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
        }
    }

    /// Whether the peer's FIN has arrived, which takes one sequence number that is not data.
    pub(super) const fn received_fin(self) -> bool {
        matches!(
            self,
            Self::CloseWait | Self::LastAck | Self::Closing | Self::TimeWait
        )
    }
}

/// In JSON: the name in lower case.
impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name().to_ascii_lowercase())
    }
}

/// Some of the states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSet(u16);

/// Why a list of states is refused; completes "`--tcp-state value`: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no state of a socket; write some of {}", .0.escape_debug(), names())]
pub struct StateError(String);

fn names() -> String {
    State::ALL.map(State::name).join(", ").to_ascii_lowercase()
}

impl StateSet {
    /// Only this one.
    pub const fn of(state: State) -> Self {
        Self(1 << state as u16)
    }

    /// Whether `state` is one of them.
    pub const fn contains(self, state: State) -> bool {
        self.0 & (1 << state as u16) != 0
    }

    /// Adds those of `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A comma-separated list. Case, `-` and `_` do not matter: other tools write `fin-wait-1`.
impl FromStr for StateSet {
    type Err = StateError;

    fn from_str(list: &str) -> Result<Self, StateError> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        let mut set = Self::default();
        for word in list.split(',').map(str::trim) {
            let mut states = State::ALL.into_iter();
            let state = states.find(|state| plain(state.name()) == plain(word));
            set.insert(Self::of(state.ok_or_else(|| StateError(word.to_owned()))?));
        }
        Ok(set)
    }
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Process id, as `/proc` here numbers it.
    pub pid: u32,
    /// `comm` of the process, escaped.
    pub name: CompactString,
    /// Start of the process, nanoseconds since boot, in steps of the kernel's clock; 0 = not known.
    #[serde(skip)]
    pub start_ns: u64,
}

/// Connections that wait to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AcceptQueue {
    /// How many wait.
    pub length: u32,
    /// How many may.
    pub limit: u32,
}

/// One TCP socket. IPv4 addresses on an IPv6 socket are IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Where its life is.
    pub state: State,
    /// Inferred: inbound if something listens on its local port. `None` without a peer.
    pub direction: Option<Direction>,
    /// This host's end.
    pub local: SocketAddr,
    /// The peer's end; `None` of a socket that listens, or is only bound.
    pub remote: Option<SocketAddr>,
    /// IP version of the socket itself.
    pub socket_family: Family,
    /// Listens on IPv6 and takes IPv4, too.
    pub dual_stack: bool,
    /// Index of the network device that it is bound to, or that a link-local address is of.
    pub interface: Option<u32>,
    /// Inode number; `None` if no process has it open: in `TIME_WAIT`, not yet accepted, or left
    /// to the kernel to close.
    pub inode: Option<u32>,
    /// The user it belongs to.
    pub uid: Option<u32>,
    /// Byte counts; `None` where the kernel keeps none.
    pub bytes: Option<Bytes>,
    /// Of a listening socket.
    pub accept_queue: Option<AcceptQueue>,
    /// Who has it open, the oldest process first; empty if nobody that can be seen.
    pub holders: Vec<Holder>,
}

impl Socket {
    /// IP version of its addresses.
    pub const fn family(&self) -> Family {
        match self.local.ip() {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// An established connection between these two.
    pub(crate) fn connection(local: &str, remote: &str) -> Socket {
        let local: SocketAddr = local.parse().unwrap();
        Socket {
            netns: 1,
            state: State::Established,
            direction: None,
            local,
            remote: Some(remote.parse().unwrap()),
            socket_family: if local.is_ipv4() {
                Family::Ipv4
            } else {
                Family::Ipv6
            },
            dual_stack: false,
            interface: None,
            inode: Some(7),
            uid: Some(0),
            bytes: Some(Bytes::default()),
            accept_queue: None,
            holders: Vec::new(),
        }
    }

    /// A listening socket.
    pub(crate) fn listener(local: &str) -> Socket {
        Socket {
            state: State::Listen,
            remote: None,
            bytes: None,
            accept_queue: Some(AcceptQueue {
                length: 0,
                limit: 128,
            }),
            ..connection(local, "1.1.1.1:1")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleven_states_have_the_numbers_of_the_kernel() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index + 1);
            assert_eq!(State::from_number(state as u8), Some(state));
        }
        assert_eq!(State::from_number(0), None);
        assert_eq!(State::from_number(12), None);
    }

    #[test]
    fn states_are_chosen_in_the_spelling_of_any_tool() {
        for list in [
            "fin_wait1,time_wait",
            "FIN-WAIT-1,TIME-WAIT",
            " FinWait1 , timewait ",
        ] {
            let set: StateSet = list.parse().unwrap();
            let chosen: Vec<_> = State::ALL
                .into_iter()
                .filter(|state| set.contains(*state))
                .collect();
            assert_eq!(chosen, [State::FinWait1, State::TimeWait], "{list}");
        }
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(StateSet::of(state)));
        }
    }

    #[test]
    fn what_is_no_state_is_named_with_the_choices() {
        for list in ["", "open", "listen,,close", "a\x1b[2J"] {
            let error = list.parse::<StateSet>().unwrap_err().to_string();
            assert!(error.contains("established, syn_sent"), "{error}");
            assert!(!error.contains('\x1b'), "{error}");
        }
    }
}
