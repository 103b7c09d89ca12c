//! The rows in the files of a run folder, read in passes.

use std::{
    borrow::Cow,
    cell::{OnceCell, RefCell},
    fmt, fs, iter,
    path::Path,
};

use serde::de::DeserializeOwned;

use super::{
    error::FolderError,
    folder::{ATTEMPTS, CALLS, EVENTS, REQUESTS, RowFile},
};
use crate::record::{AttemptRow, CallRow, EventRow, Pass, Records, RequestRow, Rows};

/// The most bytes of files whose rows are kept in memory, where they take about twice as much. Measures and invariants take some
/// twenty passes, and most of the time of each is spent on JSON.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// The rows of a run folder. Each pass reads a file from its beginning, and no row stays in memory; but those of a run of up to
/// 64 MiB are read once and kept.
#[derive(Debug)]
pub struct FileRows<'a> {
    place: &'a Path,
    /// True if rows are kept.
    keeps: bool,
    requests: OnceCell<Vec<RequestRow>>,
    attempts: OnceCell<Vec<AttemptRow>>,
    events: OnceCell<Vec<EventRow>>,
    calls: OnceCell<Vec<CallRow>>,
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
        Self::read_keeping(place, KEPT_BYTES_MAX, work)
    }

    /// Does the same, and keeps the rows of files with at most `most` bytes.
    fn read_keeping<T>(place: &Path, most: u64, work: impl FnOnce(&dyn Rows) -> T) -> Result<T, FolderError> {
        // Of a missing file the first pass says so.
        let sizes = [REQUESTS.name, ATTEMPTS.name, EVENTS.name, CALLS.name].map(|name| fs::metadata(place.join(name)));
        let bytes: u64 = sizes.into_iter().map(|found| found.map_or(0, |found| found.len())).sum();
        let rows = FileRows {
            place,
            keeps: bytes <= most,
            requests: OnceCell::new(),
            attempts: OnceCell::new(),
            events: OnceCell::new(),
            calls: OnceCell::new(),
            failed: RefCell::new(None),
        };
        let result = work(&rows);
        rows.failed.into_inner().map_or(Ok(result), Err)
    }

    /// Returns a pass over the rows of `file`, which are in `kept` from the first one on if rows are kept.
    fn pass<'a, T: DeserializeOwned + Clone + fmt::Debug>(
        &'a self,
        file: &'static RowFile<T>,
        kept: &'a OnceCell<Vec<T>>,
    ) -> Pass<'a, T> {
        if !self.keeps {
            return self.pass_over_file(file);
        }
        let rows = kept.get_or_init(|| self.pass_over_file(file).map(Cow::into_owned).collect());
        Box::new(rows.iter().map(Cow::Borrowed))
    }

    fn pass_over_file<T: DeserializeOwned + Clone + fmt::Debug>(&self, file: &'static RowFile<T>) -> Pass<'_, T> {
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
        self.pass(&REQUESTS, &self.requests)
    }

    fn attempts(&self) -> Pass<'_, AttemptRow> {
        self.pass(&ATTEMPTS, &self.attempts)
    }

    fn all_events(&self) -> Pass<'_, EventRow> {
        self.pass(&EVENTS, &self.events)
    }

    fn calls(&self) -> Pass<'_, CallRow> {
        // Only runs whose services call each other have it.
        if !self.place.join(CALLS.name).exists() {
            return Box::new(iter::empty());
        }
        self.pass(&CALLS, &self.calls)
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
        calls: if place.join(CALLS.name).exists() {
            CALLS.lines(place)?.collect::<Result<_, _>>()?
        } else {
            Vec::new()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_whether_or_not_they_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let requests = (0..3).map(|id| {
            format!(
                r#"{{"id":{id},"intended_us":1,"sent_us":1,"done_us":2,"latency_us":1,"status":"OK","server":null,"attempts":1,"failovers":0,"size":"8x8"}}"#
            )
        });
        fs::write(folder.path().join(REQUESTS.name), requests.map(|line| line + "\n").collect::<String>()).unwrap();
        fs::write(folder.path().join(EVENTS.name), "").unwrap();
        for most in [0, 10_000] {
            let ids = FileRows::read_keeping(folder.path(), most, |rows| {
                assert_eq!(rows.events().count(), 0);
                // Twice, as a second pass of kept rows is another code.
                [(); 2].map(|()| rows.requests().map(|row| row.id).collect::<Vec<_>>())
            });
            assert_eq!(ids.unwrap(), [[0, 1, 2]; 2], "{most}");
            // A file that is missing counts only if it is read.
            let error = FileRows::read_keeping(folder.path(), most, |rows| rows.attempts().count()).unwrap_err();
            assert!(error.to_string().contains("attempts.jsonl is missing"), "{error}");
        }
        fs::write(folder.path().join(ATTEMPTS.name), "{}\n").unwrap();
        for most in [0, 10_000] {
            let error = FileRows::read_keeping(folder.path(), most, |rows| rows.attempts().count()).unwrap_err();
            assert!(error.to_string().contains("attempts.jsonl:1 is not the row of an attempt"), "{error}");
        }
    }
}
