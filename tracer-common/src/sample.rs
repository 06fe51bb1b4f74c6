//! What an open connection has carried so far, by the kernel's own counters.

use crate::connection::{Connection, TcpCounters, flags};

/// One connection's counters, as the iterator over the connection table writes them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Sample {
    /// The socket.
    pub sk: u64,
    /// [`Connection::birth_ns`].
    pub birth_ns: u64,
    /// Read at one moment.
    pub tcp: TcpCounters,
    /// TCP state then.
    pub state: u32,
    /// 1 = the peer's FIN had arrived.
    pub fin_received: u32,
}

const _: () = assert!(size_of::<Sample>() == 64 && align_of::<Sample>() == 8);

impl Sample {
    /// Grows whenever bytes are sent, acknowledged, received or read.
    pub const fn position(&self) -> u64 {
        let TcpCounters {
            bytes_acked,
            bytes_received,
            write_seq,
            copied_seq,
            ..
        } = self.tcp;
        (bytes_acked + bytes_received)
            .wrapping_add(write_seq as u64)
            .wrapping_add(copied_seq as u64)
    }

    /// Writes it into the state of the same connection, whose owner gets the bytes. What is known
    /// of the end is better and stays.
    pub const fn apply(&self, connection: &mut Connection) {
        if connection.closed_ns != 0 || connection.birth_ns != self.birth_ns {
            return;
        }
        connection.tcp = self.tcp;
        connection.state_before_close = self.state;
        connection.flags |= flags::HAS_COUNTERS;
        if self.fin_received != 0 {
            connection.flags |= flags::FIN_RECEIVED;
        }
        connection.credit_owner();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp_state::{ESTABLISHED, FIN_WAIT2};

    const SAMPLE: Sample = Sample {
        sk: 1,
        birth_ns: 5,
        tcp: TcpCounters {
            bytes_acked: 91,
            bytes_received: 70,
            write_seq: 30,
            snd_una: 20,
            rcv_nxt: 1000,
            copied_seq: 960,
            srtt_us: 7,
            retransmits: 0,
        },
        state: ESTABLISHED as u32,
        fin_received: 0,
    };

    fn outbound() -> Connection {
        let mut connection = Connection::EMPTY;
        connection.birth_ns = 5;
        connection.owner.tgid = 9;
        connection
    }

    #[test]
    fn an_open_connection_has_what_its_socket_says() {
        let mut connection = outbound();
        (connection.before_tx, connection.before_rx) = (40, 10);
        SAMPLE.apply(&mut connection);
        // 91 acknowledged with the SYN, 10 outstanding; 70 arrived, 40 of them not read.
        assert_eq!((connection.tx(), connection.rx()), (60, 20));
        assert_eq!((connection.owner_tx, connection.owner_rx), (60, 20));
    }

    #[test]
    fn a_fin_of_either_side_is_no_byte() {
        let mut connection = outbound();
        let sample = Sample {
            state: u32::from(FIN_WAIT2),
            fin_received: 1,
            tcp: TcpCounters {
                copied_seq: 1000,
                ..SAMPLE.tcp
            },
            ..SAMPLE
        };
        sample.apply(&mut connection);
        assert_eq!((connection.tx(), connection.rx()), (99, 69));
    }

    #[test]
    fn nothing_is_credited_to_nobody_or_to_another_connection() {
        let mut connection = outbound();
        connection.owner.tgid = 0;
        SAMPLE.apply(&mut connection);
        assert_eq!((connection.tx(), connection.owner_tx), (100, 0));
        for changed in [
            Connection {
                birth_ns: 6,
                ..outbound()
            },
            Connection {
                closed_ns: 7,
                ..outbound()
            },
        ] {
            let mut connection = changed;
            SAMPLE.apply(&mut connection);
            assert_eq!(connection, changed);
        }
    }
}
