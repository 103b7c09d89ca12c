//! A table of plain text whose columns are as wide as they need to be.

/// Where a column's cells and its heading stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Headings and rows, each row with a cell a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTable {
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table with these headings and no rows.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        Self { aligns: columns.iter().map(|(_, align)| *align).collect(), rows: vec![headings] }
    }

    /// Adds a row, a cell a column.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.aligns.len());
        self.rows.push(cells);
    }

    /// Each column's heading, and where its cells stand.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Align)> {
        self.rows[0].iter().map(String::as_str).zip(self.aligns.iter().copied())
    }

    /// The rows below the headings.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows[1..]
    }

    /// A line a row, indented, with two spaces between columns and a rule under each heading that is not empty.
    pub fn render(&self) -> String {
        let widths = self.widths();
        let (headings, rows) = self.rows.split_at(1);
        let ruled = |(heading, width): (&String, &usize)| "-".repeat(if heading.is_empty() { 0 } else { *width });
        let rule: Vec<String> = self.rows[0].iter().zip(&widths).map(ruled).collect();
        let lines = headings.iter().chain([&rule]).chain(rows);
        lines.map(|cells| self.line(cells, &widths)).collect()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (0..self.aligns.len()).map(width).collect()
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
}
