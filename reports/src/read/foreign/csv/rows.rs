//! A text in rows and cells, without a copy of what has no quotation marks.
//!
//! The rules are those of the crate `csv`: a quotation mark at the beginning of a cell opens it, two in it stand for one,
//! and one closes it. Any other quotation mark is part of its cell. A row ends with `\r`, `\n` or both outside of quotation
//! marks, and empty lines are no rows.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2, memchr3, memrchr2};

/// The signs of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    pub(super) delimiter: u8,
    /// True if quotation marks surround cells that have other signs in them.
    pub(super) is_quoted: bool,
}

/// The rows of a text that begins with a row.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    text: &'a [u8],
    signs: Signs,
    /// The number of cells of each row that are looked for.
    most: usize,
    /// The position behind the current row.
    at: usize,
    /// The current row without its line break.
    row: Range<usize>,
    /// The positions of its cells, in the text, or in `copy` if it has quotation marks.
    cells: Vec<Range<usize>>,
    copy: Vec<u8>,
    is_copied: bool,
}

impl<'a> Rows<'a> {
    /// Returns the rows of a text. Of each row, only the first `most` cells are found.
    pub(super) fn new(text: &'a [u8], signs: Signs, most: usize) -> Self {
        Self { text, signs, most, at: 0, row: 0..0, cells: Vec::new(), copy: Vec::new(), is_copied: false }
    }

    /// Goes to the next row; false if there is none.
    pub(super) fn next(&mut self) -> bool {
        while matches!(self.text.get(self.at), Some(b'\r' | b'\n')) {
            self.at += 1;
        }
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return false;
        }
        let line = &rest[..memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())];
        self.cells.clear();
        self.is_copied = self.signs.is_quoted && memchr(b'"', line).is_some();
        let start = self.at;
        if self.is_copied {
            self.split_quoted();
        } else {
            self.at += line.len();
            split(line, self.signs.delimiter, self.most, &mut self.cells);
        }
        self.row = start..self.at;
        true
    }

    /// Splits a row that has quotation marks, and goes behind it.
    fn split_quoted(&mut self) {
        self.copy.clear();
        loop {
            let start = self.copy.len();
            if self.text.get(self.at) == Some(&b'"') {
                self.at += 1;
                self.copy_quoted();
            }
            let rest = &self.text[self.at..];
            let length = memchr3(self.signs.delimiter, b'\r', b'\n', rest).unwrap_or(rest.len());
            self.copy.extend_from_slice(&rest[..length]);
            self.at += length;
            if self.cells.len() < self.most {
                self.cells.push(start..self.copy.len());
            }
            if self.text.get(self.at) != Some(&self.signs.delimiter) {
                return;
            }
            self.at += 1;
        }
    }

    /// Copies what is behind an opening quotation mark, and goes behind the closing one.
    fn copy_quoted(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let Some(length) = memchr(b'"', rest) else {
                self.copy.extend_from_slice(rest);
                self.at = self.text.len();
                return;
            };
            self.copy.extend_from_slice(&rest[..length]);
            self.at += length + 1;
            if self.text.get(self.at) != Some(&b'"') {
                return;
            }
            self.copy.push(b'"');
            self.at += 1;
        }
    }

    /// Returns the position of the current row in the text.
    pub(super) fn position(&self) -> usize {
        self.row.start
    }

    /// Returns whether the text ends with the current row, without a line break.
    pub(super) fn is_unfinished(&self) -> bool {
        self.row.end == self.text.len()
    }

    /// Returns the text in which the cells of the current row are.
    pub(super) fn cells_text(&self) -> &[u8] {
        if self.is_copied { &self.copy } else { &self.text[self.row.clone()] }
    }

    /// Returns the position of a cell in [`cells_text`](Self::cells_text); `None` if the row has no such cell.
    pub(super) fn cell(&self, index: usize) -> Option<Range<usize>> {
        self.cells.get(index).cloned()
    }

    /// Returns the number of all cells of the current row.
    pub(super) fn width(&self) -> usize {
        let mut all = Rows::new(&self.text[self.row.clone()], self.signs, usize::MAX);
        if all.next() { all.cells.len() } else { 0 }
    }
}

/// Finds the first `most` cells of a row without quotation marks.
fn split(row: &[u8], delimiter: u8, most: usize, cells: &mut Vec<Range<usize>>) {
    let mut start = 0;
    for end in memchr_iter(delimiter, row).chain([row.len()]).take(most) {
        cells.push(start..end);
        start = end + 1;
    }
}

/// Finds where the rows of a text end that is read piece by piece.
#[derive(Debug)]
pub(super) struct Ends {
    signs: Signs,
    /// The position up to which the text was searched.
    at: usize,
    /// True if a quotation mark before `at` is not closed.
    is_open: bool,
    /// The position behind the last row that has a line break.
    pub(super) last: Option<usize>,
}

impl Ends {
    /// Returns the search in a text that begins with a row.
    pub(super) fn new(signs: Signs) -> Self {
        Self { signs, at: 0, is_open: false, last: None }
    }

    /// Searches on in `text`, which is the text of the last call or goes on behind it.
    pub(super) fn search(&mut self, text: &[u8]) {
        while self.at < text.len() {
            let rest = &text[self.at..];
            let mark = if self.signs.is_quoted { memchr(b'"', rest) } else { None };
            let end = mark.unwrap_or(rest.len());
            if self.is_open {
                match text.get(self.at + end + 1) {
                    // Two in a row stand for one. Whether there are two shows when there is more text.
                    None if mark.is_some() => {
                        self.at += end;
                        return;
                    }
                    Some(b'"') => self.at += end + 2,
                    _ => {
                        self.is_open = mark.is_none();
                        self.at += end + usize::from(mark.is_some());
                    }
                }
                continue;
            }
            if let Some(line_break) = memrchr2(b'\r', b'\n', &rest[..end]) {
                self.last = Some(self.at + line_break + 1);
            }
            self.at += end;
            if mark.is_some() {
                let before = self.at.checked_sub(1).map(|before| text[before]);
                // In the middle of a cell it is a sign like any other.
                self.is_open = before.is_none_or(|byte| byte == self.signs.delimiter || matches!(byte, b'\r' | b'\n'));
                self.at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use csv::{ByteRecord, ReaderBuilder};
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let sign = prop_oneof![Just(b'a'), Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(b' '), any::<u8>()];
        prop::collection::vec(sign, 0..60)
    }

    fn by_crate(text: &[u8], signs: Signs) -> Vec<Vec<Vec<u8>>> {
        let mut builder = ReaderBuilder::new();
        let builder = builder.has_headers(false).flexible(true).delimiter(signs.delimiter).quoting(signs.is_quoted);
        let records = builder.from_reader(text).into_byte_records();
        records.map(|record: csv::Result<ByteRecord>| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect()
    }

    fn rows(text: &[u8], signs: Signs) -> Vec<Vec<Vec<u8>>> {
        let mut rows = Rows::new(text, signs, usize::MAX);
        let mut found = Vec::new();
        while rows.next() {
            let cells = (0..rows.width()).map(|index| rows.cells_text()[rows.cell(index).unwrap()].to_vec());
            found.push(cells.collect());
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn rows_are_those_of_the_crate_csv(text in text(), is_quoted in any::<bool>()) {
            let signs = Signs { delimiter: b',', is_quoted };
            // The crate drops this mark at the beginning; here, what is before the first row is dropped elsewhere.
            prop_assume!(!text.starts_with(b"\xef\xbb\xbf"));
            prop_assert_eq!(rows(&text, signs), by_crate(&text, signs));
        }

        /// Whatever the pieces that the text comes in, it is cut where a row ends.
        #[test]
        fn a_text_is_cut_between_rows(text in text(), piece in 1..9_usize) {
            let signs = Signs { delimiter: b',', is_quoted: true };
            let mut ends = Ends::new(signs);
            for end in (0..text.len()).step_by(piece).chain([text.len()]) {
                ends.search(&text[..end]);
                let cut = ends.last.unwrap_or(0);
                prop_assert!(cut <= end);
                let mut parts = rows(&text[..cut], signs);
                parts.extend(rows(&text[cut..], signs));
                prop_assert_eq!(parts, rows(&text, signs));
            }
            let mut whole = Rows::new(&text, signs, 1);
            let mut last = 0;
            while whole.next() {
                last = if whole.is_unfinished() { last } else { whole.at + 1 };
            }
            prop_assert!(ends.last.unwrap_or(0) >= last, "the last row that ends is not found");
        }
    }

    #[test]
    fn only_the_cells_that_are_asked_for_are_found() {
        for text in [&b"1,2,3,4"[..], b"1,\"2\",3,4"] {
            let mut rows = Rows::new(text, Signs { delimiter: b',', is_quoted: true }, 2);
            assert!(rows.next() && rows.cell(1).is_some() && rows.cell(2).is_none());
            assert_eq!(rows.width(), 4);
        }
    }
}
