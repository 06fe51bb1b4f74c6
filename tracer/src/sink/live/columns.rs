//! Columns that line up although nobody knows what is still to come.

use bytes::BytesMut;
use unicode_width::UnicodeWidthStr;

/// A column grows to the widest value it has shown, so that lines stay aligned with each other, but
/// not past `limit`: one IPv6 address must not push every later line off the screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) width: usize,
    limit: usize,
    right: bool,
}

impl Column {
    pub(super) const fn left(head: &'static str, width: usize, limit: usize) -> Self {
        Self {
            head,
            width,
            limit,
            right: false,
        }
    }

    pub(super) const fn right(head: &'static str, width: usize, limit: usize) -> Self {
        Self {
            head,
            width,
            limit,
            right: true,
        }
    }

    pub(super) fn put(&mut self, text: &str, out: &mut BytesMut) {
        let width = text.width();
        self.width = self.width.max(width.min(self.limit));
        let padding = self.width.saturating_sub(width);
        if self.right {
            out.extend(std::iter::repeat_n(b' ', padding));
        }
        out.extend_from_slice(text.as_bytes());
        if !self.right {
            out.extend(std::iter::repeat_n(b' ', padding));
        }
        out.extend_from_slice(b" ");
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// None without the times.
    pub(super) time: Option<Column>,
    pub(super) event: Column,
    pub(super) pid: Column,
    pub(super) name: Column,
    pub(super) local: Column,
    pub(super) arrow: Column,
    pub(super) remote: Column,
    pub(super) tx: Column,
    pub(super) rx: Column,
    pub(super) ms: Column,
    pub(super) note: Column,
}

impl Columns {
    /// Start and limit of the widths: a limit is what 15-byte names, IPv4 and terabytes need.
    pub(super) const START: Self = Self {
        time: None,
        event: Column::left("EVENT", 7, 7),
        pid: Column::right("PID", 5, 7),
        name: Column::left("NAME", 5, 15),
        local: Column::left("LOCAL", 12, 21),
        arrow: Column::left("", 2, 2),
        remote: Column::left("REMOTE", 15, 21),
        tx: Column::right("TX", 4, 13),
        rx: Column::right("RX", 4, 13),
        ms: Column::right("MS", 5, 9),
        note: Column::left("", 0, 0),
    };

    /// All after the time.
    pub(super) fn rest(&self) -> [Column; 10] {
        [
            self.event,
            self.pid,
            self.name,
            self.local,
            self.arrow,
            self.remote,
            self.tx,
            self.rx,
            self.ms,
            self.note,
        ]
    }
}
