//! The places of values: the file's text with the overrides behind it, and the tree of keys found in them.

use std::{fmt, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Bytes of a [`Source`].
pub(crate) type Span = Range<usize>;

/// The start of an override's line.
const SET: &str = "--set ";

/// The file's text, then a line per override, in one buffer: a span says which of them it belongs to, and a value from
/// the command line is shown as one from the file is.
pub(crate) struct Source {
    origin: String,
    buffer: String,
    file_len: usize,
    /// The span in `buffer` of each override's own text, behind `--set `.
    overrides: Vec<Span>,
}

impl Source {
    pub(crate) fn new(origin: &str, text: &str, overrides: &[String]) -> Self {
        // An editor's byte order mark is no part of the TOML; without this it is an invisible unknown key.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut source =
            Self { origin: origin.to_owned(), buffer: text.to_owned(), file_len: text.len(), overrides: Vec::new() };
        for text in overrides {
            source.buffer.push('\n');
            source.buffer.push_str(SET);
            let start = source.buffer.len();
            source.buffer.push_str(text);
            source.overrides.push(start..source.buffer.len());
        }
        source
    }

    /// Returns the file's tree, without the overrides.
    pub(crate) fn parse(&self) -> Result<Spanned<DeTable<'_>>, toml::de::Error> {
        DeTable::parse(&self.buffer[..self.file_len])
    }

    /// Returns the bytes of override number `index`.
    pub(crate) fn override_span(&self, index: usize) -> Span {
        self.overrides[index].clone()
    }

    pub(crate) fn place(&self, span: Option<&Span>) -> Place {
        match span {
            Some(span) if span.start > self.file_len => {
                let text = self.overrides.iter().find(|place| span.start <= place.end);
                Place::Override(text.map_or_else(String::new, |place| self.buffer[place.clone()].to_owned()))
            }
            _ => Place::File {
                origin: self.origin.clone(),
                position: span.map(|span| (self.line_number(span), self.column(span))),
            },
        }
    }

    /// Returns the line that holds the start of `span`. A line break and what is behind it are not marked.
    pub(crate) fn snippet(&self, span: &Span) -> Snippet {
        let start = self.line_start(span);
        let line = self.buffer[start..].lines().next().unwrap_or_default();
        let end = span.end.min(start + line.len()).max(span.start);
        Snippet {
            number: (span.start <= self.file_len).then(|| self.line_number(span)),
            // As wide as they are counted, and without effect on a terminal.
            line: line.replace(char::is_control, " "),
            column: self.column(span),
            width: self.buffer.get(span.start..end).map_or(1, |marked| marked.chars().count().max(1)),
        }
    }

    fn line_start(&self, span: &Span) -> usize {
        self.before(span).rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Returns the number of the line with the start of `span`, from 1.
    fn line_number(&self, span: &Span) -> usize {
        self.before(span).matches('\n').count() + 1
    }

    /// Returns the column of the start of `span` in characters, from 1.
    fn column(&self, span: &Span) -> usize {
        self.buffer[self.line_start(span)..].chars().count() - self.buffer[self.before(span).len()..].chars().count()
            + 1
    }

    /// Returns the text before `span`, or all of it if `span` is outside of it or within a character.
    fn before(&self, span: &Span) -> &str {
        self.buffer.get(..span.start).unwrap_or(&self.buffer)
    }
}

/// The place where a wrong value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File {
        /// The path of the file, as the message shows it.
        origin: String,
        /// The line and the column, in characters, both from 1; `None` if something is missing from the whole file.
        position: Option<(usize, usize)>,
    },
    /// The `key=value` of a `--set`.
    Override(String),
}

/// A line of the file or an override, and the part of it to mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snippet {
    pub(crate) number: Option<usize>,
    pub(crate) line: String,
    /// The column from 1, in characters, as is `width`.
    pub(crate) column: usize,
    pub(crate) width: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { origin, position: Some((line, column)) } => write!(f, "{origin}:{line}:{column}"),
            Self::File { origin, position: None } => f.write_str(origin),
            Self::Override(_) => f.write_str("the command line"),
        }
    }
}

/// Every key and list item of the document, to find out what an error's span is the span of.
#[derive(Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

pub(crate) struct Node {
    /// Dotted, list items by number: `fault.0.kind`.
    pub(crate) path: String,
    key: Span,
    pub(crate) value: Span,
}

impl Tree {
    pub(crate) fn new(table: &Spanned<DeTable<'_>>) -> Self {
        let mut tree = Self::default();
        tree.add_table("", table.get_ref());
        tree
    }

    /// Returns the node whose key or value is `span`, or else the smallest whose value encloses it. The last one, because a
    /// list of tables has the span of its first header.
    pub(crate) fn at(&self, span: &Span) -> Option<&Node> {
        let exact = self.nodes.iter().rev().find(|node| node.key == *span || node.value == *span);
        exact.or_else(|| self.nodes.iter().filter(|node| encloses(&node.value, span)).min_by_key(|n| n.value.len()))
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref();
            self.add(join(path, name), key.span(), value);
        }
    }

    fn add(&mut self, path: String, key: Span, value: &Spanned<DeValue<'_>>) {
        self.nodes.push(Node { path: path.clone(), key, value: value.span() });
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(&path, table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(join(&path, &index.to_string()), item.span(), item);
                }
            }
            _ => {}
        }
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn encloses(outer: &Span, inner: &Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}
