//! What records are told beyond what the kernel tells: who a process is, where a peer is.

use crate::peers::Peers;
use crate::process::Processes;
use crate::record::Record;

/// Completes records before they are counted and written.
#[derive(Debug, Default)]
pub struct Enricher {
    /// Who tells where peers are and what they are called.
    pub peers: Option<Peers>,
    /// Who processes are; `None` = nobody asks.
    pub processes: Option<Processes>,
}

impl Enricher {
    /// Adds what is known now. Never waits.
    pub fn complete(&mut self, record: &mut Record) {
        if let Some(peers) = &mut self.peers {
            peers.complete(record);
        }
        if let Some(processes) = &mut self.processes {
            processes.complete(record);
        }
    }
}
