//! The handler of samples: what an open connection carried so far.

use tracer_common::{
    connection::{Connection, TcpCounters, flags},
    flow::Flow,
    sample::Sample,
    tcp_state::{CLOSE, SYN_SENT},
};

use crate::kernel::Socket;

/// Reads of the counters before it is given up that two in a row are the same: the socket is not
/// locked, and another processor can be in the middle of changing them.
pub const READS: u32 = 4;

/// The counters of the socket that this entry of the table is for; nothing if it has none yet or
/// any more. An entry that is left while nothing is counted can be of a socket that is gone, and
/// whose memory is another's.
#[inline(always)]
pub fn of(sock: impl Socket, connection: &Connection) -> Option<Sample> {
    const NOT_OPEN: u32 = flags::RELEASED | flags::UNDECIDED;
    let state = sock.state();
    if connection.birth_ns == 0
        || connection.closed_ns != 0
        || connection.flags & NOT_OPEN != 0
        || matches!(state, CLOSE | SYN_SENT)
        || !is_of(sock, connection)
    {
        return None;
    }
    let mut tcp = TcpCounters::default();
    sock.read_counters(&mut tcp);
    for _ in 1..READS {
        let mut again = TcpCounters::default();
        sock.read_counters(&mut again);
        if again == tcp {
            return Some(Sample {
                sk: sock.key(),
                birth_ns: connection.birth_ns,
                tcp,
                state: u32::from(state),
                fin_received: u32::from(sock.fin_received()),
            });
        }
        tcp = again;
    }
    None
}

/// Whether the socket is still the one of this entry.
#[inline(always)]
pub fn is_of(sock: impl Socket, connection: &Connection) -> bool {
    let mut flow = Flow::default();
    sock.read_flow(&mut flow);
    flow.local_port == connection.flow.local_port
        && flow.remote_port == connection.flow.remote_port
        && u128::from_ne_bytes(flow.remote_ip) == u128::from_ne_bytes(connection.flow.remote_ip)
}
