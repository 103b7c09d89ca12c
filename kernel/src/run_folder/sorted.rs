//! Sorting a file of rows that may be larger than memory: an external merge.
//!
//! The file is read in runs of rows, each of which is sorted in memory and written to one scratch file; then all runs are
//! merged. Lines are copied as they are. Memory is bounded by one run, and by one buffer for each run.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    error::Error,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use serde::de::DeserializeOwned;

use super::{
    atomic::staging_for,
    blocks::{LINE_MAX, LongLine},
    error::{FolderError, LineError, RowKind},
    files::{Files, OpenFile},
};
use crate::{
    input,
    record::{Ordered, Position},
};

/// Rows that are sorted at once in memory.
const RUN_ROWS: usize = 1 << 16;

/// Bytes of lines that are sorted at once in memory, whichever is reached first.
const RUN_BYTES: usize = 32 << 20;

/// Bytes that are read at once from each run while runs are merged.
const BUFFER: usize = 1 << 15;

/// Bytes before each line in the scratch file: its position, and its length.
const HEADER: usize = 16;

/// The rows of a file, to be written in their order.
pub(super) struct Sorter<'a> {
    files: &'a dyn Files,
    path: &'a Path,
    /// The path beside which the scratch file is created.
    output: &'a Path,
    kind: &'static RowKind,
    run: Run,
    scratch: Option<Scratch>,
    run_rows: usize,
}

/// Rows in memory: their lines one behind another, and where each is.
#[derive(Default)]
struct Run {
    text: Vec<u8>,
    lines: Vec<(Position, usize, usize)>,
}

/// The scratch file with the sorted runs. It has no name, so that nothing stays of it whatever ends this process.
struct Scratch {
    input: File,
    output: BufWriter<Box<dyn OpenFile>>,
    length: u64,
    /// The end of each run.
    ends: Vec<u64>,
}

impl<'a> Sorter<'a> {
    /// Creates a sorter of the file at `path`, whose rows go to `output`.
    pub(super) fn new(files: &'a dyn Files, path: &'a Path, output: &'a Path, kind: &'static RowKind) -> Self {
        Self { files, path, output, kind, run: Run::default(), scratch: None, run_rows: RUN_ROWS }
    }

    /// Calls `take` with the line of each row, with its line break, in order of position; rows of one position stay in the
    /// order of the file. Rows that `keep` refuses are left out, and so is a last line that is cut off.
    ///
    /// # Errors
    ///
    /// Returns an error if `take` does, if a line is not a row, or if the operating system refuses.
    pub(super) fn sort<T: DeserializeOwned + Ordered>(
        mut self,
        keep: impl Fn(&T) -> bool,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        self.read_runs(keep)?;
        let unwritable = self.kind.folder.unwritable(self.output);
        let Some(scratch) = self.scratch.take() else { return self.run.for_each_sorted(take).map_err(unwritable) };
        let merged = self.write_run(scratch).and_then(|mut scratch| scratch.merge(&mut take));
        merged.map_err(unwritable)
    }

    fn read_runs<T: DeserializeOwned + Ordered>(&mut self, keep: impl Fn(&T) -> bool) -> Result<(), FolderError> {
        let file = input::open_file(self.path).map_err(self.kind.folder.missing_or_unreadable(self.path))?;
        let mut input = BufReader::new(file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let mut bounded = (&mut input).take(LINE_MAX as u64 + 1);
            let read = bounded.read_until(b'\n', &mut line).map_err(FolderError::unreadable(self.path))?;
            // A file without line breaks must not fill the memory.
            if read > LINE_MAX {
                return Err(self.malformed(number, LongLine));
            }
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            let row: T = serde_json::from_slice(&line).map_err(|error| self.malformed(number, LineError(error)))?;
            if !keep(&row) {
                continue;
            }
            self.run.push(row.position(), &line);
            if self.run.lines.len() >= self.run_rows || self.run.text.len() >= RUN_BYTES {
                let unwritable = self.kind.folder.unwritable(self.output);
                let scratch = match self.scratch.take() {
                    Some(scratch) => Ok(scratch),
                    None => Scratch::create(self.files, self.output),
                };
                self.scratch = Some(scratch.and_then(|scratch| self.write_run(scratch)).map_err(unwritable)?);
            }
        }
        Ok(())
    }

    fn malformed(&self, line: usize, reason: impl Into<Box<dyn Error + Send + Sync>>) -> FolderError {
        FolderError::Malformed { path: self.path.to_owned(), line, kind: self.kind, reason: reason.into() }
    }

    /// Moves the rows in memory to the scratch file, as one run.
    fn write_run(&mut self, mut scratch: Scratch) -> io::Result<Scratch> {
        self.run.sort();
        for (position, start, end) in &self.run.lines {
            scratch.push(*position, &self.run.text[*start..*end])?;
        }
        scratch.ends.push(scratch.length);
        self.run.clear();
        Ok(scratch)
    }
}

impl Run {
    fn push(&mut self, position: Position, line: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(line);
        self.lines.push((position, start, self.text.len()));
    }

    fn sort(&mut self) {
        // The start of a line is in its key, so that rows of one position stay in order.
        self.lines.sort_unstable();
    }

    fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }

    fn for_each_sorted(&mut self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.sort();
        self.lines.iter().try_for_each(|(_, start, end)| take(&self.text[*start..*end]))
    }
}

impl Scratch {
    fn create(files: &dyn Files, path: &Path) -> io::Result<Self> {
        let path = staging_for(path);
        let output = BufWriter::new(files.create(&path)?);
        let input = File::open(&path);
        files.remove_file(&path)?;
        Ok(Self { input: input?, output, length: 0, ends: Vec::new() })
    }

    fn push(&mut self, (position, number): Position, line: &[u8]) -> io::Result<()> {
        let length = u32::try_from(line.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        self.output.write_all(&position.to_le_bytes())?;
        self.output.write_all(&number.to_le_bytes())?;
        self.output.write_all(&length.to_le_bytes())?;
        self.output.write_all(line)?;
        self.length += (HEADER + line.len()) as u64;
        Ok(())
    }

    /// Calls `take` with the lines of all runs in order of position.
    fn merge(&mut self, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.output.flush()?;
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let mut runs: Vec<_> = starts.zip(&self.ends).map(|(at, end)| RunReader::new(&self.input, at, *end)).collect();
        let mut next = BinaryHeap::with_capacity(runs.len());
        for (index, run) in runs.iter_mut().enumerate() {
            next.extend(run.advance()?.map(|position| Reverse((position, index))));
        }
        while let Some(Reverse((_, index))) = next.pop() {
            take(&runs[index].line)?;
            next.extend(runs[index].advance()?.map(|position| Reverse((position, index))));
        }
        Ok(())
    }
}

/// Reads one run of the scratch file.
struct RunReader<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
    /// The line of the row that was read last.
    line: Vec<u8>,
}

impl<'a> RunReader<'a> {
    fn new(file: &'a File, at: u64, end: u64) -> Self {
        Self { file, at, end, buffer: Vec::new(), used: 0, line: Vec::new() }
    }

    /// Reads the next row, and returns its position; none at the end of the run.
    fn advance(&mut self) -> io::Result<Option<Position>> {
        let mut header = [0; HEADER];
        if self.used == self.buffer.len() && self.at == self.end {
            return Ok(None);
        }
        self.fill(&mut header)?;
        let (position, rest) = header.split_at(8);
        let (number, length) = rest.split_at(4);
        let mut line = std::mem::take(&mut self.line);
        line.resize(u32::from_le_bytes(fixed(length)) as usize, 0);
        self.fill(&mut line)?;
        self.line = line;
        Ok(Some((u64::from_le_bytes(fixed(position)), u32::from_le_bytes(fixed(number)))))
    }

    fn fill(&mut self, mut wanted: &mut [u8]) -> io::Result<()> {
        while !wanted.is_empty() {
            if self.used == self.buffer.len() {
                self.buffer.resize(BUFFER.min((self.end - self.at) as usize), 0);
                if self.buffer.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.file.read_exact_at(&mut self.buffer, self.at)?;
                self.at += self.buffer.len() as u64;
                self.used = 0;
            }
            let count = wanted.len().min(self.buffer.len() - self.used);
            let (now, later) = wanted.split_at_mut(count);
            now.copy_from_slice(&self.buffer[self.used..self.used + count]);
            self.used += count;
            wanted = later;
        }
        Ok(())
    }
}

/// Returns bytes whose number is known as an array.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::{
        super::{error::sample::NUMBERS, files::OsFiles},
        *,
    };

    /// A row that is a position and a text.
    #[derive(serde::Deserialize)]
    struct Item(u64, String);

    impl Ordered for Item {
        fn position(&self) -> Position {
            (self.0, 0)
        }
    }

    /// Returns what is in the folder after sorting `text` in runs of `run_rows`, and the sorted lines.
    fn sorted(text: &str, run_rows: usize) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        fs::write(&path, text).unwrap();
        let mut lines = Vec::new();
        let sorter = Sorter { run_rows, ..Sorter::new(&OsFiles, &path, &path, &NUMBERS) };
        let sorted = sorter.sort(
            |item: &Item| item.1 != "left out",
            |line| {
                lines.extend_from_slice(line);
                Ok(())
            },
        );
        assert_eq!(OsFiles.list(folder.path()).unwrap(), ["rows.jsonl"], "no scratch file is left");
        sorted.map_err(|error| error.to_string().split_once("rows.jsonl").unwrap().1.to_owned())?;
        Ok(String::from_utf8(lines).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_stable_sort_whatever_the_size_of_a_run(
            keys in prop::collection::vec(0..20_u64, 0..200),
            run_rows in 1..50_usize,
        ) {
            let mut items: Vec<_> = keys.into_iter().zip(0..).collect::<Vec<(u64, u64)>>();
            let line = |(key, index): &(u64, u64)| format!("[{key},\"{index}\"]\n");
            let text: String = items.iter().map(line).collect();
            items.sort_by_key(|(key, _)| *key);
            let expected: String = items.iter().map(line).collect();
            prop_assert_eq!(sorted(&text, run_rows), Ok(expected));
        }
    }

    #[test]
    fn lines_longer_than_a_buffer_are_copied_as_they_are() {
        let long = "x".repeat(3 * BUFFER);
        let text = format!("[2,\"{long}\"]\n[1, \"as it is\"]\n[0,\"{long}y\"]\n");
        let expected = format!("[0,\"{long}y\"]\n[1, \"as it is\"]\n[2,\"{long}\"]\n");
        assert_eq!(sorted(&text, 1), Ok(expected));
    }

    #[test]
    fn refused_rows_and_an_unfinished_line_are_left_out() {
        assert_eq!(
            sorted("[2,\"b\"]\n[1,\"left out\"]\n[0,\"a\"]\n[0,\"cut o", 1),
            Ok("[0,\"a\"]\n[2,\"b\"]\n".into())
        );
        assert_eq!(sorted("", 1), Ok(String::new()));
    }

    #[test]
    fn a_line_that_is_not_a_row_is_named() {
        let message = sorted("[0,\"a\"]\n[1]\n[2,\"b\"]\n", 1).unwrap_err();
        assert!(message.starts_with(":2 is not a number: "), "{message}");
    }
}
