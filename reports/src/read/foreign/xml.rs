//! Logs in XML: an element a row, directly below the root element, with its cells as attributes.

use std::{
    cell::Cell,
    collections::BTreeSet,
    io::{self, BufRead, BufReader},
    rc::Rc,
};

use kernel::run_folder::blocks::{LongLine, line_at};
use quick_xml::{
    Error, Reader,
    events::{BytesStart, Event},
};

use super::{
    super::{ReadError, bad_rows::BadRows},
    csv::Bounded,
    log::{LineError, Log, LogLine, Passed},
};

/// The greatest number of elements inside of each other. The reader keeps their names.
const DEPTH_MAX: usize = 32;

/// Passes over all rows one after another.
pub(super) fn pass<T>(
    log: &Log<'_>,
    mut part: T,
    add: impl Fn(&mut T, &LogLine<'_>) -> Result<(), String>,
) -> Result<Passed<T>, ReadError> {
    let read = Rc::new(Cell::new(0));
    let mut rows = Rows::new(BufReader::new(Bounded { input: log.source.bytes(), read: read.clone() }));
    let mut cells = vec![None; log.watched.len()];
    let mut bad = BadRows::default();
    let mut cut_off = None;
    let mut failure = None;
    loop {
        read.set(0);
        let at = rows.reader.buffer_position();
        let line = || line_at(&log.source.file, at);
        match rows.next(|element| {
            let added = fill(&mut cells, &log.watched, element).and_then(|()| {
                add(&mut part, &|column: usize| cells.get(column)?.as_deref().filter(|text| !text.is_empty()))
            });
            if let Err(reason) = added {
                bad.add(|| line().inspect_err(|error| failure = Some(error.kind())).unwrap_or(0), reason);
            }
        }) {
            Ok(Next::Row) => {}
            Ok(Next::TooDeep) => {
                let line = line().map_err(ReadError::unreadable(log.path))?;
                let reason = format!("there are more than {DEPTH_MAX} elements inside of each other");
                return Err(log.refused(line, LineError::Format(reason)));
            }
            Ok(Next::End) => break,
            Ok(Next::CutOff) => {
                cut_off = Some(line().map_err(ReadError::unreadable(log.path))?);
                break;
            }
            Err(error) => return Err(refused(log, line().map_err(ReadError::unreadable(log.path))?, &error)),
        }
    }
    match failure {
        Some(kind) => Err(ReadError::unreadable(log.path)(kind.into())),
        None => Ok(Passed { parts: vec![part], cut_off, bad }),
    }
}

/// What was read.
enum Next {
    /// Something, and there may be more.
    Row,
    End,
    /// An element inside of too many others.
    TooDeep,
    /// The end of the bytes, but not of the document.
    CutOff,
}

/// The elements below the root.
struct Rows<R> {
    reader: Reader<R>,
    buffer: Vec<u8>,
    depth: usize,
}

impl<R: BufRead> Rows<R> {
    fn new(input: R) -> Self {
        Self { reader: Reader::from_reader(input), buffer: Vec::new(), depth: 0 }
    }

    /// Reads on, and calls `row` if there is a row.
    fn next(&mut self, row: impl FnOnce(&BytesStart<'_>)) -> Result<Next, Error> {
        self.buffer.clear();
        let event = match self.reader.read_event_into(&mut self.buffer) {
            // A program that was killed leaves a tag or a comment that has no end.
            Err(Error::Syntax(_)) => return Ok(Next::CutOff),
            event => event?,
        };
        match event {
            Event::Start(element) => {
                if self.depth == 1 {
                    row(&element);
                }
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Ok(Next::TooDeep);
                }
            }
            Event::Empty(element) if self.depth == 1 => row(&element),
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::Eof if self.depth > 0 => return Ok(Next::CutOff),
            Event::Eof => return Ok(Next::End),
            _ => {}
        }
        Ok(Next::Row)
    }
}

/// Sets the cells to the attributes of an element.
fn fill(cells: &mut [Option<String>], watched: &[String], element: &BytesStart<'_>) -> Result<(), String> {
    cells.iter_mut().for_each(|cell| *cell = None);
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let column = watched.binary_search_by(|name| name.as_bytes().cmp(attribute.key.as_ref()));
        if let Ok(column) = column {
            cells[column] = Some(attribute.unescape_value().map_err(|error| error.to_string())?.into_owned());
        }
    }
    Ok(())
}

/// Returns the names of the attributes of the first rows.
pub(super) fn names(text: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut rows = Rows::new(text.as_bytes());
    loop {
        let next = rows.next(|element| {
            let keys = element.attributes().flatten().map(|attribute| attribute.key);
            names.extend(keys.map(|key| String::from_utf8_lossy(key.as_ref()).into_owned()));
        });
        if !matches!(next, Ok(Next::Row)) {
            return names.into_iter().collect();
        }
    }
}

fn refused(log: &Log<'_>, line: usize, error: &Error) -> ReadError {
    match error {
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<LongLine>()) => {
            log.refused(line, LineError::Long)
        }
        Error::Io(error) => ReadError::unreadable(log.path)(io::Error::new(error.kind(), error.to_string())),
        _ => log.refused(line, LineError::Format(error.to_string())),
    }
}
