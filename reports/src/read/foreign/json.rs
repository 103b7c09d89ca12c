//! Logs in JSON: an object a line, or an array of objects.

mod array;
mod plain;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt::{self, Write},
};

use kernel::{
    entropy::fnv1a,
    run_folder::blocks::{FoldedLines, Line, LineDamage, fold_lines},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value},
};
use serde_json::Value;

use super::{
    super::ReadError,
    chunks::{Part, joined, line_of, read_chunks},
    log::{LineError, Log, LogLine, Passed},
};
use array::{ArrayError, Batch, Elements};

/// The greatest number of levels of objects whose values are columns.
const DEPTH_MAX: usize = 8;

/// Passes over all rows, in blocks on all processors.
pub(super) fn pass<P, T: Send>(
    log: &Log<'_>,
    keys: &Keys,
    start: impl Fn(usize) -> P + Sync,
    add: impl Fn(&mut P, &LogLine<'_>) -> Result<(), String> + Sync,
    end: impl Fn(P) -> T + Sync,
) -> Result<Passed<T>, ReadError> {
    let add = |(part, cells): &mut (Part<P>, Cells), line: Line<'_>| {
        let read = cells.read(keys, line.text);
        // A program that was killed leaves a last line without a line break.
        if line.is_unfinished
            && let Err(reason) = read
        {
            return Err(LineError::Format(reason));
        }
        if let Err(reason) = read.and_then(|()| add(&mut part.result, &|column| cells.get(column))) {
            part.refuse(line.at, reason);
        }
        Ok(())
    };
    let folded = fold_lines(
        &log.source.file,
        log.source.length,
        |index| (Part::new(start(index)), Cells::new(log.watched.len())),
        add,
        |(part, _)| part.end(&end),
    );
    let FoldedLines { parts, damage } = folded.map_err(ReadError::unreadable(log.path))?;
    let cut_off = match damage {
        None => None,
        Some(LineDamage { line, is_unfinished: true, reason: LineError::Format(_) }) => Some(line),
        Some(damage) => return Err(log.refused(damage.line, damage.reason)),
    };
    let passed = joined(parts, |at| line_of(log, at))?;
    Ok(Passed { cut_off, ..passed })
}

/// Passes over all objects of an array: the document, or the value of `key` of the document. They are found one after
/// another, and read on all processors.
pub(super) fn pass_array<P, T: Send>(
    log: &Log<'_>,
    keys: &Keys,
    key: Option<&str>,
    start: impl Fn(usize) -> P + Sync,
    add: impl Fn(&mut P, &LogLine<'_>) -> Result<(), String> + Sync,
    end: impl Fn(P) -> T + Sync,
) -> Result<Passed<T>, ReadError> {
    let mut elements = Elements::new(log.source.bytes());
    let mut is_over = !elements.find(key).map_err(|error| elements.refused(log, error))?;
    let mut cut_off = None;
    let cut = || {
        let mut batch = Batch::default();
        while !is_over && batch.text.len() < log.chunk {
            match elements.next() {
                Ok(Some(element)) => {
                    batch.add(&element);
                    elements.give_back(element);
                }
                Ok(None) => is_over = true,
                Err(ArrayError::End) => {
                    cut_off = Some(elements.line);
                    is_over = true;
                }
                Err(error) => return Err(elements.refused(log, error)),
            }
        }
        Ok((!batch.elements.is_empty()).then_some(batch))
    };
    let parts = read_chunks(cut, |index, batch: Batch| {
        let mut part = Part::new(start(index));
        let mut cells = Cells::new(log.watched.len());
        for (line, place) in batch.elements {
            let read = cells.read(keys, &batch.text[place]);
            if let Err(reason) = read.and_then(|()| add(&mut part.result, &|column| cells.get(column))) {
                part.refuse(line, reason);
            }
        }
        Ok(part.end(&end))
    })?;
    let passed = joined(parts, |line| Ok(line as usize))?;
    Ok(Passed { cut_off, ..passed })
}

/// Returns the names that the first lines have. Those of nested objects are joined by dots.
pub(super) fn names(text: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    for line in text.lines() {
        // The last line may be cut off here; the pass over all lines reports a damaged one.
        if let Ok(row) = serde_json::from_str::<Value>(line) {
            collect_names(&row, "", 0, &mut names);
        }
    }
    names.into_iter().collect()
}

/// Returns the names that the first elements of an array have.
pub(super) fn names_in_array(text: &str, key: Option<&str>) -> Vec<String> {
    let start = match key {
        Some(key) => text.find(&format!("\"{key}\"")).unwrap_or(0),
        None => 0,
    };
    let array = text[start..].find('[').map_or("", |at| &text[start + at + 1..]);
    let mut names = BTreeSet::new();
    let mut rest = array;
    for _ in 0..NAMED_ELEMENTS {
        let mut parser = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let Some(Ok(row)) = parser.next() else { break };
        collect_names(&row, "", 0, &mut names);
        let read = parser.byte_offset();
        rest = rest.get(read..).unwrap_or_default().trim_start().trim_start_matches(',');
    }
    names.into_iter().collect()
}

/// The number of elements of an array from which the names of columns are taken.
const NAMED_ELEMENTS: usize = 100;

fn collect_names(row: &Value, prefix: &str, depth: usize, names: &mut BTreeSet<String>) {
    for (name, value) in row.as_object().into_iter().flatten() {
        let name = format!("{prefix}{name}");
        match value {
            Value::Null => {}
            Value::Object(_) if depth < DEPTH_MAX => collect_names(value, &format!("{name}."), depth + 1, names),
            _ => drop(names.insert(name)),
        }
    }
}

/// The keys that lead to the watched columns, each with those of the object below it.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The keys with their names, sorted by name.
    sorted: Vec<(String, Key)>,
    /// Which digests of names there are, by their last eight bits: most names of a row are not watched.
    digests: [u64; 4],
}

#[derive(Debug, Default)]
struct Key {
    column: Option<usize>,
    below: Keys,
}

impl Keys {
    /// Returns the keys of these columns. A name with dots is a path, or a key that has dots itself.
    pub(super) fn watched(watched: &[String]) -> Self {
        let mut keys = Self::default();
        for (column, name) in watched.iter().enumerate() {
            keys.key(name).column = Some(column);
            if name.contains('.') && name.split('.').count() <= DEPTH_MAX {
                let mut path = name.split('.');
                let mut key = keys.key(path.next().unwrap_or_default());
                for part in path {
                    key = key.below.key(part);
                }
                key.column = Some(column);
            }
        }
        keys
    }

    fn key(&mut self, name: &str) -> &mut Key {
        let place = self.sorted.binary_search_by(|(known, _)| known.as_str().cmp(name));
        let place = place.unwrap_or_else(|place| {
            self.sorted.insert(place, (name.to_owned(), Key::default()));
            place
        });
        let bits = fnv1a(name.bytes()) as usize & 255;
        self.digests[bits / 64] |= 1 << (bits % 64);
        &mut self.sorted[place].1
    }

    fn get(&self, name: &str) -> Option<&Key> {
        let bits = fnv1a(name.bytes()) as usize & 255;
        if self.digests[bits / 64] >> (bits % 64) & 1 == 0 {
            return None;
        }
        self.sorted.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok().map(|place| &self.sorted[place].1)
    }

    fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

/// The cells of a line, whose memory the next line uses again.
struct Cells(Vec<(bool, String)>);

impl Cells {
    fn new(columns: usize) -> Self {
        Self(vec![(false, String::new()); columns])
    }

    fn get(&self, column: usize) -> Option<&str> {
        let cell = self.0.get(column).filter(|(is_there, _)| *is_there).map(|(_, text)| text.as_str());
        cell.filter(|text| !text.is_empty())
    }

    fn read(&mut self, keys: &Keys, line: &[u8]) -> Result<(), String> {
        self.clear();
        // The mark that some programs write at the beginning of a text.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        plain::read(keys, line, &mut self.0).map_or_else(|| self.parse(keys, line), Ok)
    }

    fn clear(&mut self) {
        self.0.iter_mut().for_each(|(is_there, _)| *is_there = false);
    }

    /// Reads a line in any notation.
    fn parse(&mut self, keys: &Keys, line: &[u8]) -> Result<(), String> {
        self.clear();
        let mut parser = serde_json::Deserializer::from_slice(line);
        let read = parser.deserialize_map(LineVisitor { keys, cells: &mut self.0 }).and_then(|()| parser.end());
        read.map_err(|error| without_line(&error))
    }
}

/// Returns the parser's words without its number of the line. It counts from the line that it was given, so it is always 1.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line 1 column ") {
        Some((what, column)) => format!("{what} (column {column})"),
        None => text,
    }
}

/// Reads the watched cells of an object.
struct LineVisitor<'a> {
    keys: &'a Keys,
    cells: &'a mut [(bool, String)],
}

/// The name of a column.
#[derive(Deserialize)]
struct ColumnName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for LineVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(ColumnName(name)) = map.next_key::<ColumnName<'de>>()? {
            match self.keys.get(&name) {
                Some(key) if !key.below.is_empty() => {
                    map.next_value_seed(BelowReader { key, cells: &mut *self.cells })?
                }
                Some(Key { column: Some(column), .. }) => {
                    let (is_there, text) = &mut self.cells[*column];
                    text.clear();
                    *is_there = map.next_value_seed(CellReader(text))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the cells of an object inside of a line, or a value in the place of one.
struct BelowReader<'a> {
    key: &'a Key,
    cells: &'a mut [(bool, String)],
}

impl BelowReader<'_> {
    fn value<E>(self, read: impl FnOnce(CellReader<'_>) -> Result<bool, E>) -> Result<(), E> {
        if let Some(column) = self.key.column {
            let (is_there, text) = &mut self.cells[column];
            text.clear();
            *is_there = read(CellReader(text))?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for BelowReader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BelowReader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        LineVisitor { keys: &self.key.below, cells: self.cells }.visit_map(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.value(|cell| cell.visit_str(text))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.value(|cell| cell.visit_bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.value(|cell| cell.visit_u64(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.value(|cell| cell.visit_i64(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.value(|cell| cell.visit_f64(value))
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Writes a value as text into a cell, and returns whether it is anything but null.
struct CellReader<'a>(&'a mut String);

impl CellReader<'_> {
    fn text(self, value: &impl fmt::Display) -> bool {
        // Writing to a text cannot fail.
        let _ = write!(self.0, "{value}");
        true
    }
}

impl<'de> DeserializeSeed<'de> for CellReader<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellReader<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        self.0.push_str(text);
        Ok(true)
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        Ok(self.text(&value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<bool, E> {
        Ok(self.text(&value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<bool, E> {
        Ok(self.text(&value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<bool, E> {
        Ok(self.text(&Value::from(value)))
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<bool, A::Error> {
        let value = Value::deserialize(value::SeqAccessDeserializer::new(seq))?;
        Ok(self.text(&value))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        let value = Value::deserialize(value::MapAccessDeserializer::new(map))?;
        Ok(self.text(&value))
    }
}
