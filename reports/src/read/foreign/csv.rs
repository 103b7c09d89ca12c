//! Logs in CSV, with a header line.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
    str,
};

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
use kernel::run_folder::blocks::{LINE_MAX, LineDamage, LongLine};

use super::{
    super::ReadError,
    log::{LineError, Log, LogBytes, LogLine, Passed},
};

/// The number of bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// The header line of a log.
#[derive(Debug)]
pub(super) struct Header {
    /// The names of the columns.
    pub(super) names: Vec<String>,
    /// The position of each watched column in a row.
    positions: Vec<Option<usize>>,
}

impl Header {
    pub(super) fn read(log: &Log<'_>) -> Result<Self, ReadError> {
        let mut rows = Rows::new(log);
        let record = rows.reader.byte_headers().map_err(|error| refused(log, 1, &error))?;
        let names = record.iter().map(|name| str::from_utf8(name).map(str::to_owned));
        let names: Vec<String> = names.collect::<Result<_, _>>().map_err(|_| {
            let reason = "its first line is not text; the format is CSV with a header line, or JSON lines";
            log.refused(damage(1, reason.to_owned()))
        })?;
        // Of columns with one name, the last one counts.
        let positions = log.watched.iter().map(|watched| names.iter().rposition(|name| name == watched));
        Ok(Self { positions: positions.collect(), names })
    }

    /// Returns the cell of a watched column; `None` if it is empty or left out.
    fn cell<'a>(&self, record: &'a ByteRecord, column: usize) -> Option<&'a [u8]> {
        record.get(self.positions.get(column).copied().flatten()?).filter(|cell| !cell.is_empty())
    }
}

/// Passes over all rows. Line breaks in quotes do not end a row, so that there is one part only.
pub(super) fn pass<T>(
    log: &Log<'_>,
    header: &Header,
    mut part: T,
    add: impl Fn(&mut T, &LogLine<'_>) -> Result<(), LineError>,
) -> Result<Passed<T>, ReadError> {
    let mut rows = Rows::new(log);
    // Read first, so that the position of the first row is known.
    rows.reader.byte_headers().map_err(|error| refused(log, 1, &error))?;
    let mut record = ByteRecord::new();
    let mut is_there = rows.next(log, &mut record)?;
    let mut following = ByteRecord::new();
    let mut cut_off = None;
    while is_there {
        is_there = rows.next(log, &mut following)?;
        let line = record.position().map_or(0, csv::Position::line) as usize;
        if !is_there && is_cut_off(log, header, &record).map_err(ReadError::unreadable(log.path))? {
            cut_off = Some(line);
            break;
        }
        if let Some(column) = (0..log.watched.len())
            .find(|column| header.cell(&record, *column).is_some_and(|cell| str::from_utf8(cell).is_err()))
        {
            let reason = format!("the cell of `{}` is not text in UTF-8", log.watched[column]);
            return Err(log.refused(damage(line, reason)));
        }
        let cells = |column: usize| header.cell(&record, column).and_then(|cell| str::from_utf8(cell).ok());
        add(&mut part, &cells).map_err(|reason| log.refused(LineDamage { line, is_unfinished: false, reason }))?;
        std::mem::swap(&mut record, &mut following);
    }
    Ok(Passed { parts: vec![part], cut_off })
}

/// Returns whether the last row is the rest of a write that was interrupted, or that goes on: it has no line break, and
/// cells are missing or the log has grown.
fn is_cut_off(log: &Log<'_>, header: &Header, record: &ByteRecord) -> io::Result<bool> {
    let mut last = [0];
    let ends_in_line = log.length > 0 && {
        use std::os::unix::fs::FileExt;
        log.file.read_exact_at(&mut last, log.length - 1)?;
        last != *b"\n"
    };
    Ok(ends_in_line && (record.len() < header.names.len() || log.file.metadata()?.len() > log.length))
}

/// The rows of a log.
struct Rows<'a> {
    reader: Reader<Bounded<LogBytes<'a>>>,
    /// The number of bytes that were read since the last row.
    read: Rc<Cell<usize>>,
}

impl<'a> Rows<'a> {
    fn new(log: &'a Log<'_>) -> Self {
        let read = Rc::new(Cell::new(0));
        let input = Bounded { input: log.bytes(), read: read.clone() };
        // Other programs leave out empty cells at the end of a row.
        let mut builder = ReaderBuilder::new();
        let builder = builder.flexible(true).trim(Trim::All).buffer_capacity(BUFFER);
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
struct Bounded<R> {
    input: R,
    read: Rc<Cell<usize>>,
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

fn damage(line: usize, reason: String) -> LineDamage<LineError> {
    LineDamage { line, is_unfinished: false, reason: LineError::Format(reason) }
}

/// Returns the error of a row that cannot be read. The row begins at the line with the number `line`.
fn refused(log: &Log<'_>, line: usize, error: &csv::Error) -> ReadError {
    match error.kind() {
        csv::ErrorKind::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<LongLine>()) => {
            let reason = format!("{LongLine}; a quotation mark that is not closed makes one line of many");
            log.refused(damage(line, reason))
        }
        csv::ErrorKind::Io(error) => ReadError::unreadable(log.path)(io::Error::new(error.kind(), error.to_string())),
        _ => log.refused(damage(line, error.to_string())),
    }
}
