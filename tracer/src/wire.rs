//! What a connection put on the wire, as records tell it. Pure.
//!
//! Segments are what the kernel counts for each socket, with the SYN-ACK that a listener answered
//! for it and the RST that follows an abort. What the kernel sends and receives without a socket is
//! not among them: the goodbye of the end that closed first, when it comes after its `->CLOSE`, and
//! further SYNs of a peer that is impatient.
//!
//! Bytes are an estimate, because no counter tells of headers: they are those of the connection's
//! usual segment, and of a SYN with Linux's usual options. Acknowledgements that tell of gaps (SACK)
//! have up to 36 bytes more, and what the peer sent twice is counted once.

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use tracer_common::connection::{Connection, flags};
use tracer_common::flow::is_v4_mapped;
use tracer_common::wire::Wire as Counters;

const IPV4_HEADER: u64 = 20;
const IPV6_HEADER: u64 = 40;
/// Without options.
const TCP_HEADER: u64 = 20;
/// With timestamps.
const STAMPED_HEADER: u64 = 32;
/// Of a SYN with timestamps: with the largest segment, window scale and SACK, too.
const STAMPED_SYN: u64 = 40;
/// The same without.
const SYN: u64 = 32;

/// What one or more connections put on the wire, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Wire {
    /// Segments sent, what was sent again included.
    pub segments_out: u64,
    /// Segments that arrived.
    pub segments_in: u64,
    /// Bytes of the segments sent, from the IP header on; an estimate.
    pub wire_bytes_out: u64,
    /// Bytes of the segments that arrived, likewise.
    pub wire_bytes_in: u64,
}

impl Serialize for Wire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Wire", 5)?;
        object.serialize_field("segments_out", &self.segments_out)?;
        object.serialize_field("segments_in", &self.segments_in)?;
        object.serialize_field("wire_bytes_out", &self.wire_bytes_out)?;
        object.serialize_field("wire_bytes_in", &self.wire_bytes_in)?;
        // Whoever reads a record alone must see what the bytes are.
        object.serialize_field("estimate", "wire_bytes")?;
        object.end()
    }
}

impl std::ops::AddAssign for Wire {
    fn add_assign(&mut self, other: Self) {
        // Recorded files may hold any number.
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.segments_out, other.segments_out);
        add(&mut self.segments_in, other.segments_in);
        add(&mut self.wire_bytes_out, other.wire_bytes_out);
        add(&mut self.wire_bytes_in, other.wire_bytes_in);
    }
}

/// What a connection put on the wire, if that is known.
pub fn of(connection: &Connection) -> Option<Wire> {
    if !connection.is(flags::HAS_WIRE) {
        return None;
    }
    let Counters {
        sent,
        received,
        segments_out,
        segments_in,
        ..
    } = connection.wire;
    let (segments_out, segments_in) = (u64::from(segments_out), u64::from(segments_in));
    let headers = Headers::of(connection);
    let (out, in_) = if connection.is(flags::FAILED) {
        // Nothing but SYNs went out, and nothing but a RST of nobody's came.
        (
            headers.of_syns(segments_out),
            segments_in * (headers.ip + TCP_HEADER),
        )
    } else {
        let older = connection.flags & (flags::PRE_EXISTING | flags::QUEUED_BEFORE) != 0;
        let handshake = u64::from(!older);
        (
            headers.of_all(segments_out, handshake),
            headers.of_all(segments_in, handshake),
        )
    };
    Some(Wire {
        segments_out,
        segments_in,
        wire_bytes_out: sent.saturating_add(out),
        wire_bytes_in: received.saturating_add(in_),
    })
}

/// Bytes of headers.
struct Headers {
    ip: u64,
    usual: u64,
    syn: u64,
}

impl Headers {
    fn of(connection: &Connection) -> Self {
        let usual = u64::from(connection.wire.header).max(TCP_HEADER);
        Self {
            ip: if is_v4_mapped(&connection.flow.remote_ip) {
                IPV4_HEADER
            } else {
                IPV6_HEADER
            },
            usual,
            syn: if usual >= STAMPED_HEADER {
                STAMPED_SYN
            } else {
                SYN
            },
        }
    }

    fn of_syns(&self, segments: u64) -> u64 {
        segments * (self.ip + self.syn)
    }

    /// `syns` of them are SYNs, if there are so many.
    fn of_all(&self, segments: u64, syns: u64) -> u64 {
        let syns = syns.min(segments);
        self.of_syns(syns) + (segments - syns) * (self.ip + self.usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4() -> [u8; 16] {
        let mut ip = [0; 16];
        (ip[10], ip[11], ip[15]) = (0xff, 0xff, 1);
        ip
    }

    /// Three segments each way with timestamps: 100 bytes out and 300 in.
    fn connection(remote_ip: [u8; 16], header: u32) -> Connection {
        let mut connection = Connection {
            flags: flags::HAS_WIRE,
            wire: Counters {
                sent: 100,
                received: 300,
                segments_out: 3,
                segments_in: 3,
                header,
                reserved: 0,
            },
            ..Connection::EMPTY
        };
        connection.flow.remote_ip = remote_ip;
        connection
    }

    fn bytes(connection: &Connection) -> (u64, u64) {
        let wire = of(connection).unwrap();
        (wire.wire_bytes_out, wire.wire_bytes_in)
    }

    #[test]
    fn a_syn_has_more_options_than_the_others() {
        let headers = 60 + 2 * 52;
        assert_eq!(bytes(&connection(v4(), 32)), (100 + headers, 300 + headers));
        let headers = 52 + 2 * 40;
        assert_eq!(bytes(&connection(v4(), 20)), (100 + headers, 300 + headers));
        let headers = 80 + 2 * 72;
        let v6 = connection([0x20; 16], 32);
        assert_eq!(bytes(&v6), (100 + headers, 300 + headers));
    }

    #[test]
    fn the_handshake_of_an_older_connection_was_before() {
        for flag in [flags::PRE_EXISTING, flags::QUEUED_BEFORE] {
            let mut older = connection(v4(), 32);
            older.flags |= flag;
            assert_eq!(bytes(&older), (100 + 3 * 52, 300 + 3 * 52));
            older.wire = Counters::EMPTY;
            assert_eq!(of(&older), Some(Wire::default()));
        }
    }

    #[test]
    fn a_failed_attempt_sent_syns_and_got_a_reset() {
        let mut failed = connection(v4(), 32);
        failed.flags |= flags::FAILED;
        failed.wire = Counters {
            segments_out: 2,
            segments_in: 1,
            header: 32,
            ..Counters::EMPTY
        };
        assert_eq!(bytes(&failed), (120, 40));
    }

    #[test]
    fn what_nobody_asked_for_is_absent() {
        let mut unknown = connection(v4(), 32);
        unknown.flags = 0;
        assert_eq!(of(&unknown), None);
    }

    #[test]
    fn it_is_read_as_it_is_written_and_says_what_is_an_estimate() {
        let wire = of(&connection(v4(), 32)).unwrap();
        let text = serde_json::to_string(&wire).unwrap();
        assert!(text.ends_with(r#","estimate":"wire_bytes"}"#), "{text}");
        assert_eq!(serde_json::from_str::<Wire>(&text).unwrap(), wire);
        let mut sum = wire;
        sum += Wire {
            segments_in: u64::MAX,
            ..Wire::default()
        };
        assert_eq!((sum.segments_out, sum.segments_in), (3, u64::MAX));
    }
}
