//! The places of values: the file's text with the overrides behind it, and the tree of keys found in them.

use std::{fmt, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::visible::Visible;

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

    /// Returns the line that holds the start of `span`, or what is around the span in a long line. A line break and what is
    /// behind it are not marked.
    pub(crate) fn snippet(&self, span: &Span) -> Snippet {
        let start = self.line_start(span);
        let rest = &self.buffer[start..];
        let line = &rest[..rest.find(['\n', '\r']).unwrap_or(rest.len())];
        let from = self.before(span).len().min(start + line.len()) - start;
        let to = (span.end.saturating_sub(start)).clamp(from, line.len());
        // A span may end within a character if it is the parser's of a text that is no TOML.
        let to = line.ceil_char_boundary(to);
        Snippet::new(&line[..from], &line[from..to], &line[to..])
            .numbered((span.start <= self.file_len).then(|| self.line_number(span)))
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
        self.before(span)[self.line_start(span)..].chars().count() + 1
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

/// The most characters of a line that are shown before the marked part, in it, and behind it.
const SHOWN_BEFORE: usize = 60;
const SHOWN_MARKED: usize = 80;
const SHOWN_BEHIND: usize = 40;

/// A line of the file or an override, and the part of it to mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snippet {
    pub(crate) number: Option<usize>,
    pub(crate) line: String,
    /// The column in `line` from 1, in characters, as is `width`.
    pub(crate) column: usize,
    pub(crate) width: usize,
}

impl Snippet {
    /// Creates the snippet of a line that consists of these parts, of which the middle one is marked.
    fn new(before: &str, marked: &str, behind: &str) -> Self {
        let skipped = before.char_indices().rev().nth(SHOWN_BEFORE).map(|(at, skipped)| at + skipped.len_utf8());
        let before = match skipped {
            Some(at) => format!("…{}", tabless(&before[at..])),
            None => tabless(before),
        };
        let (marked, marked_is_cut) = shortened(marked, SHOWN_MARKED);
        let (behind, behind_is_cut) = shortened(if marked_is_cut { "" } else { behind }, SHOWN_BEHIND);
        let end = if marked_is_cut || behind_is_cut { "…" } else { "" };
        Self {
            number: None,
            column: before.chars().count() + 1,
            width: marked.chars().count().max(1),
            line: format!("{before}{marked}{behind}{end}"),
        }
    }

    fn numbered(self, number: Option<usize>) -> Self {
        Self { number, ..self }
    }
}

/// Returns the start of `text` as a terminal may show it, and whether there is more of it.
fn shortened(text: &str, most: usize) -> (String, bool) {
    match text.char_indices().nth(most) {
        Some((end, _)) => (tabless(&text[..end]), true),
        None => (tabless(text), false),
    }
}

/// Returns `text` with a space for each tab, which is as wide as it is counted, and escapes for what is not visible.
fn tabless(text: &str) -> String {
    text.replace('\t', " ").visible_within(usize::MAX).to_string()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { origin, position: Some((line, column)) } => write!(f, "{}:{line}:{column}", origin.visible()),
            Self::File { origin, position: None } => write!(f, "{}", origin.visible()),
            Self::Override(_) => f.write_str("the command line"),
        }
    }
}

/// The document's keys and list items, to find out what an error's span is the span of.
pub(crate) struct Tree<'a, 't>(&'a Spanned<DeTable<'t>>);

/// The most bytes of a key's path that is shown; a longer one is not a key of any format.
const PATH_MAX: usize = 400;

impl<'a, 't> Tree<'a, 't> {
    pub(crate) fn new(table: &'a Spanned<DeTable<'t>>) -> Self {
        Self(table)
    }

    /// Returns the path of the key or value whose span is `span`, or else of the smallest value that encloses it: dotted, list
    /// items by number, such as `fault.0.kind`. The last one, because a list of tables has the span of its first header.
    pub(crate) fn path_at(&self, span: &Span) -> Option<String> {
        let mut search = Search { span, exact: None, enclosing: None, path: Vec::new() };
        search.table(self.0.get_ref());
        search.exact.or(search.enclosing.map(|(_, path)| path))
    }
}

/// A part of a key's path.
#[derive(Clone, Copy)]
enum Part<'a> {
    Key(&'a str),
    Index(usize),
}

/// A walk through the document in search of the place of a span.
struct Search<'a> {
    span: &'a Span,
    exact: Option<String>,
    /// The length of the smallest value that encloses the span, and its path.
    enclosing: Option<(usize, String)>,
    path: Vec<Part<'a>>,
}

impl<'a> Search<'a> {
    fn table(&mut self, table: &'a DeTable<'_>) {
        for (key, value) in table {
            self.visit(Part::Key(key.get_ref()), &key.span(), value);
        }
    }

    fn visit(&mut self, part: Part<'a>, key: &Span, value: &'a Spanned<DeValue<'_>>) {
        self.path.push(part);
        let span = value.span();
        if *key == *self.span || span == *self.span {
            self.exact = Some(self.path_text());
        } else if encloses(&span, self.span) && self.enclosing.as_ref().is_none_or(|(least, _)| span.len() < *least) {
            self.enclosing = Some((span.len(), self.path_text()));
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.visit(Part::Index(index), &item.span(), item);
                }
            }
            _ => {}
        }
        self.path.pop();
    }

    fn path_text(&self) -> String {
        let mut text = String::new();
        for part in &self.path {
            if !text.is_empty() {
                text.push('.');
            }
            match part {
                Part::Key(name) => text += &name.visible_within(PATH_MAX).to_string(),
                Part::Index(index) => text += &index.to_string(),
            }
        }
        text.visible_within(PATH_MAX).to_string()
    }
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn encloses(outer: &Span, inner: &Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}
