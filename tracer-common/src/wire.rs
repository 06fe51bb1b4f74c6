//! What a connection put on the wire, by the counters that the kernel keeps for each socket.
//!
//! Kept with [`crate::config::feature::WIRE`] only.

use crate::connection::{Connection, flags};

/// One connection end's counts. While the connection lasts, those from before it: they are taken off
/// at its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Wire {
    /// Payload bytes sent (`bytes_sent`), those that were sent again each time.
    pub sent: u64,
    /// Payload bytes that arrived (`bytes_received` without a FIN), each once.
    pub received: u64,
    /// Segments sent (`segs_out`), as the wire has them: what the kernel hands down in one piece is
    /// as many as are made of it.
    pub segments_out: u32,
    /// Segments that arrived (`segs_in`), likewise.
    pub segments_in: u32,
    /// Bytes of the TCP header that most of its segments have (`tcp_header_len`).
    pub header: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Wire>() == 32 && align_of::<Wire>() == 8);

impl Wire {
    /// Nothing yet.
    pub const EMPTY: Self = Self {
        sent: 0,
        received: 0,
        segments_out: 0,
        segments_in: 0,
        header: 0,
        reserved: 0,
    };

    /// What an inbound connection begins with. The kernel counts the SYN that came, but not the
    /// SYN-ACK that it answered with, so many times once more.
    pub const fn of_accepting(retransmits: u32) -> Self {
        Self {
            segments_out: 0u32.wrapping_sub(1).wrapping_sub(retransmits),
            ..Self::EMPTY
        }
    }

    /// What came since `before`. The segments are 32-bit numbers that wrap.
    pub const fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent.wrapping_sub(before.sent),
            received: self.received.wrapping_sub(before.received),
            segments_out: self.segments_out.wrapping_sub(before.segments_out),
            segments_in: self.segments_in.wrapping_sub(before.segments_in),
            header: self.header,
            reserved: 0,
        }
    }
}

/// An open connection's counts, as the iterator over the connection table writes them.
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
pub struct WireSample {
    /// The socket.
    pub sk: u64,
    /// [`Connection::birth_ns`].
    pub birth_ns: u64,
    /// Read at one moment; what was before is not taken off.
    pub wire: Wire,
}

const _: () = assert!(size_of::<WireSample>() == 48 && align_of::<WireSample>() == 8);

impl WireSample {
    /// Writes it into the state of the same connection, unless that has its end's.
    pub const fn apply(&self, connection: &mut Connection) {
        if connection.is(flags::HAS_WIRE) || connection.birth_ns != self.birth_ns {
            return;
        }
        connection.wire = self.wire.since(connection.wire);
        connection.flags |= flags::HAS_WIRE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wire = Wire {
        sent: 100,
        received: 50,
        segments_out: 5,
        segments_in: 4,
        header: 32,
        reserved: 0,
    };

    #[test]
    fn the_syn_ack_of_an_inbound_connection_is_one_segment_more_each_time() {
        for retransmits in [0, 1, 3] {
            let wire = NOW.since(Wire::of_accepting(retransmits));
            assert_eq!((wire.segments_out, wire.segments_in), (6 + retransmits, 4));
            assert_eq!((wire.sent, wire.received, wire.header), (100, 50, 32));
        }
    }

    #[test]
    fn numbers_of_segments_wrap() {
        let before = Wire {
            segments_out: u32::MAX - 1,
            segments_in: u32::MAX,
            sent: 40,
            received: 10,
            ..Wire::EMPTY
        };
        let wire = NOW.since(before);
        assert_eq!((wire.segments_out, wire.segments_in), (7, 5));
        assert_eq!((wire.sent, wire.received), (60, 40));
    }

    #[test]
    fn a_sample_is_of_one_connection_and_never_replaces_its_end() {
        let sample = WireSample {
            sk: 1,
            birth_ns: 5,
            wire: NOW,
        };
        let mut open = Connection {
            birth_ns: 5,
            wire: Wire::of_accepting(0),
            ..Connection::EMPTY
        };
        sample.apply(&mut open);
        assert_eq!(open.wire.segments_out, 6);
        let known = open;
        sample.apply(&mut open);
        assert_eq!(open, known);
        let other = Connection {
            birth_ns: 6,
            ..Connection::EMPTY
        };
        let mut changed = other;
        sample.apply(&mut changed);
        assert_eq!(changed, other);
    }
}
