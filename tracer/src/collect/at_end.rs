//! The last look at the sockets of connections that are open at the end: what no hook tells of them.

use std::io;

use hashbrown::HashMap;
use tracer_common::connection::{Connection, ConnectionKey};
use tracer_common::sample::Sample;
use tracer_common::wire::WireSample;
use zerocopy::FromBytes;

use crate::bpf::sample::Sampler;

/// What is read of a connection's socket.
pub(super) trait Look: Copy + FromBytes {
    /// The connection.
    fn key(&self) -> ConnectionKey;
    /// Writes what was read into the state of that connection; nothing into that of another.
    fn apply(&self, connection: &mut Connection);
}

macro_rules! look {
    ($sample:ty) => {
        impl Look for $sample {
            fn key(&self) -> ConnectionKey {
                ConnectionKey {
                    sk: self.sk,
                    birth_ns: self.birth_ns,
                }
            }

            fn apply(&self, connection: &mut Connection) {
                <$sample>::apply(self, connection);
            }
        }
    };
}

look!(Sample);
look!(WireSample);

/// The looks, by socket.
pub(super) struct AtEnd<S> {
    pub(super) sampler: Sampler<S>,
    last: HashMap<u64, S>,
}

impl<S: Look> AtEnd<S> {
    pub(super) fn new(sampler: Sampler<S>) -> Self {
        Self {
            sampler,
            last: HashMap::new(),
        }
    }

    /// Looks at each open connection that was not looked at yet.
    pub(super) fn take_all(&mut self) -> io::Result<()> {
        let mut pass = self.sampler.pass()?;
        while pass.step(|look: S| {
            let last = self.last.entry(look.key().sk).or_insert(look);
            // The socket is another's since.
            if last.key() != look.key() {
                *last = look;
            }
        })? {}
        Ok(())
    }

    /// Writes what was found into the connection's state.
    pub(super) fn apply(&self, key: ConnectionKey, connection: &mut Connection) {
        if let Some(look) = self.last.get(&key.sk) {
            look.apply(connection);
        }
    }
}
