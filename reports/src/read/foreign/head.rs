//! The beginning of a log, by which its format is recognised.

use std::io::Read;

use csv::ReaderBuilder;
use serde_json::Value;

use super::source::Source;

/// The number of bytes at the beginning of a log that are looked at.
const HEAD: u64 = 1 << 16;

/// The delimiters of tables.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// The beginning of a log.
#[derive(Debug)]
pub(super) struct Head {
    /// The text without a byte order mark and white space before it. Its last line may be cut off.
    pub(super) text: String,
    /// The delimiter that the first line has most often.
    pub(super) delimiter: u8,
    /// The cells of the first line.
    pub(super) header: Vec<String>,
    /// The object in the first line, if there is one.
    pub(super) object: Option<Value>,
}

impl Head {
    /// Returns the whole number in a cell of the first line; `None` if there is no such cell, or it has something else.
    pub(super) fn whole_number(&self, index: usize) -> Option<u64> {
        self.header.get(index)?.parse().ok()
    }

    pub(super) fn read(source: &Source) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        source.bytes().take(HEAD).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches('\u{feff}').trim_start().to_owned();
        let first_line = text.lines().next().unwrap_or_default();
        let delimiter = delimiter(first_line);
        Ok(Self { delimiter, header: cells(first_line, delimiter), object: object(first_line), text })
    }

    /// Returns whether the first line has all these cells.
    pub(super) fn has_columns(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.header.iter().any(|cell| cell == name))
    }

    /// Returns whether the first line is an object with all these keys.
    pub(super) fn has_keys(&self, keys: &[&str]) -> bool {
        self.object.as_ref().is_some_and(|object| keys.iter().all(|key| object.get(key).is_some()))
    }

    /// Returns whether the text is one JSON document in which all these keys occur.
    pub(super) fn is_document_with(&self, keys: &[&str]) -> bool {
        self.text.starts_with('{') && keys.iter().all(|key| self.text.contains(&format!("\"{key}\"")))
    }

    /// Returns whether the text begins with an array of objects, and not with a time in brackets.
    pub(super) fn is_array(&self) -> bool {
        self.text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['{', ']']))
    }

    /// Returns the lines that are there whole, without their line breaks.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }
}

fn delimiter(line: &str) -> u8 {
    let mut is_quoted = false;
    let mut counts = [0_usize; DELIMITERS.len()];
    for byte in line.bytes() {
        is_quoted ^= byte == b'"';
        if let Some(found) = DELIMITERS.iter().position(|delimiter| *delimiter == byte && !is_quoted) {
            counts[found] += 1;
        }
    }
    // Of several that are as frequent, the first one.
    let most = (0..DELIMITERS.len()).rev().max_by_key(|index| counts[*index]).unwrap_or(0);
    DELIMITERS[most]
}

/// Returns the cells of a line.
pub(super) fn cells(line: &str, delimiter: u8) -> Vec<String> {
    let mut builder = ReaderBuilder::new();
    let builder = builder.has_headers(false).delimiter(delimiter).trim(csv::Trim::All);
    let record = builder.from_reader(line.as_bytes()).into_records().next();
    record.and_then(Result::ok).map(|record| record.iter().map(str::to_owned).collect()).unwrap_or_default()
}

fn object(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_delimiter_outside_quotes_is_that_of_the_table() {
        for (line, wanted) in [("a,b;c,d", b','), ("a;b;c", b';'), ("a\tb", b'\t'), ("\"a,b,c\";d", b';'), ("a", b',')]
        {
            assert_eq!(delimiter(line), wanted, "{line}");
        }
        assert_eq!(cells("a , \u{20}b,\"c;d\"", b','), ["a", "b", "c;d"]);
    }
}
