//! The lock of the place of a folder, so that no two processes write to it.

use std::{
    ffi::OsString,
    fs::{self, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    files::{Files, OpenFile},
    manifest::is_file,
    replace::is_absent,
};
use crate::visible::Visible;

/// The content of a lock file, by which it is known to be one.
const CONTENT: &[u8] = b"locked by rehearsal while a run is written here\n";

/// A lock on the place of a folder. It is held until it is dropped, or until the process ends.
///
/// The lock is a file beside the place, as the folder itself is replaced.
#[derive(Debug)]
pub struct PlaceLock {
    files: Arc<dyn Files>,
    path: PathBuf,
    file: Box<dyn OpenFile>,
}

impl PlaceLock {
    /// Locks `place`, whose parent exists; `None` if another process has locked it.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn take(files: &Arc<dyn Files>, place: &Path) -> io::Result<Option<Self>> {
        let path = path_for(place);
        loop {
            // Opening a FIFO would wait for ever, and a link may lead to any file.
            if !is_absent(&path) && !is_file(&path) {
                let reason = format!("{} is in the way, which is not a lock", path.visible());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
            }
            let mut file = files.append(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                // Some network file systems have no locks; there is nothing better to do on them.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The process that held the lock removes the file before it unlocks it: this one may be gone from the folder.
            if !file.is_at(&path)? {
                continue;
            }
            if file.is_empty()? {
                file.write_all(CONTENT)?;
            }
            return Ok(Some(Self { files: files.clone(), path, file }));
        }
    }
}

impl Drop for PlaceLock {
    fn drop(&mut self) {
        // A file with another content is not ours to remove. An error here can be neither fixed nor reported.
        if is_lock(&self.path) {
            let _ = self.files.remove_file(&self.path);
        }
        // Closing the file is not enough: a child process that is starting has a copy of its descriptor.
        let _ = self.file.unlock();
    }
}

/// Returns whether the file at `path` is one that this program wrote to lock a place.
fn is_lock(path: &Path) -> bool {
    let has_length = fs::metadata(path).is_ok_and(|found| found.len() == CONTENT.len() as u64);
    has_length && fs::read(path).is_ok_and(|content| content == CONTENT)
}

/// Returns the path of the lock file of `place`.
fn path_for(place: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(".lock");
    place.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::{super::files::OsFiles, *};

    #[test]
    fn a_place_is_locked_once_at_a_time_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("run");
        let files: Arc<dyn Files> = Arc::new(OsFiles);
        let lock = PlaceLock::take(&files, &place).unwrap().unwrap();
        assert!(PlaceLock::take(&files, &place).unwrap().is_none());
        assert!(PlaceLock::take(&files, &folder.path().join("other")).unwrap().is_some());
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        drop(PlaceLock::take(&files, &place).unwrap().unwrap());
    }

    #[test]
    fn a_lock_file_that_a_killed_process_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("run");
        fs::write(path_for(&place), CONTENT).unwrap();
        let files: Arc<dyn Files> = Arc::new(OsFiles);
        drop(PlaceLock::take(&files, &place).unwrap().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_the_user_that_has_the_name_of_a_lock_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("run");
        fs::write(path_for(&place), "years of work").unwrap();
        let files: Arc<dyn Files> = Arc::new(OsFiles);
        drop(PlaceLock::take(&files, &place).unwrap().unwrap());
        assert_eq!(fs::read_to_string(path_for(&place)).unwrap(), "years of work");
    }
}
