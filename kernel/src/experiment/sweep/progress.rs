//! The folder of a sweep while its runs come in.
//!
//! The row of each run is appended to `progress.jsonl`, in the order in which runs end: whatever ends the process, the
//! rows are kept, and the next process with the same runs continues from there. In the end `runs.jsonl` has all rows in
//! order, and `progress.jsonl` is removed. At any time at least one of the two files has a complete copy of each row.

use std::{
    collections::BTreeMap,
    fs::TryLockError,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    RunRow, SweepError, SweepIdentity,
    folder::{FILES, KIND, PROGRESS, RUNS, prepare, read_rows, write_rows},
};
use crate::run_folder::{Files, FolderError, OpenFile, OsFiles, atomic, lines::line};

/// A sweep's folder that only this process writes to.
#[derive(Debug)]
pub struct OpenSweepFolder {
    files: Arc<dyn Files>,
    place: PathBuf,
    /// Open file of the progress, whose lock keeps other processes out.
    progress: Box<dyn OpenFile>,
    rows: BTreeMap<(usize, u64), RunRow>,
}

impl OpenSweepFolder {
    /// Opens the folder at `place` with the rows that are in it, or creates it. `scenario` is the text of its scenario.
    ///
    /// # Errors
    ///
    /// Returns an error if `place` has something else, the folder is of other runs, another process writes to it, or the
    /// operating system refuses.
    pub fn open(place: &Path, identity: &SweepIdentity, scenario: &str) -> Result<Self, SweepError> {
        let files: Arc<dyn Files> = Arc::new(OsFiles);
        prepare(&*files, place, identity, scenario)?;
        let path = place.join(PROGRESS);
        let progress = files.append(&path).map_err(KIND.unwritable(&path))?;
        progress.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SweepError::InUse { path: place.to_owned() },
            TryLockError::Error(reason) => KIND.unwritable(&path)(reason).into(),
        })?;
        // Not before the lock: these files may be another process's.
        atomic::remove_abandoned(&*files, place, &FILES).map_err(KIND.unwritable(place))?;
        let mut folder = Self { files, place: place.to_owned(), progress, rows: BTreeMap::new() };
        for file in [RUNS, PROGRESS] {
            let rows = read_rows(&*folder.files, &place.join(file))?;
            folder.rows.extend(rows.into_iter().map(|row| (row.key(), row)));
        }
        // The progress is moved to the other file and starts again, as nothing may be appended to a line that was cut off.
        write_rows(&*folder.files, place, folder.rows.values())?;
        folder.progress.truncate(0).map_err(KIND.unwritable(&path))?;
        Ok(folder)
    }

    /// Returns the path of the folder.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Returns the first row in order of variant, then seed; `None` if there are no rows yet.
    pub fn first(&self) -> Option<&RunRow> {
        self.rows.values().next()
    }

    /// Returns true if the run of `variant` with `seed` has a row.
    pub fn contains(&self, variant: usize, seed: u64) -> bool {
        self.rows.contains_key(&(variant, seed))
    }

    /// Returns the number of rows.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Appends a row. It outlives this process from then on.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn append(&mut self, row: RunRow) -> Result<(), FolderError> {
        // In one write, so that only the last line can be cut off.
        self.progress.write_all(&line(&row)).map_err(KIND.unwritable(&self.place.join(PROGRESS)))?;
        self.rows.insert(row.key(), row);
        Ok(())
    }

    /// Writes all rows in order, and returns them.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn close(mut self) -> Result<Vec<RunRow>, FolderError> {
        write_rows(&*self.files, &self.place, self.rows.values())?;
        let path = self.place.join(PROGRESS);
        self.files.remove_file(&path).map_err(KIND.unwritable(&path))?;
        Ok(std::mem::take(&mut self.rows).into_values().collect())
    }
}

impl Drop for OpenSweepFolder {
    /// Releases the lock. Closing the file is not enough: a child process that is starting has a copy of the descriptor until it
    /// executes its program, and the copy would hold the lock until then.
    fn drop(&mut self) {
        let _ = self.progress.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::experiment::sweep::{
        Seeds,
        sample::{identity, row},
    };

    const SCENARIO: &str = "name = \"short\"\n";

    fn open(place: &Path) -> Result<OpenSweepFolder, SweepError> {
        OpenSweepFolder::open(place, &identity(), SCENARIO)
    }

    fn run(seed: u64) -> RunRow {
        row(&identity(), 0, seed)
    }

    fn seeds(rows: &[RunRow]) -> Vec<u64> {
        rows.iter().map(|row| row.seed).collect()
    }

    #[test]
    fn rows_end_up_in_order_whenever_they_came() {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("runs/short");
        let mut sweep = open(&place).unwrap();
        for seed in [3, 1, 2] {
            sweep.append(run(seed)).unwrap();
        }
        assert_eq!(seeds(&sweep.close().unwrap()), [1, 2, 3]);
        let lines = fs::read_to_string(place.join(RUNS)).unwrap();
        assert_eq!(lines.lines().count(), 3);
        assert!(!place.join(PROGRESS).exists());
        // Figures are read back exactly, too.
        assert_eq!(open(&place).unwrap().close().unwrap(), [run(1), run(2), run(3)]);
        assert_eq!(fs::read_to_string(place.join(RUNS)).unwrap(), lines);
    }

    #[test]
    fn rows_survive_a_kill_and_a_cut_off_line_does_not() {
        let folder = TempDir::new().unwrap();
        let mut sweep = open(folder.path()).unwrap();
        for seed in [4, 2] {
            sweep.append(run(seed)).unwrap();
        }
        sweep.progress.write_all(b"{\"variant\":0,\"se").unwrap();
        drop(sweep);
        let mut again = open(folder.path()).unwrap();
        assert!(again.contains(0, 4) && !again.contains(0, 3));
        again.append(run(3)).unwrap();
        assert_eq!(seeds(&again.close().unwrap()), [2, 3, 4]);
    }

    #[test]
    fn a_folder_of_other_runs_is_rejected() {
        let folder = TempDir::new().unwrap();
        open(folder.path()).unwrap().close().unwrap();
        let other = SweepIdentity { seeds: Seeds { start: 0, end: 20 }, ..identity() };
        let rejected = OpenSweepFolder::open(folder.path(), &other, SCENARIO);
        assert!(matches!(rejected, Err(SweepError::OtherRuns { .. })));
    }

    #[test]
    fn one_process_at_a_time_writes_to_a_folder() {
        let folder = TempDir::new().unwrap();
        let first = open(folder.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(SweepError::InUse { .. })));
        drop(first);
        open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_of_something_else_is_left_unchanged() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(open(folder.path()), Err(SweepError::Folder(FolderError::Occupied { .. }))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_malformed_row_is_reported_with_its_line() {
        let folder = TempDir::new().unwrap();
        open(folder.path()).unwrap().close().unwrap();
        fs::write(folder.path().join(RUNS), "{}\n").unwrap();
        let message = open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("runs.jsonl:1 is not the row of a run"), "{message}");
    }
}
