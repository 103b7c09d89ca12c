//! Logs of JSON lines: an object a line.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    io::Read,
};

use kernel::run_folder::blocks::{FoldedLines, LineDamage, fold_lines};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor, value},
};
use serde_json::Value;

use super::{
    super::ReadError,
    log::{LineError, Log, LogLine, Passed},
};

/// The number of bytes from whose lines the names of columns are taken.
const NAMES_FROM: u64 = 1 << 16;

/// Passes over all rows, in blocks on all processors.
pub(super) fn pass<T: Send>(
    log: &Log<'_>,
    start: impl Fn(usize) -> T + Sync,
    add: impl Fn(&mut T, &LogLine<'_>) -> Result<(), LineError> + Sync,
) -> Result<Passed<T>, ReadError> {
    let start = |index| (start(index), Cells::new(log.watched.len()));
    let add = |(part, cells): &mut (T, Cells), line: &[u8]| {
        cells.read(&log.watched, line)?;
        add(part, &|column| cells.get(column))
    };
    let folded = fold_lines(&log.file, log.length, start, add).map_err(ReadError::unreadable(log.path))?;
    let FoldedLines { parts, damage } = folded;
    let cut_off = match damage {
        None => None,
        // A program that was killed leaves a last line without a line break.
        Some(LineDamage { line, is_unfinished: true, reason: LineError::Format(_) }) => Some(line),
        Some(damage) => return Err(log.refused(damage)),
    };
    Ok(Passed { parts: parts.into_iter().map(|(part, _)| part).collect(), cut_off })
}

/// Returns the names that the first lines have.
pub(super) fn names(log: &Log<'_>) -> Result<Vec<String>, ReadError> {
    let mut text = Vec::new();
    log.bytes().take(NAMES_FROM).read_to_end(&mut text).map_err(ReadError::unreadable(log.path))?;
    let mut names = BTreeSet::new();
    for line in text.split(|byte| *byte == b'\n') {
        // The last line may be cut off here; the pass over all lines reports a damaged one.
        let row = serde_json::from_slice::<BTreeMap<String, Value>>(line).unwrap_or_default();
        names.extend(row.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name));
    }
    Ok(names.into_iter().collect())
}

/// The cells of a line, whose memory the next line uses again.
struct Cells(Vec<(bool, String)>);

impl Cells {
    fn new(columns: usize) -> Self {
        Self(vec![(false, String::new()); columns])
    }

    fn get(&self, column: usize) -> Option<&str> {
        self.0.get(column).filter(|(is_there, _)| *is_there).map(|(_, text)| text.as_str())
    }

    fn read(&mut self, watched: &[String], line: &[u8]) -> Result<(), LineError> {
        self.0.iter_mut().for_each(|(is_there, _)| *is_there = false);
        // The mark that some programs write at the beginning of a text.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let mut parser = serde_json::Deserializer::from_slice(line);
        let read = parser.deserialize_map(LineVisitor { watched, cells: &mut self.0 }).and_then(|()| parser.end());
        read.map_err(|error| LineError::Format(without_line(&error)))
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

/// Reads the watched cells of a line.
struct LineVisitor<'a> {
    watched: &'a [String],
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
            match self.watched.binary_search_by(|watched| watched.as_str().cmp(&name)) {
                Ok(column) => {
                    let (is_there, text) = &mut self.cells[column];
                    text.clear();
                    *is_there = map.next_value_seed(CellReader(text))?;
                }
                Err(_) => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
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
