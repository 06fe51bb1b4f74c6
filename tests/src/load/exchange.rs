//! Requests and answers over connections that stay.

use anyhow::Result;

use super::Load;
use super::idle::Idle;
use super::pair::{Pair, listen};
use super::report::Did;

/// 100 bytes there and back over one connection after the other.
pub(super) struct Exchange {
    busy: Vec<Pair>,
    idle: usize,
    _idle: Option<Idle>,
    next: usize,
}

impl Exchange {
    /// With `idle` connections that are opened before, and do nothing.
    pub(super) fn new(busy: usize, idle: usize) -> Result<Self> {
        let listener = listen()?;
        // Before the load is ready: part of nothing.
        let mut did = Did::default();
        let others = (idle > 0).then(|| Idle::new(&listener, idle)).transpose()?;
        let busy = (0..busy).map(|_| Pair::new(&listener, &mut did));
        Ok(Self {
            busy: busy.collect::<Result<_>>()?,
            idle,
            _idle: others,
            next: 0,
        })
    }
}

impl Load for Exchange {
    fn once(&mut self, did: &mut Did) -> Result<()> {
        let now = self.next;
        self.next = (now + 1) % self.busy.len();
        self.busy[now].exchange(&[b'q'; 100], &[b'a'; 100], did)
    }

    fn open(&self) -> usize {
        2 * (self.busy.len() + self.idle)
    }
}
