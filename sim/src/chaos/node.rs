//! A document of another tool: a tree whose parts know their lines, read from YAML or JSON, and written as either.

use std::{collections::BTreeMap, fmt::Write as _};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::notes::Wrong;

/// Most parts of a file, those included that aliases repeat.
const NODES_MAX: usize = 100_000;

/// Most lists and mappings inside of one another.
const DEPTH_MAX: usize = 64;

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Line of the part, or of its key in a mapping, from 1; 0 if it was not read.
    pub(super) line: usize,
    pub(super) data: Data,
}

/// The contents of a part.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    /// A text; unless it is quoted, it can be a number, a boolean or null.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Returns a text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { line: 0, data: Data::Scalar { text: text.into(), quoted: true } }
    }

    /// Returns a number or a boolean.
    pub(super) fn plain(value: impl ToString) -> Self {
        Self { line: 0, data: Data::Scalar { text: value.to_string(), quoted: false } }
    }

    /// Returns a list.
    pub(super) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self { line: 0, data: Data::List(items.into_iter().collect()) }
    }

    /// Returns a mapping.
    pub(super) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, node)| (key.to_owned(), node)).collect();
        Self { line: 0, data: Data::Map(entries) }
    }

    /// Returns the part at a path of keys with dots between them. An empty path is the node itself.
    pub(super) fn get(&self, path: &str) -> Option<&Self> {
        path.split('.').filter(|key| !key.is_empty()).try_fold(self, |node, key| {
            let (_, value) = node.entries().iter().find(|(own, _)| own == key)?;
            Some(value)
        })
    }

    /// Returns the text at a path, if there is one that is not null.
    pub(super) fn str(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(Self::as_str)
    }

    /// Returns the text, unless it is null, a list or a mapping.
    pub(super) fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, quoted } if *quoted || !matches!(&**text, "" | "~" | "null") => Some(text),
            _ => None,
        }
    }

    /// Returns the entries of a mapping; none of anything else.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a list; none of anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the line of the part at a path, or that of the node.
    pub(super) fn line_of(&self, path: &str) -> usize {
        self.get(path).map_or(self.line, |node| node.line)
    }

    /// Sets the part at a path, and adds the mappings on the way.
    pub(super) fn set(&mut self, path: &str, value: Self) {
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        if !matches!(self.data, Data::Map(_)) {
            self.data = Data::Map(Vec::new());
        }
        let Data::Map(entries) = &mut self.data else { return };
        let index = entries.iter().position(|(own, _)| own == key).unwrap_or_else(|| {
            entries.push((key.to_owned(), Self::map([])));
            entries.len() - 1
        });
        match rest {
            Some(rest) => entries[index].1.set(rest, value),
            None => entries[index].1 = value,
        }
    }

    /// Returns the paths of all texts in it, with their lines.
    pub(super) fn leaves(&self) -> Vec<(String, usize)> {
        let mut leaves = Vec::new();
        self.add_leaves("", &mut leaves);
        leaves
    }

    fn add_leaves(&self, path: &str, leaves: &mut Vec<(String, usize)>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match &self.data {
            Data::Map(entries) => entries.iter().for_each(|(key, node)| node.add_leaves(&below(key), leaves)),
            _ => leaves.push((path.to_owned(), self.line)),
        }
    }
}

/// Returns the documents of a YAML or JSON text.
pub(super) fn read(text: &str) -> Result<Vec<Node>, Wrong> {
    // JSON may be indented by tabs, and YAML not. Inside of a text of JSON there is none.
    let is_json = text.trim_start().starts_with(['{', '[']);
    let text = if is_json { text.replace('\t', " ") } else { text.to_owned() };
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(&text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| {
            let message = format!("this is neither YAML nor JSON: {}", error.info());
            Wrong::at(error.marker().line(), message).help("a manifest or an experiment is one of the two")
        })?;
        builder.add(event, span.start.line())?;
    }
    Ok(builder.documents)
}

/// The state of a document that is being read.
#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    /// Lists and mappings that have begun, with the anchors that they have.
    open: Vec<(Open, usize)>,
    anchors: BTreeMap<usize, (Node, usize)>,
    count: usize,
}

/// A list or a mapping that has begun.
enum Open {
    List(usize, Vec<Node>),
    /// With the key whose value comes next, and the key's line.
    Map(usize, Vec<(String, Node)>, Option<(String, usize)>),
}

impl Builder {
    fn add(&mut self, event: Event<'_>, line: usize) -> Result<(), Wrong> {
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let data = Data::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain };
                (Node { line, data }, anchor)
            }
            Event::SequenceStart(anchor, _) => return self.open(Open::List(line, Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => return self.open(Open::Map(line, Vec::new(), None), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((Open::List(line, items), anchor)) => (Node { line, data: Data::List(items) }, anchor),
                Some((Open::Map(line, entries, _), anchor)) => (Node { line, data: Data::Map(entries) }, anchor),
                None => return Ok(()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some((node, size)) => {
                    self.count += size;
                    (node.clone(), 0)
                }
                None => return Err(Wrong::at(line, "this alias is inside of what it stands for")),
            },
            _ => return Ok(()),
        };
        self.count += 1;
        if self.count > NODES_MAX {
            return Err(Wrong::at(line, format!("the file has more than {NODES_MAX} parts; split it")));
        }
        if anchor != 0 {
            let size = node.size();
            self.anchors.insert(anchor, (node.clone(), size));
        }
        self.place(node, line)
    }

    fn open(&mut self, open: Open, anchor: usize, line: usize) -> Result<(), Wrong> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Wrong::at(line, format!("more than {DEPTH_MAX} lists and mappings are inside of one another")));
        }
        self.open.push((open, anchor));
        Ok(())
    }

    fn place(&mut self, mut node: Node, line: usize) -> Result<(), Wrong> {
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some((Open::List(_, items), _)) => items.push(node),
            Some((Open::Map(_, entries, key), _)) => match key.take() {
                None => {
                    let Data::Scalar { text, .. } = node.data else {
                        return Err(Wrong::at(line, "a key is a list or a mapping; it has to be a text"));
                    };
                    if entries.iter().any(|(own, _)| *own == text) {
                        return Err(Wrong::at(line, format!("the key `{text}` is there twice; leave one out")));
                    }
                    *key = Some((text, line));
                }
                Some((text, line)) => {
                    node.line = line;
                    entries.push((text, node));
                }
            },
        }
        Ok(())
    }
}

impl Node {
    fn size(&self) -> usize {
        1 + match &self.data {
            Data::Scalar { .. } => 0,
            Data::List(items) => items.iter().map(Self::size).sum(),
            Data::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }

    /// Returns the document as YAML.
    pub(super) fn to_yaml(&self) -> String {
        let mut yaml = String::new();
        self.write_yaml(&mut yaml, 0);
        yaml.trim_start_matches('\n').to_owned() + "\n"
    }

    fn write_yaml(&self, yaml: &mut String, indent: usize) {
        let space = "  ".repeat(indent);
        match &self.data {
            Data::Scalar { text, quoted } => *yaml += &scalar(text, *quoted),
            Data::List(items) if items.is_empty() => *yaml += "[]",
            Data::Map(entries) if entries.is_empty() => *yaml += "{}",
            Data::List(items) => {
                for item in items {
                    let mut text = String::new();
                    item.write_yaml(&mut text, indent + 1);
                    // Writing to a string cannot fail.
                    let _ = write!(yaml, "\n{space}- {}", text.trim_start());
                }
            }
            Data::Map(entries) => {
                for (key, node) in entries {
                    let mut text = String::new();
                    node.write_yaml(&mut text, indent + 1);
                    let gap = if text.starts_with('\n') { "" } else { " " };
                    let _ = write!(yaml, "\n{space}{}:{gap}{text}", scalar(key, true));
                }
            }
        }
    }

    /// Returns the document as JSON.
    pub(super) fn to_json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json, 0);
        json + "\n"
    }

    fn write_json(&self, json: &mut String, indent: usize) {
        let space = "  ".repeat(indent + 1);
        let end = "  ".repeat(indent);
        match &self.data {
            Data::Scalar { text, quoted: true } => *json += &quote(text),
            Data::Scalar { text, .. } => *json += text,
            Data::List(items) if items.is_empty() => *json += "[]",
            Data::Map(entries) if entries.is_empty() => *json += "{}",
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    *json += if index == 0 { "[\n" } else { ",\n" };
                    *json += &space;
                    item.write_json(json, indent + 1);
                }
                let _ = write!(json, "\n{end}]");
            }
            Data::Map(entries) => {
                for (index, (key, node)) in entries.iter().enumerate() {
                    *json += if index == 0 { "{\n" } else { ",\n" };
                    let _ = write!(json, "{space}{}: ", quote(key));
                    node.write_json(json, indent + 1);
                }
                let _ = write!(json, "\n{end}}}");
            }
        }
    }
}

/// Returns a text in quotes, as JSON and YAML have it.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a scalar of YAML: in quotes if it is a text that would be read as something else.
fn scalar(text: &str, quoted: bool) -> String {
    if !quoted || is_word(text) { text.to_owned() } else { quote(text) }
}

/// Returns true if YAML reads the text without quotes as a text.
fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|other| other.is_ascii_alphanumeric() || "-_./".contains(other))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&&*text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_as_yaml_and_as_json() {
        let node = Node::map([
            ("text", Node::text("a: \"b\"\n\t# c")),
            ("number", Node::plain(1.5)),
            ("no", Node::text("no")),
            ("empty", Node::list([])),
            ("nothing", Node::map([])),
            (
                "list",
                Node::list([
                    Node::map([("a", Node::text("1")), ("b", Node::list([Node::text("2")]))]),
                    Node::list([Node::plain(2)]),
                ]),
            ),
        ]);
        for text in [node.to_yaml(), node.to_json()] {
            let read = read(&text).unwrap();
            assert_eq!((read.len(), read[0].to_json()), (1, node.to_json()), "{text}");
        }
    }

    #[test]
    fn parts_know_their_lines_and_documents_are_apart() {
        let read = read("a:\n  b: 1\n  c:\n    - x\n---\n{ \"d\": 2 }\n").unwrap();
        assert_eq!((read.len(), read[0].line_of("a.b"), read[0].line_of("a.c")), (2, 2, 3));
        assert_eq!(read[1].str("d"), Some("2"));
    }

    #[test]
    fn what_is_no_document_is_an_error_with_its_line() {
        for (text, line, message) in [
            ("a: 1\nb: [1, 2\n", 3, "neither YAML nor JSON"),
            ("a: 1\na: 2\n", 2, "the key `a` is there twice"),
            ("a: *b\n", 1, "neither YAML nor JSON"),
            ("? [a]\n: b\n", 1, "has to be a text"),
        ] {
            let wrong = read(text).unwrap_err();
            assert!(wrong.message.contains(message), "{text}: {wrong:?}");
            assert!(wrong.line.abs_diff(line) <= 1, "{text}: {wrong:?}");
        }
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert!(read(&deep).unwrap_err().message.contains("inside of one another"));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let item = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", [&*item; 8].join(", "));
        }
        assert!(read(&bomb).unwrap_err().message.contains("parts; split it"));
    }

    #[test]
    fn an_alias_stands_for_what_has_the_anchor() {
        let read = read("a: &x { b: 1 }\nc: *x\n").unwrap();
        assert_eq!(read[0].str("c.b"), Some("1"));
    }
}
