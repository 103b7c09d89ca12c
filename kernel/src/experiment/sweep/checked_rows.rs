//! Rows of a sweep in a file, each with a checksum, so that only what this program wrote for these very runs is trusted.
//!
//! The checksum is the last key of the row's line. It covers the row, all rows before it in the file, and which runs the folder
//! is for: a row that was changed, came from elsewhere, or stands in another place has a wrong one, and so has the row behind one
//! that was removed.

use std::{collections::BTreeMap, path::Path};

use super::{
    RunRow, SweepError, SweepIdentity,
    folder::{PROGRESS, ROW, RUNS},
};
use crate::run_folder::{
    Files, FolderError,
    lines::{JsonLines, UnfinishedLine},
    sha256,
};

/// The text between a row and its checksum.
const LABEL: &str = ",\"checksum\":\"";
/// Hexadecimal digits of a checksum in a file.
const DIGITS: usize = 16;
/// The text after a checksum.
const END: &str = "\"}";

/// The treatment of rows without checksums, which earlier versions of this program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unchecked {
    Read,
    Refuse,
}

/// The checksum of the rows of a file so far.
#[derive(Debug, Clone)]
pub(super) struct Chain(String);

impl Chain {
    /// Returns the checksum of no row yet, in the file called `file` of the folder for the runs of `identity`.
    pub(super) fn new(identity: &SweepIdentity, file: &str) -> Self {
        Self(sha256(format!("{file}\n{}", identity.text()).as_bytes()))
    }

    /// Returns the line of the next row.
    pub(super) fn line(&mut self, row: &RunRow) -> Vec<u8> {
        let row = serde_json::to_string(row).expect("rows are plain data");
        let checksum = self.next(&row);
        let open = row.strip_suffix('}').expect("a row is an object");
        format!("{open}{LABEL}{checksum}{END}\n").into_bytes()
    }

    /// Returns whether `line` is the next row with its checksum.
    fn is_next(&mut self, line: &[u8]) -> bool {
        let Some((row, checksum)) = split(line) else { return false };
        self.next(&format!("{row}}}")) == checksum
    }

    fn next(&mut self, row: &str) -> String {
        self.0 = sha256(format!("{}\n{row}", self.0).as_bytes());
        self.0[..DIGITS].to_owned()
    }
}

/// Returns the row of `line` without its last bracket, and its checksum; `None` if it has none.
fn split(line: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix(END)?;
    let (rest, checksum) = line.split_at_checked(line.len().checked_sub(DIGITS)?)?;
    Some((rest.strip_suffix(LABEL)?, checksum))
}

/// Reads the rows of both files of the folder at `place`, but for a last line that was cut off.
///
/// # Errors
///
/// Returns an error if a line is no row of `identity`, is there twice or has a wrong checksum, or if the operating system
/// refuses.
pub(super) fn read(
    files: &dyn Files,
    place: &Path,
    identity: &SweepIdentity,
    unchecked: Unchecked,
) -> Result<BTreeMap<(usize, u64), RunRow>, SweepError> {
    let mut all: BTreeMap<(usize, u64), RunRow> = BTreeMap::new();
    for file in [RUNS, PROGRESS] {
        let path = place.join(file);
        let mut lines = match JsonLines::<RunRow>::open(files, &path, &ROW, UnfinishedLine::Skip) {
            // A sweep that has just started has no rows, and one that has ended no progress.
            Err(FolderError::Missing { .. }) => continue,
            lines => lines?,
        };
        let mut chain = Chain::new(identity, file);
        let mut own: BTreeMap<(usize, u64), RunRow> = BTreeMap::new();
        let mut has_checksums = unchecked == Unchecked::Refuse;
        while let Some(row) = lines.next() {
            let row = row?;
            // The rows of another sweep would change the statistics without anyone noticing.
            if !identity.contains(&row) {
                return Err(SweepError::Stray { path, variant: row.variant, seed: row.seed });
            }
            has_checksums |= own.is_empty() && split(lines.last_line()).is_some();
            if has_checksums && !chain.is_next(lines.last_line()) {
                let reason =
                    "its checksum is missing or wrong, as the row or one above it was changed, removed or moved here";
                return Err(lines.contradiction(reason).into());
            }
            if own.contains_key(&row.key()) {
                return Err(lines.contradiction("its run has a row above it already").into());
            }
            if all.get(&row.key()).is_some_and(|known| *known != row) {
                return Err(lines.contradiction("runs.jsonl has another result of its run").into());
            }
            own.insert(row.key(), row);
        }
        all.append(&mut own);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        experiment::sweep::{
            Seeds,
            sample::{identity, row},
        },
        run_folder::{OsFiles, lines::line},
    };

    /// Returns the lines of the rows of `seeds` in the file called `file`.
    fn lines(identity: &SweepIdentity, file: &str, seeds: &[u64]) -> Vec<Vec<u8>> {
        let mut chain = Chain::new(identity, file);
        seeds.iter().map(|&seed| chain.line(&row(identity, 0, seed))).collect()
    }

    fn seeds_of(file: &str, content: &[u8], unchecked: Unchecked) -> Result<Vec<u64>, String> {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(file), content).unwrap();
        let rows = read(&OsFiles, folder.path(), &identity(), unchecked).map_err(|error| error.to_string())?;
        Ok(rows.into_values().map(|row| row.seed).collect())
    }

    #[test]
    fn rows_with_their_checksums_are_read_back() {
        for file in [RUNS, PROGRESS] {
            let content = lines(&identity(), file, &[4, 2, 7]).concat();
            assert_eq!(seeds_of(file, &content, Unchecked::Refuse).unwrap(), [2, 4, 7]);
            // Only the last line can be cut off, wherever a kill comes.
            for length in 0..content.len() {
                let whole = content[..length].iter().filter(|&&byte| byte == b'\n').count();
                let rows = seeds_of(file, &content[..length], Unchecked::Refuse).unwrap();
                assert_eq!(rows.len(), whole, "{length} bytes");
            }
        }
    }

    #[test]
    fn a_row_that_was_changed_moved_repeated_or_removed_is_refused() {
        let whole = lines(&identity(), PROGRESS, &[4, 2, 7]);
        let other = SweepIdentity { seeds: Seeds { start: 0, end: 11 }, ..identity() };
        let text = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap();
        let changed = text(&whole[1]).replace("\"pass\":true", "\"pass\":false").into_bytes();
        let spaced = text(&whole[1]).replace("\"pass\":true", "\"pass\": true").into_bytes();
        let unchecked = line(&row(&identity(), 0, 2));
        for (content, bad) in [
            ([&whole[0], &changed, &whole[2]].map(Clone::clone).concat(), 2),
            ([&whole[0], &spaced, &whole[2]].map(Clone::clone).concat(), 2),
            ([&whole[1], &whole[0], &whole[2]].map(Clone::clone).concat(), 1),
            ([&whole[0], &whole[2]].map(Clone::clone).concat(), 2),
            ([&whole[0], &whole[0]].map(Clone::clone).concat(), 2),
            ([&whole[0], &unchecked].map(Clone::clone).concat(), 2),
            (lines(&other, PROGRESS, &[4]).concat(), 1),
            (lines(&identity(), RUNS, &[4]).concat(), 1),
        ] {
            let message = seeds_of(PROGRESS, &content, Unchecked::Read).unwrap_err();
            assert!(
                message.contains(&format!("progress.jsonl:{bad} is not the row of a run: its checksum")),
                "{message}"
            );
            assert!(message.contains("remove the file, and its runs are played again"), "{message}");
        }
        let stray = lines(&other, PROGRESS, &[10]).concat();
        assert!(seeds_of(PROGRESS, &stray, Unchecked::Read).unwrap_err().contains("that is not of its sweep"));
        let twice = lines(&identity(), PROGRESS, &[4, 4]).concat();
        assert!(
            seeds_of(PROGRESS, &twice, Unchecked::Read).unwrap_err().contains("its run has a row above it already")
        );
    }

    #[test]
    fn rows_in_both_files_are_the_same() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(RUNS), lines(&identity(), RUNS, &[1, 2]).concat()).unwrap();
        fs::write(folder.path().join(PROGRESS), lines(&identity(), PROGRESS, &[2, 3]).concat()).unwrap();
        assert_eq!(read(&OsFiles, folder.path(), &identity(), Unchecked::Refuse).unwrap().len(), 3);
        let other = RunRow { pass: false, ..row(&identity(), 0, 2) };
        fs::write(folder.path().join(PROGRESS), Chain::new(&identity(), PROGRESS).line(&other)).unwrap();
        let message = read(&OsFiles, folder.path(), &identity(), Unchecked::Refuse).unwrap_err().to_string();
        assert!(message.contains("runs.jsonl has another result of its run"), "{message}");
    }

    #[test]
    fn rows_of_an_earlier_version_are_read_but_no_sweep_continues_from_them() {
        let content = [4, 2].map(|seed| line(&row(&identity(), 0, seed))).concat();
        assert_eq!(seeds_of(RUNS, &content, Unchecked::Read).unwrap(), [2, 4]);
        assert!(
            seeds_of(RUNS, &content, Unchecked::Refuse).unwrap_err().contains("runs.jsonl:1 is not the row of a run")
        );
    }
}
