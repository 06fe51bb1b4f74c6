//! What records are told beyond what the kernel tells: who a process is, where a peer is. And what
//! is taken back: that we closed what is another's.

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
    /// Our own process id as records have it; `None` = they number processes in another way.
    pub own_pid: Option<u32>,
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
        if self.only_looked(record) {
            record.closer = None;
        }
    }

    /// Whether we seem to have closed another's socket. To look at a descriptor, the kernel holds its
    /// file for a moment, and who has it open may close it just then: ours is the last hold.
    fn only_looked(&self, record: &Record) -> bool {
        let is_own = |pid| Some(pid) == self.own_pid;
        let owner = record.process.as_ref().map(|process| process.pid);
        let closer = record.closer.as_ref().map(|closer| closer.pid);
        closer.is_some_and(is_own) && !owner.is_some_and(is_own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EventKind, ProcessName};
    use crate::sink::samples::inbound;

    #[test]
    fn we_close_only_what_is_ours() {
        let closed_by = |pid, own_pid| {
            let mut record = inbound(EventKind::Close);
            record.closer = Some(ProcessName {
                pid,
                name: "closer".into(),
            });
            let mut enricher = Enricher {
                own_pid,
                ..Enricher::default()
            };
            enricher.complete(&mut record);
            record.closer.map(|closer| closer.pid)
        };
        assert_eq!(closed_by(4711, Some(4711)), None);
        assert_eq!(closed_by(4712, Some(4711)), Some(4712));
        assert_eq!(closed_by(4711, None), Some(4711));
        // Its owner.
        assert_eq!(closed_by(1234, Some(1234)), Some(1234));
    }
}
