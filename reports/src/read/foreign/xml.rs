//! Logs in XML: an element a row, directly below the root element, with its cells as attributes.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kernel::run_folder::blocks::LongLine;
use quick_xml::{
    Error, Reader,
    events::{BytesStart, Event},
};

use super::{
    super::ReadError,
    chunks::{Part, joined, line_of, read_chunks},
    csv::Bounded,
    log::{LineError, Log, LogLine, Passed},
};

/// The greatest number of elements inside of each other. The reader keeps their names.
const DEPTH_MAX: usize = 32;

/// The number of rows that are read at once.
const BATCH: usize = 4096;

/// Passes over all rows. They are found one after another, and read on all processors.
pub(super) fn pass<T: Send>(
    log: &Log<'_>,
    start: impl Fn(usize) -> T + Sync,
    add: impl Fn(&mut T, &LogLine<'_>) -> Result<(), String> + Sync,
) -> Result<Passed<T>, ReadError> {
    let read = Arc::new(AtomicUsize::new(0));
    let mut rows = Rows::new(BufReader::new(Bounded { input: log.source.bytes(), read: read.clone() }));
    let mut cut_off = None;
    let mut is_over = false;
    let cut = || {
        let mut batch = Vec::new();
        while !is_over && batch.len() < BATCH {
            read.store(0, Ordering::Relaxed);
            let at = rows.reader.buffer_position();
            match rows.next(|element| batch.push((at, element.to_owned()))) {
                Ok(Next::Row) => {}
                Ok(Next::TooDeep) => {
                    let reason = format!("there are more than {DEPTH_MAX} elements inside of each other");
                    return Err(log.refused(line_of(log, at)?, LineError::Format(reason)));
                }
                Ok(Next::End) => is_over = true,
                Ok(Next::CutOff) => {
                    cut_off = Some(line_of(log, at)?);
                    is_over = true;
                }
                Err(error) => return Err(refused(log, line_of(log, at)?, &error)),
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    };
    let parts = read_chunks(cut, |index, batch: Vec<(u64, BytesStart<'static>)>| {
        let mut part = Part::new(start(index));
        let mut cells = vec![None; log.watched.len()];
        for (at, element) in batch {
            let added = fill(&mut cells, &log.watched, &element).and_then(|()| {
                add(&mut part.result, &|column| cells.get(column)?.as_deref().filter(|text| !text.is_empty()))
            });
            if let Err(reason) = added {
                part.refuse(at, reason);
            }
        }
        Ok(part)
    })?;
    let passed = joined(parts, |at| line_of(log, at))?;
    Ok(Passed { cut_off, ..passed })
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
