//! The bytes of packed rows: in memory up to a limit, then in a temporary file.

use std::{
    borrow::Cow,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use kernel::sync::lock;

/// The number of bytes of packed rows that are kept in memory: some forty million requests.
const MEMORY_MAX: u64 = 640 << 20;

/// A store of chunks of bytes that the tables of a run share. Clones are the same store.
///
/// Beyond a limit, chunks go to a file in the folder for temporary files, which has no name and so is gone when the
/// process ends, whatever ends it.
#[derive(Debug, Clone, Default)]
pub struct Spill(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    in_memory: AtomicU64,
    file: Mutex<Option<SpillFile>>,
}

#[derive(Debug)]
struct SpillFile {
    file: Arc<File>,
    length: u64,
}

/// A chunk of bytes.
#[derive(Debug)]
pub(super) enum Chunk {
    /// The chunk is in memory.
    Kept(Box<[u8]>),
    /// The chunk is in the file.
    Spilled {
        /// The file.
        file: Arc<File>,
        /// The position of the first byte.
        at: u64,
        /// The number of bytes.
        length: usize,
    },
}

impl Spill {
    /// Stores `bytes`.
    pub(super) fn store(&self, bytes: &[u8]) -> Chunk {
        let length = bytes.len() as u64;
        if self.0.in_memory.fetch_add(length, Ordering::Relaxed) + length <= MEMORY_MAX {
            return Chunk::Kept(bytes.into());
        }
        // Without room on the disk there may still be room in memory.
        self.write(bytes).unwrap_or_else(|_| Chunk::Kept(bytes.into()))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Chunk> {
        let mut place = lock(&self.0.file);
        if place.is_none() {
            *place = Some(SpillFile { file: Arc::new(tempfile::tempfile()?), length: 0 });
        }
        let Some(spill) = place.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let at = spill.length;
        // Not at the end of the file: what a write that failed left there is overwritten.
        spill.file.write_all_at(bytes, at)?;
        spill.length += bytes.len() as u64;
        Ok(Chunk::Spilled { file: spill.file.clone(), at, length: bytes.len() })
    }
}

impl Chunk {
    /// Returns the bytes.
    ///
    /// # Panics
    /// The disk does not return what was written to it.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Kept(bytes) => Cow::Borrowed(bytes),
            Self::Spilled { file, at, length } => {
                let mut bytes = vec![0; *length];
                file.read_exact_at(&mut bytes, *at)
                    .expect("the temporary file is ours alone and holds what was written");
                Cow::Owned(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_limit_comes_back_from_the_file() {
        let spill = Spill::default();
        spill.0.in_memory.store(MEMORY_MAX - 3, Ordering::Relaxed);
        let chunks: Vec<Chunk> = [b"one", b"two", b"six"].into_iter().map(|bytes| spill.store(bytes)).collect();
        assert!(matches!(chunks[0], Chunk::Kept(_)) && matches!(chunks[2], Chunk::Spilled { at: 3, .. }));
        let read: Vec<_> = chunks.iter().map(|chunk| chunk.bytes().into_owned()).collect();
        assert_eq!(read, [b"one", b"two", b"six"]);
    }
}
