//! The folder of many runs, while they are played.
//!
//! While runs come in, a line each goes to `progress.jsonl`, in the order in which they end: whatever ends the command,
//! they are kept, and the next one with the same runs to play goes on from there. In the end `runs.jsonl` has them all
//! in order, and `progress.jsonl` is gone. Of what is done there is always at least one whole copy.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use kernel::{
    experiment::sweep::{
        RunRow, SweepError, SweepIdentity,
        folder::{PROGRESS, RUNS, line, prepare, read_rows, write_rows},
    },
    scenario::Scenario,
};

use super::{Sweep, Task};
use crate::SimulationError;

/// Why there is no folder to keep runs in.
#[derive(Debug, thiserror::Error)]
pub enum SweepFolderError {
    /// Its files are not what they should be.
    #[error(transparent)]
    Runs(#[from] SweepError),
    /// A run that is in it comes out differently now.
    #[error(
        "{path} was begun by another build of this program or with other pictures: seed {seed} now comes out differently \
         (digest {now}, not {then}); move it away, or choose another folder with --out", path = path.display()
    )]
    Changed {
        /// The folder.
        path: PathBuf,
        /// Of the run that was played again.
        seed: u64,
        /// Its digest.
        now: String,
        /// The digest in the folder.
        then: String,
    },
    /// Another process is at it.
    #[error("{path} is being filled by another process; wait for it, or choose another folder with --out", path = path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A run of it could not be played again.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

/// The folder, held by this process only.
#[derive(Debug)]
pub struct SweepFolder {
    place: PathBuf,
    /// Locked while it is open.
    progress: File,
    rows: BTreeMap<Task, RunRow>,
}

impl SweepFolder {
    /// The folder at `place` with the runs that are in it, or a new one.
    ///
    /// # Errors
    /// There is something else, it holds other runs, another process is at it, or the operating system refuses.
    pub fn open(place: &Path, identity: &SweepIdentity, scenario: &Scenario) -> Result<Self, SweepFolderError> {
        prepare(place, identity, &scenario.to_toml())?;
        let path = place.join(PROGRESS);
        let progress = File::options().read(true).append(true).create(true).open(&path).map_err(system(&path))?;
        progress.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => SweepFolderError::InUse { path: place.to_owned() },
            TryLockError::Error(reason) => system(&path)(reason).into(),
        })?;
        let mut folder = Self { place: place.to_owned(), progress, rows: BTreeMap::new() };
        for file in [RUNS, PROGRESS] {
            folder.rows.extend(read_rows(&place.join(file))?.into_iter().map(|row| (task_of(&row), row)));
        }
        // A line that was cut off is not to be continued.
        write_rows(place, folder.rows.values())?;
        folder.progress.set_len(0).map_err(system(&path))?;
        Ok(folder)
    }

    /// Plays one of the runs in it again, which shows whether what is to come is of the same kind.
    ///
    /// # Errors
    /// It comes out differently.
    pub fn spot_check(&self, sweep: &Sweep) -> Result<(), SweepFolderError> {
        let Some((&task, then)) = self.rows.first_key_value() else { return Ok(()) };
        let now = sweep.play(task)?;
        if now == *then {
            return Ok(());
        }
        let (now, then) = (now.digest, then.digest.clone());
        Err(SweepFolderError::Changed { path: self.place.clone(), seed: task.seed, now, then })
    }

    /// Whether the run is in it.
    pub fn has(&self, task: Task) -> bool {
        self.rows.contains_key(&task)
    }

    /// How many runs are in it.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Keeps a row, from here on whatever happens.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn keep(&mut self, row: RunRow) -> Result<(), SweepFolderError> {
        // In one write, so that a line is whole or the last.
        self.progress.write_all(&line(&row)).map_err(system(&self.place.join(PROGRESS)))?;
        self.rows.insert(task_of(&row), row);
        Ok(())
    }

    /// Writes the rows that there are in order, and returns them.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn close(self) -> Result<Vec<RunRow>, SweepFolderError> {
        write_rows(&self.place, self.rows.values())?;
        let path = self.place.join(PROGRESS);
        fs::remove_file(&path).map_err(system(&path))?;
        Ok(self.rows.into_values().collect())
    }
}

fn task_of(row: &RunRow) -> Task {
    Task { variant: row.variant, seed: row.seed }
}

fn system(path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    let path = path.to_owned();
    move |reason| SweepError::System { path, reason }
}

#[cfg(test)]
mod tests {
    use kernel::{
        experiment::sweep::{Origin, Seeds, Shard},
        measure::Metrics,
        run_folder::CalibrationInfo,
    };
    use tempfile::TempDir;

    use super::*;

    fn scenario() -> Scenario {
        Scenario::parse("short.toml", "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n", &[]).unwrap()
    }

    fn identity() -> SweepIdentity {
        SweepIdentity {
            world: "sim".to_owned(),
            version: "1".to_owned(),
            scenario: "short".to_owned(),
            scenario_sha256: String::new(),
            seeds: Seeds { start: 0, end: 10 },
            shard: Shard::WHOLE,
            vary: Vec::new(),
            variants: vec![Vec::new()],
            calibration: CalibrationInfo { name: "default".to_owned(), sha256: String::new() },
            origin: Origin { scenario: "short.toml".to_owned(), overrides: Vec::new(), calibration: None },
        }
    }

    fn row(seed: u64) -> RunRow {
        RunRow {
            variant: 0,
            seed,
            settings: Vec::new(),
            digest: format!("digest of {seed}"),
            pass: true,
            end_us: 1_000_000,
            overall: Metrics { success_rate: Some(1.0 / 3.0), ..Metrics::default() },
            expectations: Vec::new(),
            broken: None,
        }
    }

    fn open(place: &Path) -> Result<SweepFolder, SweepFolderError> {
        SweepFolder::open(place, &identity(), &scenario())
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
            sweep.keep(row(seed)).unwrap();
        }
        assert_eq!(seeds(&sweep.close().unwrap()), [1, 2, 3]);
        let lines = fs::read_to_string(place.join(RUNS)).unwrap();
        assert_eq!(lines.lines().count(), 3);
        assert!(!place.join(PROGRESS).exists());
        // Read back exactly: the figures too.
        assert_eq!(open(&place).unwrap().close().unwrap(), [row(1), row(2), row(3)]);
        assert_eq!(fs::read_to_string(place.join(RUNS)).unwrap(), lines);
    }

    #[test]
    fn what_came_before_a_kill_is_kept_and_a_cut_off_line_is_not() {
        let folder = TempDir::new().unwrap();
        let mut sweep = open(folder.path()).unwrap();
        for seed in [4, 2] {
            sweep.keep(row(seed)).unwrap();
        }
        sweep.progress.write_all(b"{\"variant\":0,\"se").unwrap();
        drop(sweep);
        let mut again = open(folder.path()).unwrap();
        assert!(again.has(Task { variant: 0, seed: 4 }) && !again.has(Task { variant: 0, seed: 3 }));
        again.keep(row(3)).unwrap();
        assert_eq!(seeds(&again.close().unwrap()), [2, 3, 4]);
    }

    #[test]
    fn a_folder_of_other_runs_is_refused() {
        let folder = TempDir::new().unwrap();
        open(folder.path()).unwrap().close().unwrap();
        let other = SweepIdentity { seeds: Seeds { start: 0, end: 20 }, ..identity() };
        let refused = SweepFolder::open(folder.path(), &other, &scenario());
        assert!(matches!(refused, Err(SweepFolderError::Runs(SweepError::OtherRuns { .. }))));
    }

    #[test]
    fn one_process_at_a_time_fills_a_folder() {
        let folder = TempDir::new().unwrap();
        let first = open(folder.path()).unwrap();
        assert!(matches!(open(folder.path()), Err(SweepFolderError::InUse { .. })));
        drop(first);
        open(folder.path()).unwrap();
    }

    #[test]
    fn what_is_no_folder_of_runs_is_left_alone() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(matches!(open(folder.path()), Err(SweepFolderError::Runs(SweepError::Occupied { .. }))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_malformed_row_is_told_by_its_line() {
        let folder = TempDir::new().unwrap();
        open(folder.path()).unwrap().close().unwrap();
        fs::write(folder.path().join(RUNS), "{}\n").unwrap();
        let message = open(folder.path()).unwrap_err().to_string();
        assert!(message.contains("runs.jsonl:1 is not the row of a run"), "{message}");
    }
}
