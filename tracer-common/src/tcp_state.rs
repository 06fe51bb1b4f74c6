//! The kernel's TCP states, `include/net/tcp_states.h`. They are kernel ABI (`ss`, `tcp_info`).

/// Numbers as `inet_sock_set_state` reports them.
pub const ESTABLISHED: u8 = 1;
/// SYN sent, no answer yet.
pub const SYN_SENT: u8 = 2;
/// A child socket between the listener's clone and the end of the handshake.
pub const SYN_RECV: u8 = 3;
/// Our FIN is out first.
pub const FIN_WAIT1: u8 = 4;
/// Our FIN is acknowledged.
pub const FIN_WAIT2: u8 = 5;
/// Both FINs seen; the kernel swaps the socket for a small one and this number is never reported.
pub const TIME_WAIT: u8 = 6;
/// Over.
pub const CLOSE: u8 = 7;
/// The peer's FIN came first.
pub const CLOSE_WAIT: u8 = 8;
/// Our FIN is out after the peer's.
pub const LAST_ACK: u8 = 9;
/// Waiting for connections.
pub const LISTEN: u8 = 10;
/// Both FINs crossed.
pub const CLOSING: u8 = 11;

/// Whether a socket that left `state` for `CLOSE` had queued its own FIN, which takes one
/// sequence number that is not data.
#[inline(always)]
pub const fn sent_fin(state: u8) -> bool {
    matches!(
        state,
        FIN_WAIT1 | FIN_WAIT2 | TIME_WAIT | LAST_ACK | CLOSING
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fin_is_out_in_the_five_states_after_it() {
        let with_fin: [u8; 5] = [FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING];
        for state in 1..=11 {
            assert_eq!(sent_fin(state), with_fin.contains(&state), "state {state}");
        }
    }
}
