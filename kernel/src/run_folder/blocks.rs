//! Folds the lines of a large file, in blocks on all processors.
//!
//! [`JsonLines`](super::lines::JsonLines) reads rows one after another. This module is for files of millions of lines. It
//! holds a block for each processor and what the caller makes of the lines, and never the file.

use std::{
    fs::File,
    io::{self, BufRead},
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
use crate::{
    input,
    sync::{ignore_poison, lock},
};

/// The number of bytes that a thread reads at once.
const BLOCK: u64 = 8 << 20;

/// The number of bytes that are read at once behind a block, until its last line ends.
const OVERHANG: usize = 1 << 16;

/// The length of the longest line that is read, in bytes. A row has a few hundred; a file without line breaks must not
/// fill the memory.
pub const LINE_MAX: usize = 16 << 20;

/// The error of a line with more than [`LINE_MAX`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line is longer than {} MiB", LINE_MAX >> 20)]
pub struct LongLine;

/// A line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its bytes, without its line break and the white space around it.
    pub text: &'a [u8],
    /// The position of its first byte in the file; [`line_at`] makes it a number.
    pub at: u64,
    /// True for a last line without a line break.
    pub is_unfinished: bool,
}

/// The results of the blocks of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedLines<T, E> {
    /// The result of each block. Those behind a damaged line are left out.
    pub parts: Vec<T>,
    /// The first line that was refused.
    pub damage: Option<LineDamage<E>>,
}

/// A line that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineDamage<E> {
    /// The number of the line, from 1.
    pub line: usize,
    /// True for a last line without a line break.
    pub is_unfinished: bool,
    /// The mistake.
    pub reason: E,
}

/// The results of the blocks of a file of rows, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedRows<T> {
    /// The result of each block.
    pub parts: Vec<T>,
    /// True if the file ends in the middle of a line, which is in no result.
    pub is_cut_off: bool,
}

/// The result of one block.
struct Block<T, E> {
    part: T,
    /// The line that was refused: the position of its first byte in the file, whether it is unfinished, and the mistake.
    damage: Option<(u64, bool, E)>,
}

/// The lines that begin in one block.
struct BlockText {
    /// The bytes of the block, and of its last line behind it.
    text: Vec<u8>,
    /// The position of the first byte in the file.
    from: u64,
    /// The number of bytes before the first line that begins in the block.
    skipped: usize,
    /// True if the last line is longer than [`LINE_MAX`].
    is_long: bool,
}

/// Reads each line of the file at `path` as a `T` and adds it to its block, of which `end` makes the result. Empty lines are
/// skipped.
///
/// # Errors
///
/// The file is missing or cannot be read, or a line with a line break is not a `T`.
pub fn fold_rows<T: DeserializeOwned, P, R: Send>(
    path: &Path,
    kind: &'static RowKind,
    start: impl Fn() -> P + Sync,
    add: impl Fn(&mut P, T) + Sync,
    end: impl Fn(P) -> R + Sync,
) -> Result<FoldedRows<R>, FolderError> {
    let file = input::open_file(path).map_err(kind.folder.missing_or_unreadable(path))?;
    let length = file.metadata().map_err(FolderError::unreadable(path))?.len();
    let add_line = |part: &mut P, line: Line<'_>| -> Result<(), RowError> {
        add(part, serde_json::from_slice(line.text).map_err(LineError)?);
        Ok(())
    };
    let folded = fold_lines(&file, length, |_| start(), add_line, end).map_err(FolderError::unreadable(path))?;
    match folded.damage {
        // An interrupted write leaves such a line. The rows before it are as good as in any other file.
        Some(damage) if damage.is_unfinished => Ok(FoldedRows { parts: folded.parts, is_cut_off: true }),
        Some(LineDamage { line, reason, .. }) => {
            Err(FolderError::Malformed { path: path.to_owned(), line, kind, reason: Box::new(reason) })
        }
        None => Ok(FoldedRows { parts: folded.parts, is_cut_off: false }),
    }
}

/// The reason why a line is not a row.
#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error(transparent)]
    Long(#[from] LongLine),
    #[error(transparent)]
    Malformed(#[from] LineError),
}

/// Folds the lines in the first `length` bytes of `file`, block by block: `start` makes what collects the lines of a block
/// from its index, `add` adds a line to it, and `end` makes it the result of the block. Empty lines are skipped.
///
/// What is written behind `length` meanwhile is not read. Where a block begins depends on the length alone, so two folds
/// of the same length have the same blocks.
///
/// # Errors
///
/// The file cannot be read. A line that `add` refuses is in the result.
pub fn fold_lines<P, T: Send, E: Send + From<LongLine>>(
    file: &File,
    length: u64,
    start: impl Fn(usize) -> P + Sync,
    add: impl Fn(&mut P, Line<'_>) -> Result<(), E> + Sync,
    end: impl Fn(P) -> T + Sync,
) -> io::Result<FoldedLines<T, E>> {
    let blocks = in_parallel(length.div_ceil(BLOCK) as usize, |index| {
        let text = BlockText::read(file, index as u64 * BLOCK, length)?;
        let mut part = start(index);
        let damage = text.fold(|line| add(&mut part, line));
        Ok(Block { part: end(part), damage })
    });
    let mut folded = FoldedLines { parts: Vec::with_capacity(blocks.len()), damage: None };
    for block in blocks {
        let Block { part, damage } = block?;
        folded.parts.push(part);
        if let Some((at, is_unfinished, reason)) = damage {
            folded.damage = Some(LineDamage { line: line_at(file, at)?, is_unfinished, reason });
            break;
        }
    }
    Ok(folded)
}

/// Returns the results of `work` for 0 to `count - 1`, in this order, up to the first one that is an error or damaged. It
/// runs on as many threads as there are processors.
fn in_parallel<T: Send, E: Send>(
    count: usize,
    work: impl Fn(usize) -> io::Result<Block<T, E>> + Sync,
) -> Vec<io::Result<Block<T, E>>> {
    let next = AtomicUsize::new(0);
    // Nothing behind a damaged line is used, and there may be terabytes of it.
    let end = AtomicUsize::new(count);
    let done: Mutex<Vec<_>> = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let result = work(index);
                    if result.as_ref().map_or(true, |block| block.damage.is_some()) {
                        end.fetch_min(index + 1, Ordering::Relaxed);
                    }
                    lock(&done).push((index, result));
                }
            });
        }
    });
    let mut done = ignore_poison(done.into_inner());
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

impl BlockText {
    /// Reads the lines that begin in the block at `start` of a file with `length` bytes.
    fn read(file: &File, start: u64, length: u64) -> io::Result<Self> {
        // The byte before the block shows whether a line begins at the block's first byte.
        let from = start.saturating_sub(1);
        let mut text = vec![0; (length.min(start + BLOCK) - from) as usize];
        file.read_exact_at(&mut text, from)?;
        let skipped = match start {
            0 => 0,
            _ => text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |position| position + 1),
        };
        let mut is_long = false;
        // A line that begins here ends here or behind the block. A line that only passes through belongs to an earlier
        // block.
        if skipped < text.len() && text.last() != Some(&b'\n') {
            is_long = !complete_last_line(file, from, length, &mut text)?;
        }
        Ok(Self { text, from, skipped, is_long })
    }

    /// Calls `add` with each line, up to the first one that it refuses.
    fn fold<E: From<LongLine>>(&self, mut add: impl FnMut(Line<'_>) -> Result<(), E>) -> Option<(u64, bool, E)> {
        let mut rest = &self.text[self.skipped..];
        while !rest.is_empty() {
            let at = self.from + (self.text.len() - rest.len()) as u64;
            let line = next_line(&mut rest);
            let is_last = !line.ends_with(b"\n");
            if is_last && self.is_long {
                return Some((at, false, E::from(LongLine)));
            }
            let line = line.trim_ascii();
            if !line.is_empty()
                && let Err(reason) = add(Line { text: line, at, is_unfinished: is_last })
            {
                return Some((at, is_last, reason));
            }
        }
        None
    }
}

/// Takes the next line, with its line break, off the front of `rest`.
fn next_line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let text = *rest;
    // The standard library searches this way many bytes at once.
    let taken = rest.skip_until(b'\n').unwrap_or(text.len());
    &text[..taken]
}

/// Reads on until the last line of `text`, which begins at `from` in the file, ends. Returns false if the line is longer
/// than [`LINE_MAX`].
fn complete_last_line(file: &File, from: u64, length: u64, text: &mut Vec<u8>) -> io::Result<bool> {
    let begins = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
    while from + (text.len() as u64) < length {
        if text.len() - begins > LINE_MAX {
            return Ok(false);
        }
        let seen = text.len();
        let more = (length - from - seen as u64).min(OVERHANG as u64) as usize;
        text.resize(seen + more, 0);
        file.read_exact_at(&mut text[seen..], from + seen as u64)?;
        if let Some(end) = text[seen..].iter().position(|byte| *byte == b'\n') {
            text.truncate(seen + end + 1);
            break;
        }
    }
    Ok(text.len() - begins <= LINE_MAX)
}

/// Returns the number of the line that begins at the position `at`, from 1. It is counted only for a message, as blocks do
/// not know how many lines precede them.
///
/// # Errors
///
/// The file cannot be read.
pub fn line_at(file: &File, at: u64) -> io::Result<usize> {
    let mut line = 1;
    let mut block = vec![0; BLOCK.min(at) as usize];
    let mut position = 0;
    while position < at {
        let size = (at - position).min(BLOCK) as usize;
        file.read_exact_at(&mut block[..size], position)?;
        line += block[..size].iter().filter(|byte| **byte == b'\n').count();
        position += size as u64;
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::{super::error::sample::NUMBERS, *};

    fn read_at(path: &Path) -> Result<FoldedRows<Vec<u64>>, String> {
        fold_rows(path, &NUMBERS, Vec::new, Vec::push, |rows| rows)
            .map_err(|error| error.to_string().split_once("rows.jsonl").unwrap().1.to_owned())
    }

    fn read(text: &str) -> Result<(Vec<u64>, bool), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        fs::write(&path, text).unwrap();
        read_at(&path).map(|folded| (folded.parts.concat(), folded.is_cut_off))
    }

    #[test]
    fn a_file_that_is_cut_off_in_a_line_is_read_up_to_the_last_complete_line() {
        assert_eq!(read("1\n2\n{\"id\": 3"), Ok((vec![1, 2], true)));
        assert_eq!(read("1\n\n2"), Ok((vec![1, 2], false)));
        assert_eq!(read(""), Ok((Vec::new(), false)));
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_named() {
        assert_eq!(read("1\n2\nthree\n4\n").unwrap_err(), ":3 is not a number: expected ident (column 2); count again");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = fold_rows(Path::new("none"), &NUMBERS, Vec::<u64>::new, Vec::push, |rows| rows).unwrap_err();
        assert_eq!(error.to_string(), "none is missing; count again");
    }

    #[test]
    fn lines_across_blocks_are_read_once_and_in_order() {
        let count = 3 * BLOCK / 8;
        let text: String =
            (0..count).map(|value| format!("{value:07}0\n").trim_start_matches('0').to_owned()).collect();
        assert!(text.len() as u64 > 2 * BLOCK);
        let (rows, _) = read(&text.replacen("\n", "0\n", 1)).unwrap();
        assert_eq!(rows.len() as u64, count);
        assert!(rows.windows(2).skip(1).all(|pair| pair[0] + 10 == pair[1]));
    }

    #[test]
    fn the_number_of_a_damaged_line_is_counted_over_all_blocks() {
        let lines = 3 * BLOCK as usize / 8;
        let text = format!("{}x\n{}", "1234567\n".repeat(lines), "1234567\n".repeat(lines));
        let message = read(&text).unwrap_err();
        assert!(message.starts_with(&format!(":{} is not a number", lines + 1)), "{message}");
    }

    #[test]
    fn a_line_that_is_too_long_is_named_and_what_is_behind_it_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"1\n2\n").unwrap();
        // A terabyte without a line break: reading all of it would take minutes.
        file.set_len(1 << 40).unwrap();
        let message = read_at(&path).unwrap_err();
        assert_eq!(message, ":3 is not a number: the line is longer than 16 MiB; count again");
    }

    #[test]
    fn a_line_of_several_blocks_is_read_if_it_is_not_too_long() {
        let long = format!("1\n{}2\n3\n", " ".repeat(BLOCK as usize + 100));
        assert_eq!(read(&long), Ok((vec![1, 2, 3], false)));
    }
}
