//! A table of plain text whose columns are as wide as they need to be.

use crate::visible::Visible;

/// The alignment of a column's cells and of its heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Aligned to the left, as text is.
    Left,
    /// Aligned to the right, as numbers are.
    Right,
}

/// A table of headings and rows; each row has a cell for every column.
///
/// ```
/// use kernel::measure::text::table::{Align, TextTable};
///
/// let mut table = TextTable::new(&[("phase", Align::Left), ("p95", Align::Right)]);
/// table.row(vec!["before".to_owned(), "250 ms".to_owned()]);
/// assert_eq!(table.render().lines().last(), Some("  before  250 ms"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Creates a table with these headings and no rows.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        Self { aligns: columns.iter().map(|(_, align)| *align).collect(), rows: vec![headings] }
    }

    /// Adds a row, which has a cell for every column. A cell is on one line, whatever it quotes.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.aligns.len());
        self.rows.push(cells.iter().map(|cell| cell.visible().to_string()).collect());
    }

    /// Returns each column's heading and alignment.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Align)> {
        self.rows[0].iter().map(String::as_str).zip(self.aligns.iter().copied())
    }

    /// Returns the rows below the headings.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows[1..]
    }

    /// Returns the table as text: each row is a line, indented, with two spaces between columns and a rule under each
    /// heading that is not empty.
    pub fn render(&self) -> String {
        let widths = self.widths();
        let (headings, rows) = self.rows.split_at(1);
        let rule: Vec<String> = self.rows[0]
            .iter()
            .zip(&widths)
            .map(|(heading, width)| "-".repeat(if heading.is_empty() { 0 } else { *width }))
            .collect();
        let lines = headings.iter().chain([&rule]).chain(rows);
        lines.map(|cells| self.line(cells, &widths)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        (0..self.aligns.len())
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let padded = cells.iter().zip(widths).zip(&self.aligns).map(|((cell, width), align)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        let line = padded.collect::<Vec<_>>().join("  ");
        format!("  {}\n", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_in_characters() {
        let mut table = TextTable::new(&[("name", Align::Left), ("n", Align::Right), ("", Align::Left)]);
        table.row(vec!["✓ a".into(), "100".into(), String::new()]);
        table.row(vec!["✗ bcd".into(), "2".into(), "(why)".into()]);
        let expected = "  name     n\n  -----  ---\n  ✓ a    100\n  ✗ bcd    2  (why)\n";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn the_rows_are_those_below_the_headings() {
        let mut table = TextTable::new(&[("name", Align::Left)]);
        assert!(table.rows().is_empty());
        table.row(vec!["a".into()]);
        table.row(vec!["b".into()]);
        assert_eq!(table.rows(), [["a"], ["b"]]);
    }
}
