//! Reads all rows of a large file at once, in blocks on all processors.
//!
//! [`JsonLines`](super::lines::JsonLines) reads rows one after another. This module is for the rows of a run, of which
//! there may be millions.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::de::DeserializeOwned;

use super::error::{FolderError, LineError, RowKind};
use crate::sync::{ignore_poison, lock};

/// The number of bytes that a thread reads at once. A large file is never in memory as a whole beside its rows.
const BLOCK: u64 = 8 << 20;

/// The number of bytes that are read at once behind a block, until its last line ends.
const OVERHANG: usize = 1 << 16;

/// All rows of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllRows<T> {
    /// The rows of all complete lines.
    pub rows: Vec<T>,
    /// True if the file ends in the middle of a line, which is not among the rows.
    pub is_cut_off: bool,
}

/// The rows of one block, up to the first line that is not a row.
struct Block<T> {
    rows: Vec<T>,
    damage: Option<Damage>,
}

/// A line that is not a row.
struct Damage {
    /// The position of the line's first byte in the file.
    at: u64,
    /// True for a last line without a line break.
    is_unfinished: bool,
    error: serde_json::Error,
}

/// Reads each line of the file at `path` as a `T`. Empty lines are skipped.
///
/// # Errors
/// The file is missing or cannot be read, or a line with a line break is not a `T`.
pub fn read_all<T: DeserializeOwned + Send>(path: &Path, kind: &'static RowKind) -> Result<AllRows<T>, FolderError> {
    let file = File::open(path).map_err(kind.folder.missing_or_unreadable(path))?;
    let length = file.metadata().map_err(FolderError::unreadable(path))?.len();
    let count = length.div_ceil(BLOCK) as usize;
    let blocks = in_parallel(count, |index| read_block::<T>(&file, index as u64 * BLOCK, length));
    let mut all = AllRows { rows: Vec::new(), is_cut_off: false };
    let mut parsed = Vec::with_capacity(count);
    for block in blocks {
        let block = block.map_err(FolderError::unreadable(path))?;
        match block.damage {
            // An interrupted write leaves such a line. The rows before it are as good as in any other file.
            Some(damage) if damage.is_unfinished => all.is_cut_off = true,
            Some(damage) => return Err(malformed(path, kind, &file, damage)),
            None => {}
        }
        parsed.push(block.rows);
    }
    all.rows.reserve_exact(parsed.iter().map(Vec::len).sum());
    // One after another, so that each block is freed before the next is moved.
    for rows in parsed {
        all.rows.extend(rows);
    }
    Ok(all)
}

/// Returns the results of `work` for 0 to `count - 1`, in this order. It runs on as many threads as there are processors.
fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let result = work(index);
                    lock(&done).push((index, result));
                }
            });
        }
    });
    let mut done = ignore_poison(done.into_inner());
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Returns the rows of the lines that begin in the block at `start`.
fn read_block<T: DeserializeOwned>(file: &File, start: u64, length: u64) -> io::Result<Block<T>> {
    let (text, first) = lines_from(file, start, length)?;
    let mut rows = Vec::new();
    let mut position = 0;
    while position < text.len() {
        let end = text[position..].iter().position(|byte| *byte == b'\n').map(|offset| position + offset);
        let line = text[position..end.unwrap_or(text.len())].trim_ascii();
        if !line.is_empty() {
            match serde_json::from_slice(line) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    let damage = Damage { at: first + position as u64, is_unfinished: end.is_none(), error };
                    return Ok(Block { rows, damage: Some(damage) });
                }
            }
        }
        position = end.map_or(text.len(), |end| end + 1);
    }
    Ok(Block { rows, damage: None })
}

/// Returns the lines that begin in the block at `start`, and the position of the first of them in the file.
fn lines_from(file: &File, start: u64, length: u64) -> io::Result<(Vec<u8>, u64)> {
    // The byte before the block shows whether a line begins at the block's first byte.
    let from = start.saturating_sub(1);
    let mut text = vec![0; (length.min(start + BLOCK) - from) as usize];
    file.read_exact_at(&mut text, from)?;
    let skipped = match start {
        0 => 0,
        _ => text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |position| position + 1),
    };
    // A line that begins here ends here or behind the block. A line that only passes through belongs to an earlier block.
    if skipped < text.len() {
        let mut seen = text.len();
        while !text[seen - 1..].contains(&b'\n') && from + (text.len() as u64) < length {
            seen = text.len();
            let more = OVERHANG.min((length - from) as usize - seen);
            text.resize(seen + more, 0);
            file.read_exact_at(&mut text[seen..], from + seen as u64)?;
        }
        if let Some(end) = text[seen - 1..].iter().position(|byte| *byte == b'\n') {
            text.truncate(seen + end);
        }
    }
    text.drain(..skipped);
    Ok((text, from + skipped as u64))
}

/// Returns the error of a damaged line. Its number is counted only now, as blocks do not know how many lines precede them.
fn malformed(path: &Path, kind: &'static RowKind, file: &File, damage: Damage) -> FolderError {
    let mut before = vec![0; damage.at as usize];
    match file.read_exact_at(&mut before, 0) {
        Ok(()) => FolderError::Malformed {
            path: path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            kind,
            reason: Box::new(LineError(damage.error)),
        },
        Err(error) => FolderError::unreadable(path)(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::error::sample::NUMBERS, *};

    fn read(text: &str) -> Result<AllRows<u64>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        fs::write(&path, text).unwrap();
        read_all(&path, &NUMBERS).map_err(|error| error.to_string().split_once("rows.jsonl").unwrap().1.to_owned())
    }

    #[test]
    fn a_file_that_is_cut_off_in_a_line_is_read_up_to_the_last_complete_line() {
        assert_eq!(read("1\n2\n{\"id\": 3"), Ok(AllRows { rows: vec![1, 2], is_cut_off: true }));
        assert_eq!(read("1\n\n2"), Ok(AllRows { rows: vec![1, 2], is_cut_off: false }));
        assert_eq!(read(""), Ok(AllRows { rows: Vec::new(), is_cut_off: false }));
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named() {
        assert_eq!(read("1\n2\nthree\n4\n").unwrap_err(), ":3 is not a number: expected ident (column 2); count again");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_all::<u64>(Path::new("none"), &NUMBERS).unwrap_err();
        assert_eq!(error.to_string(), "none is missing; count again");
    }

    #[test]
    fn lines_across_blocks_are_read_once_and_in_order() {
        let count = 3 * BLOCK / 8;
        let text: String =
            (0..count).map(|value| format!("{value:07}0\n").trim_start_matches('0').to_owned()).collect();
        assert!(text.len() as u64 > 2 * BLOCK);
        let read = read(&text.replacen("\n", "0\n", 1)).unwrap();
        assert_eq!(read.rows.len() as u64, count);
        assert!(read.rows.windows(2).skip(1).all(|pair| pair[0] + 10 == pair[1]));
    }
}
