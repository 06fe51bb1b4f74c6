//! Byte counts out of the kernel's `struct tcp_info` (`include/uapi/linux/tcp.h`).

use super::socket::State;
use crate::record::Bytes;

/// Offsets of its fields. Later kernels only append.
const STATE: usize = 0;
const BYTES_RECEIVED: usize = 128;
const NOTSENT_BYTES: usize = 144;
const BYTES_SENT: usize = 200;
const BYTES_RETRANS: usize = 208;

/// Sequence numbers that wait in a socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queues {
    /// Arrived and not read; an unread FIN counts.
    pub(super) receive: u32,
    /// Not acknowledged; SYN and FIN count.
    pub(super) send: u32,
}

/// What a connection that is in `state` carried so far, as the application counts: without SYN and FIN, which take a
/// sequence number each. `None` if the kernel's structure is shorter than in Linux 4.19.
pub(super) fn bytes(info: &[u8], state: State, queues: Queues) -> Option<Bytes> {
    let received = u64_at(info, BYTES_RECEIVED)?;
    let not_sent = u64::from(u32_at(info, NOTSENT_BYTES)?);
    // Payload only. `bytes_acked` would also count our SYN, but only on the side that connected,
    // which nothing here says.
    let sent = u64_at(info, BYTES_SENT)?.saturating_sub(u64_at(info, BYTES_RETRANS)?);
    // The counters are as of this state, the queues were looked at a moment before.
    let then = State::from_number(*info.get(STATE)?)?;
    let sent_fin = |state: State| u64::from(tracer_common::tcp_state::sent_fin(state as u8));
    let received_fin = |state: State| u64::from(state.received_fin());
    // The FIN is the last to be sent: while anything is not, it is not.
    let tx = sent.saturating_add(not_sent.saturating_sub(sent_fin(then)));
    // An unread FIN is the last in the queue.
    let unread = u64::from(queues.receive).saturating_sub(received_fin(state));
    let rx = received
        .saturating_sub(received_fin(then))
        .saturating_sub(unread);
    Some(Bytes {
        tx,
        rx,
        unread: Some(unread),
        // A SYN may be all that is not acknowledged.
        unsent: Some(
            u64::from(queues.send)
                .saturating_sub(sent_fin(state))
                .min(tx),
        ),
        ..Bytes::default()
    })
}

fn u64_at(info: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*info.get(offset..)?.first_chunk()?))
}

fn u32_at(info: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*info.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(sent: u64, retransmitted: u64, not_sent: u32, received: u64) -> Vec<u8> {
        let mut info = vec![0xff; 232];
        info[BYTES_SENT..][..8].copy_from_slice(&sent.to_ne_bytes());
        info[BYTES_RETRANS..][..8].copy_from_slice(&retransmitted.to_ne_bytes());
        info[NOTSENT_BYTES..][..4].copy_from_slice(&not_sent.to_ne_bytes());
        info[BYTES_RECEIVED..][..8].copy_from_slice(&received.to_ne_bytes());
        info
    }

    fn counts(info: &[u8], state: State, receive: u32, send: u32) -> [u64; 4] {
        let mut info = info.to_vec();
        info[STATE] = state as u8;
        let info = &info;
        let bytes = bytes(info, state, Queues { receive, send }).unwrap();
        [
            bytes.tx,
            bytes.rx,
            bytes.unread.unwrap(),
            bytes.unsent.unwrap(),
        ]
    }

    #[test]
    fn what_waits_is_sent_but_not_received() {
        let info = info(1000, 0, 500, 300);
        assert_eq!(
            counts(&info, State::Established, 100, 700),
            [1500, 200, 100, 700]
        );
    }

    #[test]
    fn what_was_sent_again_counts_once() {
        assert_eq!(
            counts(&info(1000, 400, 0, 0), State::Established, 0, 0),
            [600, 0, 0, 0]
        );
    }

    #[test]
    fn a_syn_is_no_byte() {
        assert_eq!(
            counts(&info(0, 0, 0, 0), State::SynSent, 0, 1),
            [0, 0, 0, 0]
        );
    }

    #[test]
    fn a_fin_is_no_byte_on_either_side_wherever_it_is() {
        // Ours waits behind data, is on its way, is acknowledged.
        assert_eq!(
            counts(&info(10, 0, 6, 0), State::FinWait1, 0, 16),
            [15, 0, 0, 15]
        );
        assert_eq!(
            counts(&info(15, 0, 0, 0), State::FinWait1, 0, 1),
            [15, 0, 0, 0]
        );
        assert_eq!(
            counts(&info(15, 0, 0, 0), State::FinWait2, 0, 0),
            [15, 0, 0, 0]
        );
        // The peer's waits behind data, waits alone, is read.
        assert_eq!(
            counts(&info(0, 0, 0, 8), State::CloseWait, 8, 0),
            [0, 0, 7, 0]
        );
        assert_eq!(
            counts(&info(0, 0, 0, 8), State::CloseWait, 1, 0),
            [0, 7, 0, 0]
        );
        assert_eq!(
            counts(&info(0, 0, 0, 8), State::CloseWait, 0, 0),
            [0, 7, 0, 0]
        );
    }

    #[test]
    fn a_fin_that_comes_while_the_kernel_looks_is_no_byte() {
        let mut then = info(0, 0, 0, 8);
        then[STATE] = State::CloseWait as u8;
        let queues = |receive| Queues { receive, send: 0 };
        for (receive, rx) in [(0, 7), (5, 2)] {
            let bytes = bytes(&then, State::Established, queues(receive)).unwrap();
            assert_eq!((bytes.rx, bytes.unread), (rx, Some(receive.into())));
        }
    }

    #[test]
    fn a_short_or_absurd_structure_is_no_panic() {
        let mut whole = info(u64::MAX, 0, u32::MAX, 5);
        let absurd = bytes(&whole, State::Established, Queues::default());
        assert_eq!(absurd, None, "a state without a name");
        whole[STATE] = State::Established as u8;
        for length in 0..216 {
            assert_eq!(
                bytes(&whole[..length], State::Established, Queues::default()),
                None
            );
        }
        let all = Queues {
            receive: u32::MAX,
            send: u32::MAX,
        };
        for state in State::ALL {
            assert_eq!(bytes(&whole, state, all).unwrap().tx, u64::MAX);
        }
    }
}
