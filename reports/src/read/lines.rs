//! JSON lines to rows, in blocks of the file on all processors.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::de::DeserializeOwned;

use super::ReadError;

/// Read at once by one thread, so that a large log need not be in memory beside its rows.
const BLOCK: u64 = 8 << 20;
/// Read at once beyond a block, to the end of its last line.
const OVERHANG: usize = 1 << 16;

/// The rows of a file, in its order.
pub(super) struct Rows<T> {
    pub(super) rows: Vec<T>,
    /// The file ends in the middle of a line, which is left out.
    pub(super) cut_off: bool,
}

/// Where in the file a line cannot be understood, and why.
struct Trouble {
    /// Of the line's first byte.
    at: u64,
    /// Whether it is the end of the file without a line break.
    at_end: bool,
    reason: String,
}

/// Reads every line of the file as a `T`. Empty lines are passed over.
///
/// # Errors
/// The file cannot be read, or a whole line is no `T`.
pub(super) fn rows<T: DeserializeOwned + Send>(path: &Path) -> Result<Rows<T>, ReadError> {
    let file = File::open(path).map_err(ReadError::unreadable(path))?;
    let length = file.metadata().map_err(ReadError::unreadable(path))?.len();
    let blocks = length.div_ceil(BLOCK) as usize;
    let parsed = in_parallel(blocks, |index| block(&file, index as u64 * BLOCK, length));
    let mut rows = Rows { rows: Vec::new(), cut_off: false };
    let mut whole = Vec::with_capacity(blocks);
    for block in parsed {
        let (block, trouble) = block.map_err(ReadError::unreadable(path))?;
        whole.push(block);
        match trouble {
            Some(trouble) if trouble.at_end => rows.cut_off = true,
            Some(trouble) => return Err(at_line(path, &file, &trouble)),
            None => {}
        }
    }
    rows.rows.reserve_exact(whole.iter().map(Vec::len).sum());
    // Block by block, so that each is freed before the next is moved.
    for block in whole {
        rows.rows.extend(block);
    }
    Ok(rows)
}

/// `work` of 0 to `count - 1`, in that order, on as many threads as there are processors.
fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count);
    let labour = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let result = work(index);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(labour))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

type Block<T> = (Vec<T>, Option<Trouble>);

/// The rows of the lines that begin in the block at `start`, up to the first that is no row.
fn block<T: DeserializeOwned>(file: &File, start: u64, length: u64) -> io::Result<Block<T>> {
    let (text, at) = lines_from(file, start, length)?;
    let mut rows = Vec::new();
    let mut position = 0;
    while position < text.len() {
        let end = text[position..].iter().position(|byte| *byte == b'\n').map(|offset| position + offset);
        let line = text[position..end.unwrap_or(text.len())].trim_ascii();
        if !line.is_empty() {
            match serde_json::from_slice(line) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    let trouble = Trouble { at: at + position as u64, at_end: end.is_none(), reason: in_line(&error) };
                    return Ok((rows, Some(trouble)));
                }
            }
        }
        position = end.map_or(text.len(), |end| end + 1);
    }
    Ok((rows, None))
}

/// The lines that begin in the block at `start`, and where the first of them begins.
fn lines_from(file: &File, start: u64, length: u64) -> io::Result<(Vec<u8>, u64)> {
    // The byte before tells whether a line begins at the block's first.
    let from = start.saturating_sub(1);
    let mut text = vec![0; (length.min(start + BLOCK) - from) as usize];
    file.read_exact_at(&mut text, from)?;
    let skipped = match start {
        0 => 0,
        _ => text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |position| position + 1),
    };
    // A line that begins here ends here or beyond; one that merely passes through belongs to an earlier block.
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

/// serde's words without its line number, which is always 1.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line 1 column ") {
        Some((what, column)) => format!("{what} (column {column})"),
        None => text,
    }
}

fn at_line(path: &Path, file: &File, trouble: &Trouble) -> ReadError {
    let mut before = vec![0; trouble.at as usize];
    match file.read_exact_at(&mut before, 0) {
        Ok(()) => {
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            ReadError::Line { path: path.to_owned(), line, reason: trouble.reason.clone() }
        }
        Err(error) => ReadError::unreadable(path)(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<Rows<u64>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.jsonl");
        fs::write(&path, text).unwrap();
        rows(&path).map_err(|error| error.to_string().split_once("rows.jsonl").unwrap().1.to_owned())
    }

    #[test]
    fn a_file_cut_off_in_mid_line_is_read_up_to_the_last_whole_line() {
        let cut = read("1\n2\n{\"id\": 3").unwrap();
        assert_eq!((cut.rows, cut.cut_off), (vec![1, 2], true));
        let whole = read("1\n\n2").unwrap();
        assert_eq!((whole.rows, whole.cut_off), (vec![1, 2], false));
        assert!(read("").unwrap().rows.is_empty());
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        assert_eq!(read("1\n2\nthree\n4\n").err().unwrap(), ", line 3: expected ident (column 2)");
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
