//! What an end means: why an attempt failed, who ended a connection.

use tracer_common::connection::{Connection, flags};
use tracer_common::tcp_state::{CLOSE_WAIT, ESTABLISHED, LAST_ACK};

use crate::record::ClosedBy;

// `errno` values of `sk_err`, the same on every Linux architecture we build for.
const EPERM: u32 = 1;
const EACCES: u32 = 13;
const EPIPE: u32 = 32;
const ENONET: u32 = 64;
const ENOPROTOOPT: u32 = 92;
const EADDRNOTAVAIL: u32 = 99;
const ENETUNREACH: u32 = 101;
const ECONNABORTED: u32 = 103;
const ECONNRESET: u32 = 104;
const ETIMEDOUT: u32 = 110;
const ECONNREFUSED: u32 = 111;
const EHOSTDOWN: u32 = 112;
const EHOSTUNREACH: u32 = 113;

/// Why an attempt ended without a connection.
pub fn failure(connection: &Connection) -> &'static str {
    match connection.error {
        // Nothing but the choice of a port comes between.
        0 if !connection.syn_was_queued() => "no_local_port",
        EPERM => "denied",
        0 | ECONNABORTED => "aborted",
        error => named(error),
    }
}

/// Why a connection did not end in order; `None` when it did.
pub fn abnormal_end(connection: &Connection) -> Option<&'static str> {
    match connection.error {
        0 if reset_here(connection) => Some("reset"),
        0 => None,
        error => Some(named(error)),
    }
}

fn named(error: u32) -> &'static str {
    match error {
        ECONNREFUSED => "refused",
        ETIMEDOUT => "timeout",
        // All that the kernel makes of ICMP's "unreachable", but "port unreachable", which refuses;
        // and an address that there is no own one for.
        EADDRNOTAVAIL | ENETUNREACH | EHOSTUNREACH | EHOSTDOWN | ENONET | ENOPROTOOPT | EACCES => {
            "unreachable"
        }
        ECONNRESET | EPIPE => "reset",
        ECONNABORTED => "aborted",
        _ => "error",
    }
}

/// Who ended it. The side that sent its FIN first closed; a reset that we did not receive, we sent.
pub fn closed_by(connection: &Connection) -> ClosedBy {
    match connection.error {
        ECONNRESET | EPIPE | ECONNREFUSED => ClosedBy::Remote,
        0 | ECONNABORTED if u32::from(LAST_ACK) == connection.state_before_close => {
            ClosedBy::Remote
        }
        0 | ECONNABORTED => ClosedBy::Local,
        _ => ClosedBy::Kernel,
    }
}

/// Without an error, leaving these states for CLOSE means `close()` with unread data or linger 0,
/// `connect(AF_UNSPEC)`, or a listener closing what nobody accepted.
fn reset_here(connection: &Connection) -> bool {
    !connection.is(flags::FAILED)
        && [u32::from(ESTABLISHED), u32::from(CLOSE_WAIT)].contains(&connection.state_before_close)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_common::tcp_state::{FIN_WAIT2, SYN_SENT};

    fn ended(error: u32, state_before_close: u8) -> Connection {
        let state_before_close = u32::from(state_before_close);
        let mut connection = Connection {
            error,
            state_before_close,
            ..Connection::EMPTY
        };
        connection.flow.local_port = 1;
        connection
    }

    #[test]
    fn failures_are_named_after_the_error_the_application_gets() {
        for (error, reason) in [
            (ECONNREFUSED, "refused"),
            (ETIMEDOUT, "timeout"),
            (ENETUNREACH, "unreachable"),
            (EHOSTUNREACH, "unreachable"),
            (EACCES, "unreachable"),
            (EHOSTDOWN, "unreachable"),
            (ECONNRESET, "reset"),
            (0, "aborted"),
            (5, "error"),
        ] {
            assert_eq!(failure(&ended(error, SYN_SENT)), reason);
        }
        let mut unbound = ended(0, SYN_SENT);
        unbound.flow.local_port = 0;
        assert_eq!(failure(&unbound), "no_local_port");
        let mut without_syn = ended(0, SYN_SENT);
        without_syn.flags = flags::HAS_COUNTERS;
        assert_eq!(failure(&without_syn), "no_local_port");
        without_syn.tcp.write_seq = 1;
        assert_eq!(failure(&without_syn), "aborted");
    }

    #[test]
    fn whoever_sent_the_first_fin_closed() {
        assert_eq!(closed_by(&ended(0, FIN_WAIT2)), ClosedBy::Local);
        assert_eq!(closed_by(&ended(0, LAST_ACK)), ClosedBy::Remote);
        assert_eq!(abnormal_end(&ended(0, FIN_WAIT2)), None);
        assert_eq!(abnormal_end(&ended(0, LAST_ACK)), None);
    }

    #[test]
    fn a_reset_is_the_senders() {
        let sent = ended(0, ESTABLISHED);
        assert_eq!(
            (closed_by(&sent), abnormal_end(&sent)),
            (ClosedBy::Local, Some("reset"))
        );
        let received = ended(ECONNRESET, ESTABLISHED);
        assert_eq!(
            (closed_by(&received), abnormal_end(&received)),
            (ClosedBy::Remote, Some("reset"))
        );
        let after_fin = ended(EPIPE, CLOSE_WAIT);
        assert_eq!(
            (closed_by(&after_fin), abnormal_end(&after_fin)),
            (ClosedBy::Remote, Some("reset"))
        );
    }

    #[test]
    fn a_timeout_is_the_kernels() {
        let timed_out = ended(ETIMEDOUT, ESTABLISHED);
        assert_eq!(
            (closed_by(&timed_out), abnormal_end(&timed_out)),
            (ClosedBy::Kernel, Some("timeout"))
        );
    }
}
