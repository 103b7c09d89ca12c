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
    checked_rows::{self, Chain, Unchecked},
    folder::{FILES, Found, KIND, PROGRESS, examine, remove_rows, start, write_rows},
};
use crate::run_folder::{
    Earlier, Files, FolderError, OpenFile, OsFiles, atomic, manifest::is_file, replace::is_absent,
};

/// A sweep's folder that only this process writes to.
#[derive(Debug)]
pub struct OpenSweepFolder {
    files: Arc<dyn Files>,
    place: PathBuf,
    identity: SweepIdentity,
    /// Open file of the progress, whose lock keeps other processes out.
    progress: Box<dyn OpenFile>,
    /// Checksum of the rows in the progress.
    chain: Chain,
    rows: BTreeMap<(usize, u64), RunRow>,
}

impl OpenSweepFolder {
    /// Opens the folder at `place` with the rows that are in it, or creates it. `scenario` is the text of its scenario. With
    /// [`Earlier::Force`] it starts without rows, and replaces a sweep of other runs, too.
    ///
    /// # Errors
    ///
    /// Returns an error if `place` has something else, the folder is of other runs, a row of it cannot be trusted, another
    /// process writes to it, or the operating system refuses.
    pub fn open(place: &Path, identity: &SweepIdentity, scenario: &str, earlier: Earlier) -> Result<Self, SweepError> {
        Self::open_with(Arc::new(OsFiles), place, identity, scenario, earlier)
    }

    fn open_with(
        files: Arc<dyn Files>,
        place: &Path,
        identity: &SweepIdentity,
        scenario: &str,
        earlier: Earlier,
    ) -> Result<Self, SweepError> {
        // Before anything is created; under the lock it is looked at again.
        examine(&*files, place, identity, scenario, earlier)?;
        files.create_folder(place).map_err(KIND.unwritable(place))?;
        let path = place.join(PROGRESS);
        let progress = lock(&*files, place, &path)?;
        let chain = Chain::new(identity, PROGRESS);
        let identity = identity.clone();
        let mut folder = Self { files, place: place.to_owned(), identity, progress, chain, rows: BTreeMap::new() };
        folder.begin(scenario, earlier)?;
        Ok(folder)
    }

    /// Reads the rows, or begins the folder, under the lock.
    fn begin(&mut self, scenario: &str, earlier: Earlier) -> Result<(), SweepError> {
        let Self { files, place, identity, progress, rows, .. } = self;
        let files = &**files;
        let path = place.join(PROGRESS);
        let found = examine(files, place, identity, scenario, earlier)?;
        // Not before the lock: these files may be another process's.
        atomic::remove_abandoned(files, place, &FILES).map_err(KIND.unwritable(place))?;
        if found == Found::Same {
            *rows = checked_rows::read(files, place, identity, Unchecked::Refuse)?;
            // The progress is moved to the other file and starts again, as nothing may be appended to a line that was cut off.
            write_rows(files, place, identity, rows.values())?;
        }
        progress.truncate(0).map_err(KIND.unwritable(&path))?;
        // After the progress of other runs is gone: a folder with their identity and no rows is one of theirs.
        if found == Found::Replaced {
            remove_rows(files, place)?;
        }
        if found != Found::Same {
            start(files, place, identity, scenario)?;
        }
        Ok(())
    }

    /// Returns the path of the folder.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Returns the first and the last row in order of variant, then seed, by which the others are judged; one if there is one
    /// row, and none if there are no rows yet.
    pub fn samples(&self) -> impl Iterator<Item = &RunRow> {
        let mut rows = self.rows.values();
        rows.next().into_iter().chain(rows.next_back())
    }

    /// Makes `rows` the rows of the folder when it is closed.
    pub(super) fn replace_rows(&mut self, rows: Vec<RunRow>) {
        self.rows = rows.into_iter().map(|row| (row.key(), row)).collect();
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
        self.progress.write_all(&self.chain.line(&row)).map_err(KIND.unwritable(&self.place.join(PROGRESS)))?;
        self.rows.insert(row.key(), row);
        Ok(())
    }

    /// Writes all rows in order, and returns them.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn close(mut self) -> Result<Vec<RunRow>, FolderError> {
        write_rows(&*self.files, &self.place, &self.identity, self.rows.values())?;
        let path = self.place.join(PROGRESS);
        self.files.remove_file(&path).map_err(KIND.unwritable(&path))?;
        Ok(std::mem::take(&mut self.rows).into_values().collect())
    }
}

/// Opens the progress at `path`, and locks it: no other process writes to the folder at `place` until it is closed.
fn lock(files: &dyn Files, place: &Path, path: &Path) -> Result<Box<dyn OpenFile>, SweepError> {
    loop {
        // Opening a FIFO would wait for ever, and a link may lead to any file.
        if !is_absent(path) && !is_file(path) {
            return Err(FolderError::Occupied { path: path.to_owned(), kind: &KIND }.into());
        }
        let progress = files.append(path).map_err(KIND.unwritable(path))?;
        match progress.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SweepError::InUse { path: place.to_owned() }),
            Err(TryLockError::Error(reason)) => return Err(KIND.unwritable(path)(reason).into()),
        }
        // A process that ends removes the file before it unlocks it: this one may be gone from the folder.
        if progress.is_at(path).map_err(KIND.unwritable(path))? {
            return Ok(progress);
        }
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

    use super::{super::folder::RUNS, *};
    use crate::{
        experiment::sweep::{
            Seeds,
            sample::{identity, row},
        },
        run_folder::files::failing::FailingFiles,
    };

    const SCENARIO: &str = "name = \"short\"\n";

    fn open(place: &Path) -> Result<OpenSweepFolder, SweepError> {
        OpenSweepFolder::open(place, &identity(), SCENARIO, Earlier::Replace)
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
        let rejected = OpenSweepFolder::open(folder.path(), &other, SCENARIO, Earlier::Replace);
        assert!(matches!(rejected, Err(SweepError::OtherRuns { .. })));
    }

    #[test]
    fn rows_written_after_a_row_that_cannot_be_trusted_are_not_read() {
        let folder = TempDir::new().unwrap();
        let mut sweep = open(folder.path()).unwrap();
        for seed in [4, 2] {
            sweep.append(run(seed)).unwrap();
        }
        drop(sweep);
        let path = folder.path().join(PROGRESS);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("digest of 4", "digest of 5", 1)).unwrap();
        let message = open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("progress.jsonl:1 is not the row of a run: its checksum"), "{message}");
        // What is refused stays as it is, until it is removed or replaced by force.
        assert!(fs::read_to_string(&path).unwrap().contains("digest of 5"));
        let forced = OpenSweepFolder::open(folder.path(), &identity(), SCENARIO, Earlier::Force).unwrap();
        assert_eq!(forced.count(), 0);
    }

    #[test]
    fn a_process_that_stops_at_any_call_loses_no_row_and_leaves_a_folder_to_continue_in() {
        for calls in 0.. {
            let folder = TempDir::new().unwrap();
            let place = folder.path().join("runs/short");
            let files = FailingFiles::stopping_at(calls);
            let mut appended = Vec::new();
            for _ in 0..2 {
                let sweep = OpenSweepFolder::open_with(files.clone(), &place, &identity(), SCENARIO, Earlier::Replace);
                let Ok(mut sweep) = sweep else { break };
                for seed in [3, 1, 2].map(|seed| seed + appended.len() as u64) {
                    if sweep.append(run(seed)).is_ok() {
                        appended.push(seed);
                    }
                }
                let _ = sweep.close();
            }
            let mut again = open(&place).unwrap();
            assert!(appended.iter().all(|&seed| again.contains(0, seed)), "stopped at call {calls}: {appended:?}");
            again.append(run(9)).unwrap();
            again.close().unwrap();
            assert_eq!(fs::read_dir(&place).unwrap().count(), 3);
            if !files.has_stopped() {
                assert!(calls > 30, "only {calls} calls");
                break;
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_a_file_is_not_followed() {
        let folder = TempDir::new().unwrap();
        let thesis = folder.path().join("thesis.txt");
        fs::write(&thesis, "").unwrap();
        for file in [PROGRESS, "runs.jsonl"] {
            let place = folder.path().join(file);
            open(&place).unwrap().close().unwrap();
            let _ = fs::remove_file(place.join(file));
            std::os::unix::fs::symlink(&thesis, place.join(file)).unwrap();
            assert!(matches!(open(&place), Err(SweepError::Folder(FolderError::Occupied { .. }))), "{file}");
        }
        assert_eq!(fs::read_to_string(&thesis).unwrap(), "");
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
