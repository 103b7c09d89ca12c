//! A log that can be passed over any number of times.

use std::path::Path;

use kernel::run_folder::blocks::LongLine;

use super::{
    super::{Columns, Mapping, ReadError, bad_rows::BadRows, listed},
    chunks::CHUNK,
    csv,
    head::Head,
    json,
    names::Candidates,
    recipe::{Layout, Recipe},
    source::Source,
    xml,
};

/// A log, and the columns of it that matter.
#[derive(Debug)]
pub(super) struct Log<'a> {
    pub(super) path: &'a Path,
    pub(super) source: Source,
    pub(super) recipe: Recipe,
    /// The columns that may be read: those that were mapped, those of the format, of `--only`, and those whose names say
    /// what they hold. In the order of their names.
    pub(super) watched: Vec<String>,
    /// The columns by their names.
    pub(super) candidates: Candidates,
    /// The number of bytes of a chunk of a table, an array or a document in XML.
    pub(super) chunk: usize,
    reader: LayoutReader,
}

/// The columns as a layout needs them before rows can be read.
#[derive(Debug)]
enum LayoutReader {
    Table(csv::Header),
    JsonLines(json::Keys),
    JsonArray(json::Keys),
    Xml,
}

/// A row of the log: the cells of the watched columns. An empty cell is `None`.
pub(super) type LogLine<'a> = dyn Fn(usize) -> Option<&'a str> + 'a;

/// The results of a pass.
#[derive(Debug)]
pub(super) struct Passed<T> {
    /// The result of each part of the log, in its order.
    pub(super) parts: Vec<T>,
    /// The number of the last line, if the log ends in the middle of it.
    pub(super) cut_off: Option<usize>,
    /// The rows that were refused.
    pub(super) bad: BadRows,
}

/// The reason why a line ends the reading of a log.
#[derive(Debug)]
pub(super) enum LineError {
    /// It is too long.
    Long,
    /// The lines behind it cannot be read either.
    Format(String),
}

impl From<LongLine> for LineError {
    fn from(LongLine: LongLine) -> Self {
        Self::Long
    }
}

impl<'a> Log<'a> {
    /// Opens the log in `source`, which begins with `head`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(
        path: &'a Path,
        source: Source,
        head: &Head,
        recipe: Recipe,
        mapping: &Mapping,
    ) -> Result<Self, ReadError> {
        let mut log = Self {
            path,
            source,
            watched: Vec::new(),
            candidates: Candidates::default(),
            chunk: CHUNK,
            reader: LayoutReader::Xml,
            recipe,
        };
        if let Layout::Table(table) = log.recipe.layout.clone() {
            log.reader = LayoutReader::Table(csv::Header::read(&log, &table)?);
        }
        let present = log.names(head);
        if log.recipe.is_by_name {
            log.candidates = Candidates::among(&present);
        }
        log.watched = watched(&log.recipe, &log.candidates, mapping);
        match &mut log.reader {
            LayoutReader::Table(header) => header.watch(&log.watched),
            reader => {
                *reader = match log.recipe.layout {
                    Layout::JsonArray(_) => LayoutReader::JsonArray(json::Keys::watched(&log.watched)),
                    Layout::JsonLines => LayoutReader::JsonLines(json::Keys::watched(&log.watched)),
                    _ => LayoutReader::Xml,
                }
            }
        }
        Ok(log)
    }

    /// Returns the place of a column among those that are watched.
    pub(super) fn place(&self, column: &str) -> Option<usize> {
        self.watched.binary_search_by(|name| name.as_str().cmp(column)).ok()
    }

    /// Returns the place of the column of a field among those that are watched.
    pub(super) fn place_of(&self, columns: &Columns, field: &'static str) -> Option<usize> {
        columns.get(field).and_then(|column| self.place(&column.name))
    }

    /// Returns the names of columns that there are at least: all of a table, those at the beginning of another log.
    pub(super) fn names(&self, head: &Head) -> Vec<String> {
        match (&self.reader, &self.recipe.layout) {
            (LayoutReader::Table(header), _) => header.names.clone(),
            (_, Layout::Xml) => xml::names(&head.text),
            (_, Layout::JsonArray(key)) => json::names_in_array(&head.text, *key),
            _ => json::names(&head.text),
        }
    }

    /// Returns whether a row may have a column. All columns of a table are known.
    pub(super) fn may_have(&self, column: usize) -> bool {
        match &self.reader {
            LayoutReader::Table(header) => header.has(column),
            _ => true,
        }
    }

    /// Passes over all rows: `start` makes what collects the rows of a part of the log from its index, `add` adds a row to it,
    /// and `end` makes it the result of the part. Rows that are refused are counted.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(super) fn pass<P, T: Send>(
        &self,
        start: impl Fn(usize) -> P + Sync,
        add: impl Fn(&mut P, &LogLine<'_>) -> Result<(), String> + Sync,
        end: impl Fn(P) -> T + Sync,
    ) -> Result<Passed<T>, ReadError> {
        match (&self.reader, &self.recipe.layout) {
            (LayoutReader::Table(header), _) => csv::pass(self, header, start, add, end),
            (LayoutReader::JsonLines(keys), _) => json::pass(self, keys, start, add, end),
            (LayoutReader::JsonArray(keys), Layout::JsonArray(key)) => {
                json::pass_array(self, keys, *key, start, add, end)
            }
            _ => xml::pass(self, start, add, end),
        }
    }

    /// Returns the error of a line that ends the reading.
    pub(super) fn refused(&self, line: usize, reason: LineError) -> ReadError {
        let reason = match reason {
            LineError::Long => LongLine.to_string(),
            LineError::Format(reason) => reason,
        };
        ReadError::Line { path: self.path.to_owned(), line, reason }
    }

    /// Returns the error of a log without the column `column` for the field `what`.
    pub(super) fn no_column(&self, head: &Head, what: &'static str, column: &str) -> ReadError {
        let present = listed(&self.names(head));
        ReadError::NoColumn { path: self.path.to_owned(), what, column: column.to_owned(), present }
    }

    /// Returns the error of a log that is wrong as a whole.
    pub(super) fn content(&self, reason: String) -> ReadError {
        ReadError::Content { path: self.path.to_owned(), reason }
    }
}

/// Returns the names of the columns that may be read.
fn watched(recipe: &Recipe, candidates: &Candidates, mapping: &Mapping) -> Vec<String> {
    let mut names: Vec<String> = candidates.names().map(str::to_owned).collect();
    let mapped = mapping.columns.iter().chain(recipe.columns.iter());
    names.extend(mapped.map(|(_, column)| column.name.clone()));
    names.extend(mapping.only.iter().map(|(column, _)| column.clone()));
    names.extend(recipe.only.iter().map(|(column, _)| (*column).to_owned()));
    names.extend(recipe.skip.iter().map(|(column, _)| (*column).to_owned()));
    names.extend(recipe.dropped.iter().flat_map(|dropped| [dropped.column, dropped.count]).map(str::to_owned));
    names.sort();
    names.dedup();
    names
}
