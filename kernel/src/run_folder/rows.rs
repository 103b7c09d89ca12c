//! The rows in the files of a run folder, read in passes.

use std::{borrow::Cow, cell::RefCell, fmt, iter, path::Path};

use serde::de::DeserializeOwned;

use super::{
    error::FolderError,
    folder::{ATTEMPTS, EVENTS, REQUESTS, RowFile},
};
use crate::record::{AttemptRow, EventRow, Pass, Records, RequestRow, Rows};

/// The rows of a run folder. Each pass reads a file from its beginning; no row stays in memory.
#[derive(Debug)]
pub struct FileRows<'a> {
    place: &'a Path,
    /// The first error, behind which every pass ends at once.
    failed: RefCell<Option<FolderError>>,
}

impl FileRows<'_> {
    /// Returns what `work` computes from the rows of the run folder at `place`. A last line that is cut off is left out.
    ///
    /// # Errors
    ///
    /// Returns an error if a file is missing or cannot be read, or if a line is not a row, whatever `work` returns: it has not
    /// seen all rows then.
    pub fn read<T>(place: &Path, work: impl FnOnce(&dyn Rows) -> T) -> Result<T, FolderError> {
        let rows = FileRows { place, failed: RefCell::new(None) };
        let result = work(&rows);
        rows.failed.into_inner().map_or(Ok(result), Err)
    }

    fn pass<T: DeserializeOwned + Clone + fmt::Debug>(&self, file: &'static RowFile<T>) -> Pass<'_, T> {
        if self.failed.borrow().is_some() {
            return Box::new(iter::empty());
        }
        match file.lines(self.place) {
            Ok(lines) => Box::new(lines.map_while(|row| self.succeeded(row).map(Cow::Owned))),
            Err(error) => {
                self.succeeded::<()>(Err(error));
                Box::new(iter::empty())
            }
        }
    }

    /// Returns the value, or keeps the error.
    fn succeeded<T>(&self, result: Result<T, FolderError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error);
                None
            }
        }
    }
}

impl Rows for FileRows<'_> {
    fn requests(&self) -> Pass<'_, RequestRow> {
        self.pass(&REQUESTS)
    }

    fn attempts(&self) -> Pass<'_, AttemptRow> {
        self.pass(&ATTEMPTS)
    }

    fn events(&self) -> Pass<'_, EventRow> {
        self.pass(&EVENTS)
    }
}

/// Reads all rows of the run folder at `place` into memory. For a run that may be long there is [`FileRows`].
///
/// # Errors
///
/// Returns an error if a file is missing or cannot be read, or if a line is not a row.
pub fn read_records(place: &Path) -> Result<Records, FolderError> {
    Ok(Records {
        requests: REQUESTS.lines(place)?.collect::<Result<_, _>>()?,
        attempts: ATTEMPTS.lines(place)?.collect::<Result<_, _>>()?,
        events: EVENTS.lines(place)?.collect::<Result<_, _>>()?,
    })
}
