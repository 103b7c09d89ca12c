//! A log that can be passed over any number of times.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use kernel::{
    input,
    run_folder::blocks::{LINE_MAX, LineDamage, LongLine},
};

use super::{
    super::{Mapping, ReadError, columns::FIELDS, listed},
    csv, json,
};

/// A log, and the columns of it that matter.
#[derive(Debug)]
pub(super) struct Log<'a> {
    pub(super) path: &'a Path,
    pub(super) file: File,
    /// The length of the log when it was opened. What is written behind it meanwhile is not read.
    pub(super) length: u64,
    /// The columns that may be read: those that were mapped, those of `--only`, and those of our own logs.
    pub(super) watched: Vec<String>,
    format: Format,
}

/// The format of a log.
#[derive(Debug)]
enum Format {
    Csv(csv::Header),
    JsonLines,
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
}

/// The reason why a line is refused.
#[derive(Debug)]
pub(super) enum LineError {
    /// It is too long.
    Long,
    /// It is not in the format. An interrupted write leaves such a line at the end.
    Format(String),
    /// It is no request.
    Row(String),
}

impl From<LongLine> for LineError {
    fn from(LongLine: LongLine) -> Self {
        Self::Long
    }
}

/// The formats that a log may be in but that are not read: their first bytes, their names, and the remedy.
const OTHERS: [(&[u8], &str, &str); 7] = [
    (b"\x1f\x8b", "compressed with gzip", "decompress it first: gunzip -k FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it first: zstd -d FILE"),
    (b"\xfd7zXZ", "compressed with xz", "decompress it first: xz -dk FILE"),
    (b"BZh", "compressed with bzip2", "decompress it first: bunzip2 -k FILE"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"PAR1", "in the format Parquet", "write it as CSV with a header line, or as JSON lines"),
    (b"\x7fELF", "a program", "name a log of requests"),
];

/// The mark that some programs write at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<'a> Log<'a> {
    /// Opens the log at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is in no format that is known.
    pub(super) fn open(path: &'a Path, mapping: &Mapping) -> Result<Self, ReadError> {
        let file = input::open_file(path).map_err(ReadError::unreadable(path))?;
        let length = file.metadata().map_err(ReadError::unreadable(path))?.len();
        let mut log = Self { path, file, length, watched: watched(mapping), format: Format::JsonLines };
        if !log.is_json().map_err(ReadError::unreadable(path))? {
            log.reject_others()?;
            log.format = Format::Csv(csv::Header::read(&log)?);
        }
        Ok(log)
    }

    /// Returns the bytes from the beginning.
    pub(super) fn bytes(&self) -> LogBytes<'_> {
        LogBytes { file: &self.file, at: 0, end: self.length }
    }

    /// Returns whether the first character that is no white space begins an object.
    fn is_json(&self) -> io::Result<bool> {
        let mut block = vec![0; 1 << 16];
        let mut bytes = self.bytes();
        loop {
            let read = bytes.read(&mut block)?;
            let text = block[..read].strip_prefix(BYTE_ORDER_MARK).unwrap_or(&block[..read]).trim_ascii_start();
            // White space as far as a line may be long is no log of anything.
            if !text.is_empty() || read == 0 || bytes.at > LINE_MAX as u64 {
                return Ok(text.first() == Some(&b'{'));
            }
        }
    }

    fn reject_others(&self) -> Result<(), ReadError> {
        let mut start = [0; 8];
        let read = self.file.read_at(&mut start, 0).map_err(ReadError::unreadable(self.path))?;
        match OTHERS.iter().find(|(magic, ..)| start[..read].starts_with(magic)) {
            Some((_, what, remedy)) => Err(self.content(format!("it is {what}; {remedy}"))),
            None => Ok(()),
        }
    }

    /// Returns the place of a column among those that are watched.
    pub(super) fn place(&self, column: &str) -> Option<usize> {
        self.watched.iter().position(|name| name == column)
    }

    /// Returns the names of columns that there are at least: all of a CSV file, those of the first lines of another.
    pub(super) fn names(&self) -> Result<Vec<String>, ReadError> {
        match &self.format {
            Format::Csv(header) => Ok(header.names.clone()),
            Format::JsonLines => json::names(self),
        }
    }

    /// Passes over all rows: `start` makes the result of a part of the log from its index, and `add` adds a row to it.
    ///
    /// # Errors
    /// The log cannot be read, or a line is refused.
    pub(super) fn pass<T: Send>(
        &self,
        start: impl Fn(usize) -> T + Sync,
        add: impl Fn(&mut T, &LogLine<'_>) -> Result<(), LineError> + Sync,
    ) -> Result<Passed<T>, ReadError> {
        match &self.format {
            Format::Csv(header) => csv::pass(self, header, start(0), add),
            Format::JsonLines => json::pass(self, start, add),
        }
    }

    /// Returns the error of a line that was refused.
    pub(super) fn refused(&self, damage: LineDamage<LineError>) -> ReadError {
        let reason = match damage.reason {
            LineError::Long => LongLine.to_string(),
            LineError::Format(reason) | LineError::Row(reason) => reason,
        };
        ReadError::Line { path: self.path.to_owned(), line: damage.line, reason }
    }

    /// Returns the error of a log without the column `column` for the field `what`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(super) fn no_column(&self, what: &'static str, column: &str) -> Result<ReadError, ReadError> {
        let present = listed(&self.names()?);
        Ok(ReadError::NoColumn { path: self.path.to_owned(), what, column: column.to_owned(), present })
    }

    /// Returns the error of a log that is wrong as a whole.
    pub(super) fn content(&self, reason: String) -> ReadError {
        ReadError::Content { path: self.path.to_owned(), reason }
    }
}

/// Returns the names of the columns that may be read.
fn watched(mapping: &Mapping) -> Vec<String> {
    let mapped = mapping.columns.iter().map(|(_, column)| column.name.clone());
    let only = mapping.only.iter().map(|(column, _)| column.clone());
    let our_own = FIELDS.iter().flat_map(|field| [(*field).to_owned(), format!("{field}_us")]);
    let mut names: Vec<String> = mapped.chain(only).chain(our_own).collect();
    names.sort();
    names.dedup();
    names
}

/// The bytes of a log up to its length. Each pass has a position of its own.
#[derive(Debug)]
pub(super) struct LogBytes<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for LogBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = (self.end - self.at).min(buffer.len() as u64) as usize;
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
