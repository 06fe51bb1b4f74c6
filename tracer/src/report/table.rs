//! Aligned columns that fit a width: exact numbers are never cut, one text column may be.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A shortened text is cut to less than this only after everything else has given way.
const READABLE: usize = 12;
/// And never below this.
const SHORTEST: usize = 4;
/// Spaces between columns when there is room.
const WIDE_GAP: usize = 2;

/// Head and alignment of a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) head: &'static str,
    pub(super) right: bool,
}

impl Column {
    pub(super) const fn left(head: &'static str) -> Self {
        Self { head, right: false }
    }

    pub(super) const fn right(head: &'static str) -> Self {
        Self { head, right: true }
    }
}

/// Content of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Printed as it is, except in the column that may be cut.
    Text(String),
    /// Printed with thousands separators if there is room.
    Number(u64),
}

impl Cell {
    fn text(&self, grouping: bool) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) if grouping => grouped(*number),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Which part of a text tells most: it stays when the text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Start,
    BothEnds,
}

/// Rows under columns. Every row has one cell a column.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The column that may be cut, and how.
    pub(super) elastic: Option<(usize, Keep)>,
}

impl Table {
    /// Whether everything can be printed whole, with wide gaps, in `width` columns.
    pub(super) fn fits(&self, width: usize) -> bool {
        let widths = self.widths(&self.texts(true));
        line_width(&widths, WIDE_GAP) <= width
    }

    /// The lines, heads first, with wide gaps between the columns if `roomy`. Gives way in this
    /// order: the elastic column down to a readable rest, the thousands separators, the rest of the
    /// elastic column; what is still too wide overflows.
    pub(super) fn lines(&self, width: usize, roomy: bool) -> Vec<String> {
        let gap = if roomy { WIDE_GAP } else { 1 };
        let mut texts = self.texts(true);
        let mut widths = self.widths(&texts);
        if !self.squeeze(&mut widths, gap, width, READABLE) {
            texts = self.texts(false);
            widths = self.widths(&texts);
            self.squeeze(&mut widths, gap, width, SHORTEST);
        }
        let heads = self
            .columns
            .iter()
            .map(|column| column.head.to_owned())
            .collect();
        let rows = std::iter::once(heads).chain(texts);
        rows.map(|row| self.line(&row, &widths, gap)).collect()
    }

    fn texts(&self, grouping: bool) -> Vec<Vec<String>> {
        let row = |row: &Vec<Cell>| row.iter().map(|cell| cell.text(grouping)).collect();
        self.rows.iter().map(row).collect()
    }

    fn widths(&self, texts: &[Vec<String>]) -> Vec<usize> {
        let widest = |(index, column): (usize, &Column)| {
            let cells = texts
                .iter()
                .filter_map(|row| row.get(index))
                .map(|text| text.width());
            cells.max().unwrap_or_default().max(column.head.width())
        };
        self.columns.iter().enumerate().map(widest).collect()
    }

    /// Narrows the elastic column so that a line fits `width`, but not below `least`; returns
    /// whether the line fits.
    fn squeeze(&self, widths: &mut [usize], gap: usize, width: usize, least: usize) -> bool {
        let excess = line_width(widths, gap).saturating_sub(width);
        let Some((elastic, _)) = self.elastic else {
            return excess == 0;
        };
        let least = least.min(widths[elastic]);
        let squeezed = widths[elastic].saturating_sub(excess).max(least);
        let fits = widths[elastic] - squeezed == excess;
        widths[elastic] = squeezed;
        fits
    }

    fn line(&self, row: &[String], widths: &[usize], gap: usize) -> String {
        let mut line = String::new();
        for (index, ((text, width), column)) in
            row.iter().zip(widths).zip(&self.columns).enumerate()
        {
            let keep = self
                .elastic
                .filter(|(elastic, _)| *elastic == index)
                .map(|(_, keep)| keep);
            let text = keep.map_or_else(|| text.clone(), |keep| shorten(text, *width, keep));
            let padding = " ".repeat(width.saturating_sub(text.width()));
            let (before, after) = if column.right {
                (&*padding, "")
            } else {
                ("", &*padding)
            };
            line.extend([before, &text, after, &" ".repeat(gap)]);
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn line_width(widths: &[usize], gap: usize) -> usize {
    widths.iter().sum::<usize>() + gap * widths.len().saturating_sub(1)
}

/// Cuts `text` to `width` columns, with an ellipsis for what is missing.
pub(super) fn shorten(text: &str, width: usize, keep: Keep) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let tail_room = if keep == Keep::BothEnds { room / 2 } else { 0 };
    let head: String = take(text.chars(), room - tail_room);
    let tail: String = take(text.chars().rev(), tail_room);
    head.chars()
        .chain(['…'])
        .chain(tail.chars().rev())
        .collect()
}

/// As many characters as fit `room` columns.
fn take(chars: impl Iterator<Item = char>, room: usize) -> String {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or_default();
            used <= room
        })
        .collect()
}

/// `number` with a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, keep: Keep) -> Table {
        Table {
            columns: vec![Column::left("NAME"), Column::right("BYTES")],
            rows: vec![
                vec![Cell::Text(name.to_owned()), Cell::Number(1_234_567)],
                vec![Cell::Text("total".to_owned()), Cell::Number(5)],
            ],
            elastic: Some((0, keep)),
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (123_456, "123,456"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_table_gives_way_step_by_step_and_never_cuts_a_number() {
        let table = table("abcdefghijklmnop", Keep::Start);
        assert!(table.fits(27) && !table.fits(26));
        assert_eq!(table.lines(27, true)[1], "abcdefghijklmnop  1,234,567");
        assert_eq!(table.lines(26, false)[1], "abcdefghijklmnop 1,234,567");
        assert_eq!(table.lines(24, false)[1], "abcdefghijklm… 1,234,567");
        assert_eq!(table.lines(22, false)[1], "abcdefghijk… 1,234,567");
        assert_eq!(table.lines(21, false)[1], "abcdefghijkl… 1234567");
        assert_eq!(table.lines(12, false)[1], "abc… 1234567");
        assert_eq!(table.lines(0, false)[1], "abc… 1234567");
        assert_eq!(table.lines(24, false)[2], "total                  5");
    }

    #[test]
    fn an_address_keeps_both_its_ends() {
        let table = table("2001:db8:1:2:3:4:5:6", Keep::BothEnds);
        assert_eq!(table.lines(25, false)[1], "2001:db…3:4:5:6 1,234,567");
    }

    #[test]
    fn wide_letters_take_two_columns() {
        assert_eq!(shorten("日本語日本語", 8, Keep::Start), "日本語…");
        assert_eq!(shorten("日本語日本語", 12, Keep::Start), "日本語日本語");
        assert_eq!(shorten("日本語日本語", 5, Keep::BothEnds), "日…語");
        assert_eq!(
            table("日本", Keep::Start).lines(80, false)[1],
            "日本  1,234,567"
        );
    }
}
