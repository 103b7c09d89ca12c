//! The rows of a run that is under way: they are added to the files of its folder as they come, in order of arrival.
//!
//! The folder stays whatever ends the run, and holds every row that was written before. A last line that a kill cut off is
//! left out by readers. When the run has ended, [`sorted`](super::sorted) brings the files into their documented order.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::{FolderError, FolderKind},
    files::{Files, OpenFile},
    lines::add_line,
};
use crate::record::Row;
use serde::Serialize;

/// Lines that wait to be written, by file.
#[derive(Debug, Default)]
pub struct WaitingLines {
    requests: Vec<u8>,
    attempts: Vec<u8>,
    events: Vec<u8>,
    /// The calls between services; empty in a run without such calls.
    calls: Vec<u8>,
}

impl WaitingLines {
    /// Adds a row as a line of its file, and returns the line.
    pub fn push(&mut self, row: &Row) -> &[u8] {
        match row {
            Row::Request(row) => add(&mut self.requests, row),
            Row::Attempt(row) => add(&mut self.attempts, row),
            Row::Event(row) => add(&mut self.events, row),
            Row::Call(row) => add(&mut self.calls, row),
        }
    }

    /// Returns the number of bytes that wait.
    pub fn len(&self) -> usize {
        self.requests.len() + self.attempts.len() + self.events.len() + self.calls.len()
    }

    /// Returns whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Adds a row as a line behind `lines`, and returns it.
fn add<'a>(lines: &'a mut Vec<u8>, row: &impl Serialize) -> &'a [u8] {
    let start = lines.len();
    add_line(lines, row);
    &lines[start..]
}

/// The files of rows of a run that is under way.
#[derive(Debug)]
pub struct Journal {
    files: Arc<dyn Files>,
    kind: &'static FolderKind,
    requests: JournalFile,
    attempts: JournalFile,
    events: JournalFile,
    /// The file of inner calls, if the services of the run call each other.
    calls: Option<JournalFile>,
}

/// A file that grows.
#[derive(Debug)]
struct JournalFile {
    path: PathBuf,
    file: Box<dyn OpenFile>,
    /// The same file, to be read once it was removed by somebody else.
    content: File,
    /// The length of all complete lines in bytes.
    length: u64,
}

impl Journal {
    /// Creates the files called `names`, of requests, attempts and events, and that of inner calls if there is one, in the folder at `place`.
    pub(super) fn create(
        files: Arc<dyn Files>,
        kind: &'static FolderKind,
        place: &Path,
        names: [&str; 3],
        calls: Option<&str>,
    ) -> Result<Self, FolderError> {
        let create = |name: &str| {
            let path = place.join(name);
            JournalFile::create(&*files, &path).map_err(kind.unwritable(&path))
        };
        let [requests, attempts, events] = names.map(create);
        let calls = calls.map(create).transpose()?;
        let journal = Self { kind, requests: requests?, attempts: attempts?, events: events?, calls, files };
        journal.files.sync_folder(place).map_err(kind.unwritable(place))?;
        Ok(journal)
    }

    /// Writes the lines that wait, and leaves none. They are then safe from the end of this process, but not from that of
    /// the machine; see [`syncer`](Self::syncer).
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses. A line that was written in part is cut off again.
    pub fn append(&mut self, lines: &mut WaitingLines) -> Result<(), FolderError> {
        self.requests.append(self.kind, &mut lines.requests)?;
        self.attempts.append(self.kind, &mut lines.attempts)?;
        self.events.append(self.kind, &mut lines.events)?;
        match &mut self.calls {
            Some(calls) => calls.append(self.kind, &mut lines.calls),
            // Only services that call each other have such rows.
            None => {
                lines.calls.clear();
                Ok(())
            }
        }
    }

    /// Returns what brings the lines to the disk, on another thread: that may take long, and lines come meanwhile.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn syncer(&self) -> Result<JournalSyncer, FolderError> {
        let files = [&self.requests, &self.attempts, &self.events].into_iter().chain(&self.calls).map(|file| {
            let opened = self.files.append(&file.path).map_err(self.kind.unwritable(&file.path))?;
            Ok((file.path.clone(), opened))
        });
        Ok(JournalSyncer { kind: self.kind, files: files.collect::<Result<_, FolderError>>()? })
    }

    /// Checks that the files are where they were created. Of those that somebody has removed or moved away, the content is
    /// written again at its place, as it would be lost otherwise when this process ends.
    ///
    /// # Errors
    ///
    /// Returns an error that says so if the files were removed, or another one if they cannot be written again.
    pub fn check_place(&mut self) -> Result<(), FolderError> {
        let files = self.files.clone();
        let kind = self.kind;
        let mut removed = None;
        for file in self.all() {
            let path = file.path.clone();
            if !file.file.is_at(&path).map_err(FolderError::unreadable(&path))? {
                file.write_again(&*files).map_err(kind.unwritable(&path))?;
                removed.get_or_insert(path);
            }
        }
        removed.map_or(Ok(()), |path| Err(FolderError::Removed { path }))
    }

    fn all(&mut self) -> impl Iterator<Item = &mut JournalFile> {
        [&mut self.requests, &mut self.attempts, &mut self.events].into_iter().chain(&mut self.calls)
    }
}

/// Brings the lines of a [`Journal`] to the disk.
#[derive(Debug)]
pub struct JournalSyncer {
    kind: &'static FolderKind,
    files: Vec<(PathBuf, Box<dyn OpenFile>)>,
}

impl JournalSyncer {
    /// Waits until all lines that were written before are on the disk, so that they survive a power failure.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses, or the disk failed.
    pub fn sync(&mut self) -> Result<(), FolderError> {
        self.files.iter_mut().try_for_each(|(path, file)| file.sync().map_err(self.kind.unwritable(path)))
    }
}

impl JournalFile {
    fn create(files: &dyn Files, path: &Path) -> io::Result<Self> {
        let file = files.create(path)?;
        Ok(Self { path: path.to_owned(), file, content: File::open(path)?, length: 0 })
    }

    fn append(&mut self, kind: &'static FolderKind, lines: &mut Vec<u8>) -> Result<(), FolderError> {
        let mut written = 0;
        while written < lines.len() {
            match self.file.write(&lines[written..]) {
                Ok(0) => return Err(self.cut_off(kind, &lines[..written], io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut_off(kind, &lines[..written], error)),
            }
        }
        self.length += lines.len() as u64;
        lines.clear();
        Ok(())
    }

    /// Cuts the file off behind its last complete line, of which `written` is the end, and returns the error.
    fn cut_off(&mut self, kind: &'static FolderKind, written: &[u8], reason: io::Error) -> FolderError {
        self.length += written.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1);
        // Readers leave the rest of a line out; an error here is not the one to report.
        let _ = self.file.truncate(self.length);
        kind.unwritable(&self.path)(reason)
    }

    /// Writes the content of the file, which is no longer at its path, to a new file there.
    fn write_again(&mut self, files: &dyn Files) -> io::Result<()> {
        files.create_folder(self.path.parent().unwrap_or(Path::new("")))?;
        // Something else at the path is not ours to remove: then this fails.
        let mut file = files.create(&self.path)?;
        io::copy(&mut &self.content, &mut file)?;
        file.sync()?;
        self.file = file;
        self.content = fs::File::open(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            error::sample::NUMBERS,
            files::{OsFiles, failing::FailingFiles},
        },
        *,
    };
    use crate::record::AttemptRow;

    const NAMES: [&str; 3] = ["requests.jsonl", "attempts.jsonl", "events.jsonl"];

    fn attempt(request: u64) -> Row {
        let line = format!(
            r#"{{"request":{request},"attempt":1,"server":"server-0","start_us":0,"end_us":1,"status":"OK","cause":null}}"#
        );
        Row::Attempt(serde_json::from_str::<AttemptRow>(&line).unwrap())
    }

    fn waiting(requests: impl IntoIterator<Item = u64>) -> WaitingLines {
        let mut lines = WaitingLines::default();
        for request in requests {
            lines.push(&attempt(request));
        }
        lines
    }

    fn create(files: Arc<dyn Files>, place: &Path) -> Journal {
        Journal::create(files, NUMBERS.folder, place, NAMES, None).unwrap()
    }

    fn ids(place: &Path) -> Vec<u64> {
        let text = fs::read_to_string(place.join("attempts.jsonl")).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "a line is cut off: {text}");
        text.lines().map(|line| serde_json::from_str::<AttemptRow>(line).unwrap().request).collect()
    }

    #[test]
    fn rows_are_in_their_files_in_order_of_arrival() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = create(Arc::new(OsFiles), folder.path());
        let mut lines = waiting([2, 1]);
        journal.append(&mut lines).unwrap();
        assert!(lines.is_empty());
        journal.append(&mut waiting([0])).unwrap();
        journal.syncer().unwrap().sync().unwrap();
        journal.check_place().unwrap();
        assert_eq!(ids(folder.path()), [2, 1, 0]);
        let empty = |name: &str| fs::read(folder.path().join(name)).unwrap().is_empty();
        assert!(empty("requests.jsonl") && empty("events.jsonl"));
    }

    #[test]
    fn a_disk_that_is_full_leaves_the_complete_lines() {
        // Three files are created and their folder is synchronised; then each call is a write.
        for calls in 0..12 {
            let folder = tempfile::tempdir().unwrap();
            let files = FailingFiles::failing_at(calls);
            let Ok(mut journal) = Journal::create(files.clone(), NUMBERS.folder, folder.path(), NAMES, None) else {
                continue;
            };
            let written =
                (0..4).map(|request| journal.append(&mut waiting([request]))).take_while(Result::is_ok).count();
            assert_eq!(ids(folder.path()), (0..written as u64).collect::<Vec<_>>(), "failed at call {calls}");
            assert!(written == 4 || files.has_stopped());
        }
    }

    #[test]
    fn files_that_were_removed_are_written_again_with_all_rows() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("run.partial");
        fs::create_dir(&place).unwrap();
        let mut journal = create(Arc::new(OsFiles), &place);
        journal.append(&mut waiting([5, 4])).unwrap();
        fs::remove_dir_all(&place).unwrap();
        journal.append(&mut waiting([6])).unwrap();
        let error = journal.check_place().unwrap_err().to_string();
        assert!(
            error.ends_with("requests.jsonl was removed during the run; what was recorded is there again"),
            "{error}"
        );
        assert_eq!(ids(&place), [5, 4, 6]);
        journal.append(&mut waiting([7])).unwrap();
        journal.check_place().unwrap();
        assert_eq!(ids(&place), [5, 4, 6, 7]);
    }
}
