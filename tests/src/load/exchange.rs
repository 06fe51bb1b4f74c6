//! Requests and answers over connections that stay.

use anyhow::Result;

use super::Load;
use super::pair::{Pair, listen};
use super::report::Did;

/// 100 bytes there and back over one connection after the other.
pub(super) struct Exchange {
    busy: Vec<Pair>,
    idle: Vec<Pair>,
    next: usize,
}

impl Exchange {
    /// With `idle` connections that are opened before, and do nothing.
    pub(super) fn new(busy: usize, idle: usize) -> Result<Self> {
        let listener = listen()?;
        // Before the load is ready: part of nothing.
        let mut did = Did::default();
        let mut pairs = |count| {
            (0..count)
                .map(|_| Pair::new(&listener, &mut did))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            idle: pairs(idle)?,
            busy: pairs(busy)?,
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
        2 * (self.busy.len() + self.idle.len())
    }
}
