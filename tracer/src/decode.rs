//! Ring bytes to values.

use tracer_common::connection::{Connection, ConnectionKey};
use tracer_common::event::{Io, News, Touched, kind};
use zerocopy::FromBytes;

use crate::process::told::Told;

/// One ring record.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A connection entered a new stage.
    News(ConnectionKey, Connection),
    /// The connection on this socket moved bytes.
    Touched(u64),
    /// One call.
    Io(Io),
    /// Who a process is.
    Process(Told),
    /// Of another kind or size than this program knows.
    Unknown,
}

/// Reads one record; never fails, whatever the bytes.
pub fn decode(bytes: &[u8]) -> Decoded {
    let known = match u32::read_from_prefix(bytes) {
        Ok((kind::NEWS, _)) => News::read_from_bytes(bytes).ok().map(|news| {
            let key = ConnectionKey {
                sk: news.sk,
                birth_ns: news.connection.birth_ns,
            };
            Decoded::News(key, news.connection)
        }),
        Ok((kind::TOUCHED, _)) => Touched::read_from_bytes(bytes)
            .ok()
            .map(|touched| Decoded::Touched(touched.sk)),
        Ok((kind::IO, _)) => Io::read_from_bytes(bytes).ok().map(Decoded::Io),
        Ok((kind::PROCESS, _)) => Told::parse(bytes).map(Decoded::Process),
        _ => None,
    };
    known.unwrap_or(Decoded::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn news_carry_the_identity() {
        let connection = Connection {
            birth_ns: 7,
            owner_tx: 3,
            ..Connection::EMPTY
        };
        let news = News {
            kind: kind::NEWS,
            reserved: 0,
            sk: 42,
            connection,
        };
        let key = ConnectionKey {
            sk: 42,
            birth_ns: 7,
        };
        assert_eq!(decode(news.as_bytes()), Decoded::News(key, connection));
    }

    #[test]
    fn unknown_kinds_and_odd_sizes_are_unknown() {
        let touched = Touched {
            kind: kind::TOUCHED,
            reserved: 0,
            sk: 9,
        };
        assert_eq!(decode(touched.as_bytes()), Decoded::Touched(9));
        for length in 0..touched.as_bytes().len() {
            assert_eq!(decode(&touched.as_bytes()[..length]), Decoded::Unknown);
        }
        for kind in [0, 4, 5, u32::MAX] {
            let mut bytes = touched;
            bytes.kind = kind;
            assert_eq!(decode(bytes.as_bytes()), Decoded::Unknown);
        }
    }
}
