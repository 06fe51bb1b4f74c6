//! Loss counters, one slot each in a per-CPU array. Every place in the kernel crate that gives
//! something up adds to exactly one of them.

/// Index into the counters map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// News that found the ring full. The next news, the pending map or the final sweep brings
    /// the same facts, so this counts lateness, not loss.
    RingFull,
    /// `--events io` records that found the ring full; their bytes are in the totals.
    IoRingFull,
    /// Inbound connections that got no table entry.
    TableFullInbound,
    /// Outbound attempts that got no table entry.
    TableFullOutbound,
    /// Bytes sent over connections without a table entry: known as they move where calls tell (see
    /// `feature::CALLS`), else at the end of the connection.
    UntrackedTx,
    /// Bytes received over them.
    UntrackedRx,
    /// Connection ends kept only as a sum (see `folded`).
    Folded,
    /// Connection ends whose totals could not even be summed.
    FoldLost,
    /// Their bytes sent.
    FoldLostTx,
    /// Their bytes received.
    FoldLostRx,
    /// A further process of a connection found no room; its bytes stay unattributed.
    UsersFull,
    /// Accept calls whose connection has no table entry.
    UntrackedAccepts,
    /// Connections older than the tracer that got no table entry.
    TableFullOlder,
    /// Processes that should be followed and found no room.
    FollowFull,
}

impl Counter {
    /// How many there are.
    pub const COUNT: u32 = Self::ALL.len() as u32;

    /// All of them, in index order.
    pub const ALL: [Self; 14] = [
        Self::RingFull,
        Self::IoRingFull,
        Self::TableFullInbound,
        Self::TableFullOutbound,
        Self::UntrackedTx,
        Self::UntrackedRx,
        Self::Folded,
        Self::FoldLost,
        Self::FoldLostTx,
        Self::FoldLostRx,
        Self::UsersFull,
        Self::UntrackedAccepts,
        Self::TableFullOlder,
        Self::FollowFull,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_index_order() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }
}
