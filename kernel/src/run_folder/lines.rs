//! Files with a JSON value a line: writing and reading them.

use std::{
    io::{self, BufRead, BufReader, Read},
    marker::PhantomData,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    blocks::{LINE_MAX, LongLine},
    error::{FolderError, LineError, RowKind},
    files::Files,
};

/// Returns a row as its line of a file.
///
/// ```
/// use kernel::run_folder::lines::line;
///
/// assert_eq!(line(&[1, 2]), b"[1,2]\n");
/// ```
pub fn line(row: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::new();
    add_line(&mut line, row);
    line
}

/// Adds a row as its line of a file to `lines`.
pub fn add_line(lines: &mut Vec<u8>, row: &impl Serialize) {
    serde_json::to_writer(&mut *lines, row).expect("rows are plain data");
    lines.push(b'\n');
}

/// Calls `take` with each row as its line of a file, one after another.
///
/// # Errors
///
/// Returns the first error of `take`, after which no row is passed on.
pub fn for_each_line<T: Serialize>(rows: &[T], mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    // One buffer for all: a run has millions of rows.
    let mut line = Vec::new();
    for row in rows {
        line.clear();
        add_line(&mut line, row);
        take(&line)?;
    }
    Ok(())
}

/// The meaning of a last line without a line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnfinishedLine {
    /// The rest of a write that was interrupted: it is left out.
    Skip,
    /// A line like every other.
    Read,
}

/// The rows of a file, read one by one. An error names the file and the line.
pub struct JsonLines<T> {
    input: BufReader<Box<dyn Read + Send>>,
    path: PathBuf,
    kind: &'static RowKind,
    unfinished: UnfinishedLine,
    buffer: Vec<u8>,
    /// The number of the last line that was read, from 1.
    line: usize,
    row: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    /// Opens the file of rows at `path`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such file, or the operating system refuses.
    pub fn open(
        files: &dyn Files,
        path: &Path,
        kind: &'static RowKind,
        unfinished: UnfinishedLine,
    ) -> Result<Self, FolderError> {
        let file = files.open(path).map_err(kind.folder.missing_or_unreadable(path))?;
        let input = BufReader::new(file);
        Ok(Self { input, path: path.to_owned(), kind, unfinished, buffer: Vec::new(), line: 0, row: PhantomData })
    }

    /// Returns the line that was read last, without its line break.
    pub fn last_line(&self) -> &[u8] {
        &self.buffer
    }

    /// Returns the error of the row that was read last, which contradicts what else is known.
    pub fn contradiction(&self, reason: &str) -> FolderError {
        self.malformed(reason)
    }

    fn malformed(&self, reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FolderError {
        FolderError::Malformed { path: self.path.clone(), line: self.line, kind: self.kind, reason: reason.into() }
    }

    /// Reads the next line into the buffer, without its line break; false at the end of the rows.
    fn read_line(&mut self) -> Result<bool, FolderError> {
        self.buffer.clear();
        let mut input = self.input.by_ref().take(LINE_MAX as u64 + 1);
        let read = input.read_until(b'\n', &mut self.buffer).map_err(FolderError::unreadable(&self.path))?;
        if read == 0 {
            return Ok(false);
        }
        self.line += 1;
        // A file without line breaks must not fill the memory.
        if read > LINE_MAX {
            return Err(self.malformed(LongLine));
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            return Ok(true);
        }
        Ok(self.unfinished == UnfinishedLine::Read)
    }
}

impl<T: DeserializeOwned> Iterator for JsonLines<T> {
    type Item = Result<T, FolderError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read_line() {
            Ok(false) => None,
            Ok(true) => Some(serde_json::from_slice(&self.buffer).map_err(|error| self.malformed(LineError(error)))),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::{error::sample::NUMBERS, files::OsFiles},
        *,
    };

    fn read(text: &str, unfinished: UnfinishedLine) -> Result<Vec<u64>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.jsonl");
        fs::write(&path, text).unwrap();
        let rows = JsonLines::open(&OsFiles, &path, &NUMBERS, unfinished).unwrap();
        rows.collect::<Result<_, _>>()
            .map_err(|error: FolderError| error.to_string().split_once("numbers.jsonl").unwrap().1.to_owned())
    }

    #[test]
    fn rows_are_read_back_as_they_were_written() {
        let mut text = Vec::new();
        for_each_line(&[1_u64, 22], |line| {
            text.extend_from_slice(line);
            Ok(())
        })
        .unwrap();
        text.extend(line(&333_u64));
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "1\n22\n333\n");
        assert_eq!(read(&text, UnfinishedLine::Skip).unwrap(), [1, 22, 333]);
        assert!(read("", UnfinishedLine::Skip).unwrap().is_empty());
    }

    #[test]
    fn an_unfinished_last_line_is_skipped_or_read() {
        assert_eq!(read("1\n2", UnfinishedLine::Skip).unwrap(), [1]);
        assert_eq!(read("1\n2", UnfinishedLine::Read).unwrap(), [1, 2]);
    }

    #[test]
    fn a_damaged_line_is_named_with_file_and_number() {
        let message = read("1\n2\nthree\n", UnfinishedLine::Skip).unwrap_err();
        assert_eq!(message, ":3 is not a number: expected ident (column 2); count again");
    }

    #[test]
    fn a_line_that_is_too_long_is_named() {
        let message = read(&format!("1\n{}2\n", " ".repeat(LINE_MAX)), UnfinishedLine::Skip).unwrap_err();
        assert_eq!(message, ":2 is not a number: the line is longer than 16 MiB; count again");
    }

    #[test]
    fn a_row_that_contradicts_others_is_named_like_a_damaged_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.jsonl");
        fs::write(&path, "1\n0\n").unwrap();
        let mut rows = JsonLines::<u64>::open(&OsFiles, &path, &NUMBERS, UnfinishedLine::Read).unwrap();
        assert_eq!(rows.by_ref().map(Result::unwrap).nth(1), Some(0));
        let message = rows.contradiction("it is smaller").to_string();
        assert!(message.ends_with("numbers.jsonl:2 is not a number: it is smaller; count again"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = JsonLines::<u64>::open(&OsFiles, Path::new("none"), &NUMBERS, UnfinishedLine::Skip).err().unwrap();
        assert_eq!(error.to_string(), "none is missing; count again");
    }
}
