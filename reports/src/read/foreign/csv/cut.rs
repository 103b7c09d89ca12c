//! A table in chunks of whole rows.

use std::io::{self, Read};

use kernel::run_folder::blocks::{LINE_MAX, LongLine, line_at};

use super::{
    super::{
        super::ReadError,
        log::{LineError, Log},
        source::SourceBytes,
    },
    rows::{Ends, Signs},
};

/// The number of bytes that are read at once behind a chunk, until its first row ends.
const OVERHANG: usize = 1 << 16;

/// Whole rows, one behind the other.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) text: Vec<u8>,
    /// The position of the first byte in the log.
    pub(super) at: u64,
}

/// Cuts a table.
#[derive(Debug)]
pub(super) struct Cutter<'a> {
    log: &'a Log<'a>,
    signs: Signs,
    /// The position of the next chunk.
    at: u64,
}

impl<'a> Cutter<'a> {
    /// Returns the chunks of a log from the position `at` on, where a row begins.
    pub(super) fn new(log: &'a Log<'a>, signs: Signs, at: u64) -> Self {
        Self { log, signs, at }
    }

    /// Cuts the next chunk off; `None` at the end of the log.
    ///
    /// # Errors
    /// The log cannot be read, or a row is too long.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        let mut input = self.log.source.bytes_from(self.at);
        let mut text = Vec::new();
        let mut ends = Ends::new(self.signs);
        let mut wanted = self.log.chunk;
        loop {
            let is_end = !read_more(&mut input, wanted, &mut text).map_err(ReadError::unreadable(self.log.path))?;
            ends.search(&text);
            if ends.last.is_none() && text.len() > LINE_MAX {
                return Err(self.long_row());
            }
            match ends.last {
                _ if is_end => break,
                Some(end) => {
                    text.truncate(end);
                    break;
                }
                None => wanted = OVERHANG,
            }
        }
        let at = self.at;
        self.at += text.len() as u64;
        Ok((!text.is_empty()).then_some(Chunk { text, at }))
    }

    fn long_row(&self) -> ReadError {
        match line_at(&self.log.source.file, self.at) {
            Ok(line) => {
                let reason = format!("{LongLine}; a quotation mark that is not closed makes one line of many");
                self.log.refused(line, LineError::Format(reason))
            }
            Err(error) => ReadError::unreadable(self.log.path)(error),
        }
    }
}

/// Reads `wanted` bytes behind those of `text`; false if there are not that many.
fn read_more(input: &mut SourceBytes<'_>, wanted: usize, text: &mut Vec<u8>) -> io::Result<bool> {
    let read = input.take(wanted as u64).read_to_end(text)?;
    Ok(read == wanted)
}
