//! A log in chunks of whole rows: cut off one after another, and read on all processors.
//!
//! Where a chunk ends depends on the log alone, so every pass over a log has the same chunks, whatever the number of
//! threads. Each thread holds one chunk at a time.

use std::{sync::Mutex, thread};

use kernel::{
    run_folder::blocks::line_at,
    sync::{ignore_poison, lock},
};

use super::{
    super::{ReadError, bad_rows::BadRows},
    log::{Log, Passed},
};

/// The number of bytes of a chunk, unless a row is longer.
pub(super) const CHUNK: usize = 4 << 20;

/// The rows of a chunk, as they were read.
#[derive(Debug)]
pub(super) struct Part<T> {
    /// The result of the rows that were not refused.
    pub(super) result: T,
    /// The number of rows that were refused.
    bad: u64,
    /// The position in the log and the mistake of the first row that was refused.
    first: Option<(u64, String)>,
    /// The position of the last row, if the log ends in the middle of it.
    pub(super) cut_off: Option<u64>,
}

impl<T> Part<T> {
    pub(super) fn new(result: T) -> Self {
        Self { result, bad: 0, first: None, cut_off: None }
    }

    /// Returns the part with what `end` makes of the result.
    pub(super) fn end<R>(self, end: impl Fn(T) -> R) -> Part<R> {
        Part { result: end(self.result), bad: self.bad, first: self.first, cut_off: self.cut_off }
    }

    /// Counts the row that begins at the position `at` as refused.
    pub(super) fn refuse(&mut self, at: u64, reason: String) {
        self.bad += 1;
        self.first.get_or_insert((at, reason));
    }
}

/// Returns what `read` makes of each chunk, in the order of the log. `cut` returns the next chunk; it is called by one
/// thread at a time. `read` gets the index of a chunk, too.
///
/// # Errors
/// The first error of `cut`, or of `read`.
pub(super) fn read_chunks<C, T: Send>(
    cut: impl FnMut() -> Result<Option<C>, ReadError> + Send,
    read: impl Fn(usize, C) -> Result<T, ReadError> + Sync,
) -> Result<Vec<T>, ReadError> {
    read_chunks_on(thread::available_parallelism().map_or(1, usize::from), cut, read)
}

fn read_chunks_on<C, T: Send>(
    threads: usize,
    cut: impl FnMut() -> Result<Option<C>, ReadError> + Send,
    read: impl Fn(usize, C) -> Result<T, ReadError> + Sync,
) -> Result<Vec<T>, ReadError> {
    let queue = Mutex::new(Queue { cut, next: 0, is_over: false, failure: None });
    let done: Mutex<Vec<(usize, Result<T, ReadError>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    // The lock is released before the chunk is read.
                    let taken = lock(&queue).take();
                    let Some((index, chunk)) = taken else { return };
                    let result = read(index, chunk);
                    if result.is_err() {
                        lock(&queue).is_over = true;
                    }
                    lock(&done).push((index, result));
                }
            });
        }
    });
    let mut done = ignore_poison(done.into_inner());
    done.sort_unstable_by_key(|(index, _)| *index);
    let parts = done.into_iter().map(|(_, result)| result).collect::<Result<Vec<_>, _>>()?;
    match ignore_poison(queue.into_inner()).failure {
        Some(error) => Err(error),
        None => Ok(parts),
    }
}

/// The chunks that no thread has taken.
struct Queue<F> {
    cut: F,
    next: usize,
    is_over: bool,
    failure: Option<ReadError>,
}

impl<C, F: FnMut() -> Result<Option<C>, ReadError>> Queue<F> {
    fn take(&mut self) -> Option<(usize, C)> {
        if self.is_over {
            return None;
        }
        match (self.cut)() {
            Ok(Some(chunk)) => {
                self.next += 1;
                return Some((self.next - 1, chunk));
            }
            Ok(None) => {}
            Err(error) => self.failure = Some(error),
        }
        self.is_over = true;
        None
    }
}

/// Returns the number of the line at the position `at` of a log.
///
/// # Errors
/// The log cannot be read again to count its lines.
pub(super) fn line_of(log: &Log<'_>, at: u64) -> Result<usize, ReadError> {
    line_at(&log.source.file, at).map_err(ReadError::unreadable(log.path))
}

/// Returns the results of all parts of a log. `line` makes a position the number of a line.
///
/// # Errors
/// Those of `line`.
pub(super) fn joined<T>(
    parts: impl IntoIterator<Item = Part<T>>,
    line: impl Fn(u64) -> Result<usize, ReadError>,
) -> Result<Passed<T>, ReadError> {
    let mut passed = Passed { parts: Vec::new(), cut_off: None, bad: BadRows::default() };
    for part in parts {
        passed.bad.count += part.bad;
        if let (None, Some((at, reason))) = (&passed.bad.first, part.first) {
            passed.bad.first = Some((line(at)?, reason));
        }
        if let Some(at) = part.cut_off {
            passed.cut_off = Some(line(at)?);
        }
        passed.parts.push(part.result);
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reason: &str) -> ReadError {
        ReadError::Format(reason.to_owned())
    }

    #[test]
    fn results_are_in_the_order_of_the_chunks_with_any_number_of_threads() {
        for threads in [1, 2, 7] {
            let mut numbers = 0..100_usize;
            let read = |index, number: usize| {
                assert_eq!(index, number);
                Ok(number * 2)
            };
            let results = read_chunks_on(threads, || Ok(numbers.next()), read).unwrap();
            assert!(results.into_iter().eq((0..100).map(|number| number * 2)), "{threads} threads");
        }
    }

    #[test]
    fn the_first_error_ends_the_reading() {
        for threads in [1, 3] {
            let mut numbers = 0..10_u32;
            let cut = || match numbers.next() {
                Some(5) => Err(failure("cut")),
                number => Ok(number),
            };
            let error = read_chunks_on(threads, cut, |_, _| Ok(())).unwrap_err();
            assert_eq!(error.to_string(), "--format cut", "{threads} threads");
            let mut numbers = 0..;
            let read = |_, number: u32| if number < 4 { Ok(()) } else { Err(failure(&number.to_string())) };
            let error = read_chunks_on(threads, || Ok(numbers.next()), read).unwrap_err();
            assert_eq!(error.to_string(), "--format 4", "{threads} threads");
        }
    }
}
