//! The recipe for the logs of a format: the layout, the columns, and which rows are requests.

use super::super::columns::Columns;

/// The way from bytes to rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// A row a line, or several lines if cells have line breaks in quotes.
    Table(Table),
    /// An object a line.
    JsonLines,
    /// An array of objects: the document, or the value of this key of the document.
    JsonArray(Option<&'static str>),
    /// An element a row, directly below the root element; its attributes are the cells.
    Xml,
}

/// How the lines of a table are cut into cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) delimiter: u8,
    /// The names of the columns; `None` if the first line has them.
    pub(super) names: Option<&'static [&'static str]>,
    /// True if quotation marks surround cells that have the delimiter in them.
    pub(super) is_quoted: bool,
}

/// How the rows of a format become requests.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    pub(super) layout: Layout,
    /// The columns of the fields. Those that the log does not have are left out.
    pub(super) columns: Columns,
    /// The columns that tell requests from other rows, each with the values of which a request has one.
    pub(super) only: Vec<(&'static str, &'static [&'static str])>,
    /// A column and the beginning of its value in rows that are no requests but sums of some.
    pub(super) skip: Option<(&'static str, &'static str)>,
    /// Rows that stand for dropped requests.
    pub(super) dropped: Option<Dropped>,
    /// True if columns that have no field are searched for names that say what they hold.
    pub(super) is_by_name: bool,
    /// The facts that the log cannot show, each a sentence.
    pub(super) notes: &'static [&'static str],
}

/// The rows that stand for dropped requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    /// The column that says so.
    pub(super) column: &'static str,
    /// Its value in such a row.
    pub(super) value: &'static str,
    /// The column of the number of requests.
    pub(super) count: &'static str,
}

impl Recipe {
    /// Returns the recipe for rows in this layout. `columns` is written as for `--columns`.
    ///
    /// # Panics
    /// The text is no mapping of columns.
    pub(super) fn new(layout: Layout, columns: &str) -> Self {
        let columns = columns.parse().expect("the columns of a format are a mapping");
        Self { layout, columns, only: Vec::new(), skip: None, dropped: None, is_by_name: false, notes: &[] }
    }
}

impl Layout {
    /// Returns the layout of a table whose first line has the names of its columns.
    pub(super) fn with_header(delimiter: u8) -> Self {
        Self::Table(Table { delimiter, names: None, is_quoted: true })
    }

    /// Returns the layout of a table without a header.
    pub(super) fn without_header(delimiter: u8, names: &'static [&'static str]) -> Self {
        Self::Table(Table { delimiter, names: Some(names), is_quoted: true })
    }
}
