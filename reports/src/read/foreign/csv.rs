//! Tables: CSV and its relatives.

mod cut;
mod rows;

use std::{
    io::{self, Read},
    str,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use csv::{ReaderBuilder, Trim};
use kernel::run_folder::blocks::{LINE_MAX, LongLine};

use self::{
    cut::{Chunk, Cutter},
    rows::{Rows, Signs},
};
use super::{
    super::ReadError,
    chunks::{Part, joined, line_of, read_chunks},
    log::{LineError, Log, LogLine, Passed},
    recipe::Table,
};

/// The number of bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// The columns of a table.
#[derive(Debug)]
pub(super) struct Header {
    /// The names of the columns.
    pub(super) names: Vec<String>,
    /// True if the first line has the names.
    is_line: bool,
    /// The position of each watched column in a row.
    positions: Vec<Option<usize>>,
    /// The number of cells at the beginning of a row among which are those of all watched columns.
    most: usize,
    signs: Signs,
    /// The position in the log of the first row.
    first_row: u64,
}

/// The mark that some programs write at the beginning of a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

impl Header {
    pub(super) fn read(log: &Log<'_>, table: &Table) -> Result<Self, ReadError> {
        let signs = Signs { delimiter: table.delimiter, is_quoted: table.is_quoted };
        let header = Self { names: Vec::new(), is_line: true, positions: Vec::new(), most: 0, signs, first_row: 0 };
        if let Some(names) = table.names {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let first_row = first_row(log).map_err(ReadError::unreadable(log.path))?;
            return Ok(Self { names, is_line: false, first_row, ..header });
        }
        let input = Bounded { input: log.source.bytes(), read: Arc::default() };
        let mut builder = ReaderBuilder::new();
        let builder = builder.delimiter(table.delimiter).quoting(table.is_quoted).flexible(true).trim(Trim::Headers);
        let mut reader = builder.buffer_capacity(BUFFER).from_reader(input);
        let record = reader.byte_headers().map_err(|error| refused(log, 1, &error))?;
        let names = record.iter().map(|name| str::from_utf8(name).map(str::to_owned));
        let names: Vec<String> = names.collect::<Result<_, _>>().map_err(|_| {
            let reason = "its first line is not text; the format is CSV with a header line, or JSON lines";
            log.refused(1, LineError::Format(reason.to_owned()))
        })?;
        Ok(Self { names, first_row: reader.position().byte(), ..header })
    }

    /// Returns whether there is this column among those that are watched.
    pub(super) fn has(&self, column: usize) -> bool {
        self.positions.get(column).is_some_and(Option::is_some)
    }

    /// Finds the positions of the columns that are read.
    pub(super) fn watch(&mut self, watched: &[String]) {
        // Of columns with one name, the last one counts.
        let positions = watched.iter().map(|watched| self.names.iter().rposition(|name| name == watched));
        self.positions = positions.collect();
        self.most = self.positions.iter().flatten().max().map_or(0, |last| last + 1);
    }
}

/// Returns the position of the first row of a table without a header.
fn first_row(log: &Log<'_>) -> io::Result<u64> {
    let mut start = Vec::new();
    log.source.bytes().take(MARK.len() as u64).read_to_end(&mut start)?;
    Ok(if start == MARK { start.len() as u64 } else { 0 })
}

/// Passes over all rows, in chunks on all processors.
pub(super) fn pass<P, T: Send>(
    log: &Log<'_>,
    header: &Header,
    start: impl Fn(usize) -> P + Sync,
    add: impl Fn(&mut P, &LogLine<'_>) -> Result<(), String> + Sync,
    end: impl Fn(P) -> T + Sync,
) -> Result<Passed<T>, ReadError> {
    let mut cutter = Cutter::new(log, header.signs, header.first_row);
    let read = |index, chunk: Chunk| {
        let mut part = Part::new(start(index));
        read_rows(log, header, &chunk, &mut part, &add).map_err(ReadError::unreadable(log.path))?;
        Ok(part.end(&end))
    };
    let parts = read_chunks(|| cutter.next(), read)?;
    joined(parts, |at| line_of(log, at))
}

/// Adds the rows of a chunk to its part.
fn read_rows<T>(
    log: &Log<'_>,
    header: &Header,
    chunk: &Chunk,
    part: &mut Part<T>,
    add: impl Fn(&mut T, &LogLine<'_>) -> Result<(), String>,
) -> io::Result<()> {
    let mut rows = Rows::new(&chunk.text, header.signs, header.most);
    while rows.next() {
        let at = chunk.at + rows.position() as u64;
        if rows.is_unfinished() && is_cut_off(log, header, &rows)? {
            part.cut_off = Some(at);
            break;
        }
        // Checked at once, as cells are few bytes each.
        let added = match str::from_utf8(rows.cells_text()) {
            Ok(text) => add(&mut part.result, &|column| {
                let cell = text.get(rows.cell(header.positions.get(column).copied().flatten()?)?)?;
                Some(cell.trim_ascii()).filter(|cell| !cell.is_empty())
            }),
            Err(_) => add_bytes(log, header, &rows, &mut part.result, &add),
        };
        if let Err(reason) = added {
            part.refuse(at, reason);
        }
    }
    Ok(())
}

/// Adds a row of which a cell is not text, as long as that cell is not read.
fn add_bytes<T>(
    log: &Log<'_>,
    header: &Header,
    rows: &Rows<'_>,
    result: &mut T,
    add: impl Fn(&mut T, &LogLine<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let cell = |column: usize| {
        let cell = rows.cell(header.positions.get(column).copied().flatten()?)?;
        Some(rows.cells_text()[cell].trim_ascii()).filter(|cell| !cell.is_empty())
    };
    let mut columns = 0..header.positions.len();
    match columns.find(|column| cell(*column).is_some_and(|cell| str::from_utf8(cell).is_err())) {
        Some(column) => Err(format!("the cell of `{}` is not text in UTF-8", log.watched[column])),
        None => add(result, &|column| cell(column).and_then(|cell| str::from_utf8(cell).ok())),
    }
}

/// Returns whether the last row, which has no line break, is the rest of a write that was interrupted, or that goes on: cells
/// are missing, or the log has grown.
fn is_cut_off(log: &Log<'_>, header: &Header, rows: &Rows<'_>) -> io::Result<bool> {
    // Formats without a header leave out cells at the end of some rows.
    let is_short = header.is_line && rows.width() < header.names.len();
    Ok(is_short || log.source.file.metadata()?.len() > log.source.length)
}

/// An input that fails when a row is longer than any may be.
pub(super) struct Bounded<R> {
    pub(super) input: R,
    /// The number of bytes that were read since the last row.
    pub(super) read: Arc<AtomicUsize>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.load(Ordering::Relaxed) > LINE_MAX {
            return Err(io::Error::other(LongLine));
        }
        let read = self.input.read(buffer)?;
        self.read.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

/// Returns the error of a row that cannot be read. The row begins at the line with the number `line`.
fn refused(log: &Log<'_>, line: usize, error: &csv::Error) -> ReadError {
    match error.kind() {
        csv::ErrorKind::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<LongLine>()) => {
            let reason = format!("{LongLine}; a quotation mark that is not closed makes one line of many");
            log.refused(line, LineError::Format(reason))
        }
        csv::ErrorKind::Io(error) => ReadError::unreadable(log.path)(io::Error::new(error.kind(), error.to_string())),
        _ => log.refused(line, LineError::Format(error.to_string())),
    }
}
