//! Digests: of a run's records, and of the content of a file.

use std::io::{self, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::lines::for_each_line;
use crate::record::Records;

/// The digest of a run: SHA-256 over the bytes of its requests, attempts and events, in that order, and then of its inner calls if it has some.
///
/// Nothing else of a run folder counts, so that the same run has the same digest wherever and whenever it is run.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordsDigest(Sha256);

impl RecordsDigest {
    /// Adds a line of one of the files of rows.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.0.update(line);
    }

    fn add_rows<T: Serialize>(&mut self, rows: &[T]) {
        let added = for_each_line(rows, |line| {
            self.add(line);
            Ok(())
        });
        added.expect("rows are plain data, and nothing is written anywhere");
    }

    /// Returns the digest in hexadecimal.
    pub(super) fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

impl Records {
    /// Returns the digest that [`RunFolder::write`](super::RunFolder::write) reports, without writing anything.
    pub fn digest(&self) -> String {
        let mut digest = RecordsDigest::default();
        digest.add_rows(&self.requests);
        digest.add_rows(&self.attempts);
        digest.add_rows(&self.events);
        digest.add_rows(&self.calls);
        digest.finish()
    }
}

/// Returns the SHA-256 of `content`, in hexadecimal.
pub fn sha256(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

/// A writer that hashes what passes through it.
pub(super) struct Hashed<W> {
    to: W,
    hasher: Sha256,
}

impl<W> Hashed<W> {
    /// Hashes what is written from here on, and passes it to `to`.
    pub(super) fn new(to: W) -> Self {
        Self { to, hasher: Sha256::new() }
    }

    /// Returns the SHA-256 of what was written, in hexadecimal.
    pub(super) fn finish(self) -> String {
        hexadecimal(&self.hasher.finalize())
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_standard() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Records::default().digest(), sha256(b""));
    }
}
