//! Tables: CSV and its relatives.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
    str,
};

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
use kernel::run_folder::blocks::{LINE_MAX, LongLine};

use super::{
    super::{ReadError, bad_rows::BadRows},
    log::{LineError, Log, LogLine, Passed},
    recipe::Table,
    source::SourceBytes,
};

/// The number of bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// The columns of a table.
#[derive(Debug)]
pub(super) struct Header {
    /// The names of the columns.
    pub(super) names: Vec<String>,
    /// The position of each watched column in a row.
    positions: Vec<Option<usize>>,
    table: Table,
}

impl Header {
    pub(super) fn read(log: &Log<'_>, table: &Table) -> Result<Self, ReadError> {
        let table = table.clone();
        if let Some(names) = table.names {
            return Ok(Self {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                positions: Vec::new(),
                table,
            });
        }
        let mut rows = Rows::new(log, &table);
        let record = rows.reader.byte_headers().map_err(|error| refused(log, 1, &error))?;
        let names = record.iter().map(|name| str::from_utf8(name).map(str::to_owned));
        let names: Vec<String> = names.collect::<Result<_, _>>().map_err(|_| {
            let reason = "its first line is not text; the format is CSV with a header line, or JSON lines";
            log.refused(1, LineError::Format(reason.to_owned()))
        })?;
        Ok(Self { names, positions: Vec::new(), table })
    }

    /// Finds the positions of the columns that are read.
    pub(super) fn watch(&mut self, watched: &[String]) {
        // Of columns with one name, the last one counts.
        let positions = watched.iter().map(|watched| self.names.iter().rposition(|name| name == watched));
        self.positions = positions.collect();
    }

    /// Returns the cell of a watched column; `None` if it is empty or left out.
    fn cell<'a>(&self, record: &'a ByteRecord, column: usize) -> Option<&'a [u8]> {
        let cell = record.get(self.positions.get(column).copied().flatten()?)?;
        // The reader would copy each row to trim it.
        Some(cell.trim_ascii()).filter(|cell| !cell.is_empty())
    }
}

/// Passes over all rows. Line breaks in quotes do not end a row, so that there is one part only.
pub(super) fn pass<T>(
    log: &Log<'_>,
    header: &Header,
    mut part: T,
    add: impl Fn(&mut T, &LogLine<'_>) -> Result<(), String>,
) -> Result<Passed<T>, ReadError> {
    let mut rows = Rows::new(log, &header.table);
    if header.table.names.is_none() {
        // Read first, so that the position of the first row is known.
        rows.reader.byte_headers().map_err(|error| refused(log, 1, &error))?;
    }
    let read: Vec<usize> = (0..header.positions.len()).filter(|column| header.positions[*column].is_some()).collect();
    let mut record = ByteRecord::new();
    let mut is_there = rows.next(log, &mut record)?;
    let mut following = ByteRecord::new();
    let mut cut_off = None;
    let mut bad = BadRows::default();
    while is_there {
        is_there = rows.next(log, &mut following)?;
        let line = record.position().map_or(0, csv::Position::line) as usize;
        if !is_there && is_cut_off(log, header, &record).map_err(ReadError::unreadable(log.path))? {
            cut_off = Some(line);
            break;
        }
        let is_not_text =
            |column: &usize| header.cell(&record, *column).is_some_and(|cell| str::from_utf8(cell).is_err());
        let added = match read.iter().copied().find(is_not_text) {
            Some(column) => Err(format!("the cell of `{}` is not text in UTF-8", log.watched[column])),
            None => {
                add(&mut part, &|column: usize| header.cell(&record, column).and_then(|cell| str::from_utf8(cell).ok()))
            }
        };
        if let Err(reason) = added {
            bad.add(|| line, reason);
        }
        std::mem::swap(&mut record, &mut following);
    }
    Ok(Passed { parts: vec![part], cut_off, bad })
}

/// Returns whether the last row is the rest of a write that was interrupted, or that goes on: it has no line break, and
/// cells are missing or the log has grown.
fn is_cut_off(log: &Log<'_>, header: &Header, record: &ByteRecord) -> io::Result<bool> {
    if log.source.ends_in_line_break()? {
        return Ok(false);
    }
    // Formats without a header leave out cells at the end of some rows.
    let is_short = header.table.names.is_none() && record.len() < header.names.len();
    Ok(is_short || log.source.file.metadata()?.len() > log.source.length)
}

/// The rows of a log.
struct Rows<'a> {
    reader: Reader<Bounded<SourceBytes<'a>>>,
    /// The number of bytes that were read since the last row.
    read: Rc<Cell<usize>>,
}

impl<'a> Rows<'a> {
    fn new(log: &'a Log<'_>, table: &Table) -> Self {
        let read = Rc::new(Cell::new(0));
        let input = Bounded { input: log.source.bytes(), read: read.clone() };
        let mut builder = ReaderBuilder::new();
        let builder = builder.has_headers(table.names.is_none()).delimiter(table.delimiter).quoting(table.is_quoted);
        // Other programs leave out empty cells at the end of a row.
        let builder = builder.flexible(true).trim(Trim::Headers).buffer_capacity(BUFFER);
        Self { reader: builder.from_reader(input), read }
    }

    /// Reads the next row; false if there is none.
    fn next(&mut self, log: &Log<'_>, record: &mut ByteRecord) -> Result<bool, ReadError> {
        self.read.set(0);
        let line = self.reader.position().line();
        self.reader.read_byte_record(record).map_err(|error| refused(log, line as usize, &error))
    }
}

/// An input that fails when a row is longer than any may be.
pub(super) struct Bounded<R> {
    pub(super) input: R,
    pub(super) read: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > LINE_MAX {
            return Err(io::Error::other(LongLine));
        }
        let read = self.input.read(buffer)?;
        self.read.set(self.read.get() + read);
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
