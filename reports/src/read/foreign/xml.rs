//! Logs in XML: an element a row, directly below the root element, with its cells as attributes.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kernel::{entropy::fnv1a, run_folder::blocks::LongLine};
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

/// Passes over all rows. They are found one after another, and read on all processors.
pub(super) fn pass<P, T: Send>(
    log: &Log<'_>,
    start: impl Fn(usize) -> P + Sync,
    add: impl Fn(&mut P, &LogLine<'_>) -> Result<(), String> + Sync,
    end: impl Fn(P) -> T + Sync,
) -> Result<Passed<T>, ReadError> {
    let read = Arc::new(AtomicUsize::new(0));
    let mut rows = Rows::new(BufReader::new(Bounded { input: log.source.bytes(), read: read.clone() }));
    let mut cut_off = None;
    let mut is_over = false;
    let cut = || {
        let mut batch = Vec::new();
        let first = rows.reader.buffer_position();
        while !is_over {
            read.store(0, Ordering::Relaxed);
            let at = rows.reader.buffer_position();
            if at - first >= log.chunk as u64 && !batch.is_empty() {
                break;
            }
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
        let mut cells = Cells::new(&log.watched);
        for (at, element) in batch {
            let read = cells.read(&element);
            let added = read.and_then(|()| add(&mut part.result, &|column| cells.get(column)));
            if let Err(reason) = added {
                part.refuse(at, reason);
            }
        }
        Ok(part.end(&end))
    })?;
    let passed = joined(parts, |at| line_of(log, at))?;
    Ok(Passed { cut_off, ..passed })
}

/// The result of a step of the reader.
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

/// The cells of a row, whose memory the next row uses again.
struct Cells<'a> {
    watched: &'a [String],
    cells: Vec<(bool, String)>,
    /// A digest of each name of the current row.
    names: Vec<u64>,
}

impl<'a> Cells<'a> {
    fn new(watched: &'a [String]) -> Self {
        Self { watched, cells: vec![(false, String::new()); watched.len()], names: Vec::new() }
    }

    fn get(&self, column: usize) -> Option<&str> {
        let cell = self.cells.get(column).filter(|(is_there, _)| *is_there).map(|(_, text)| text.as_str());
        cell.filter(|text| !text.is_empty())
    }

    /// Sets the cells to the attributes of an element.
    fn read(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        self.cells.iter_mut().for_each(|(is_there, _)| *is_there = false);
        self.names.clear();
        // The parser's own check compares each name with all others, letter by letter.
        for attribute in element.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            let name = fnv1a(attribute.key.as_ref().iter().copied());
            if self.names.contains(&name) {
                element
                    .attributes()
                    .try_for_each(|attribute| attribute.map(drop))
                    .map_err(|error| error.to_string())?;
            }
            self.names.push(name);
            let column = self.watched.binary_search_by(|name| name.as_bytes().cmp(attribute.key.as_ref()));
            if let Ok(column) = column {
                let value = attribute.unescape_value().map_err(|error| error.to_string())?;
                let (is_there, text) = &mut self.cells[column];
                *is_there = true;
                text.clear();
                text.push_str(&value);
            }
        }
        Ok(())
    }
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
