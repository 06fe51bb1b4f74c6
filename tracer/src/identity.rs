//! Connection ids: a keyed hash of (boot id, socket pointer, birth time). The key is random and
//! dies with the run, so no kernel address can be read back from an id.

use siphasher::sip::SipHasher24;
use std::hash::Hasher;

use tracer_common::connection::ConnectionKey;

use crate::record::ConnectionId;

/// Makes ids for one run.
#[derive(Clone, Debug)]
pub struct Identity {
    hasher: SipHasher24,
}

impl Identity {
    /// `boot_id` tells hosts and boots apart, `secret` must be random.
    pub fn new(boot_id: &str, secret: &[u8; 16]) -> Self {
        let mut hasher = SipHasher24::new_with_key(secret);
        hasher.write(boot_id.as_bytes());
        Self { hasher }
    }

    /// The id of one connection end.
    pub fn of(&self, key: ConnectionKey) -> ConnectionId {
        let mut hasher = self.hasher;
        hasher.write_u64(key.sk);
        hasher.write_u64(key.birth_ns);
        ConnectionId(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_every_part() {
        let key = ConnectionKey {
            sk: 0xffff_8880_1234_5678,
            birth_ns: 5,
        };
        let identity = Identity::new("boot", &[1; 16]);
        let id = identity.of(key);
        assert_eq!(id, identity.of(key));
        assert_ne!(
            id,
            identity.of(ConnectionKey {
                sk: key.sk + 64,
                ..key
            })
        );
        assert_ne!(id, identity.of(ConnectionKey { birth_ns: 6, ..key }));
        assert_ne!(id, Identity::new("other boot", &[1; 16]).of(key));
        assert_ne!(id, Identity::new("boot", &[2; 16]).of(key));
    }
}
