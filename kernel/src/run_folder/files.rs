//! The file operations that change a folder, behind a trait.
//!
//! A test replaces them by operations that fail or stop at a chosen call, to see what a crash leaves. Questions that
//! change nothing, such as whether a path exists, go to the file system directly.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use crate::input;

/// The file operations that run folders are made of.
pub trait Files: fmt::Debug + Send + Sync {
    /// Creates the file at `path` for writing.
    ///
    /// # Errors
    ///
    /// Fails with `AlreadyExists` if there is one: nothing is overwritten in place.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;

    /// Opens the file at `path` to write behind its end; creates it if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    fn append(&self, path: &Path) -> io::Result<Box<dyn OpenFile>>;

    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such file, or the operating system refuses.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// Moves `from` to `to`; a file at `to` is replaced in one step.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the file at `from` the name `to`, too.
    ///
    /// # Errors
    ///
    /// Returns an error if there is something at `to`, or the operating system refuses.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Waits until the names in the folder at `path` are on the disk, so that they survive a power failure.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Creates the folder at `path` and those above it, unless they exist.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Removes the file at `path`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such file, or the operating system refuses.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes the folder at `path` with everything in it.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such folder, or the operating system refuses.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Removes the folder at `path`, which must be empty.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not empty, does not exist, or the operating system refuses.
    fn remove_empty_folder(&self, path: &Path) -> io::Result<()>;

    /// Returns the names of everything in the folder at `path`, in no particular order.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such folder, or the operating system refuses.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;
}

/// A file that is open for writing.
pub trait OpenFile: Write + fmt::Debug + Send {
    /// Waits until the content is on the disk.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses, or the disk failed.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file off behind `length` bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Locks the file against other processes until it is closed.
    ///
    /// # Errors
    ///
    /// Returns an error if another process holds the lock, or the operating system refuses.
    fn try_lock(&self) -> Result<(), TryLockError>;

    /// Returns whether the file is the one at `path`, and not one that was removed from there.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    fn is_at(&self, path: &Path) -> io::Result<bool>;

    /// Returns whether the file has no content.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    fn is_empty(&self) -> io::Result<bool>;

    /// Releases the lock, also for copies of the file's descriptor.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    fn unlock(&self) -> io::Result<()>;
}

/// The files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        Ok(Box::new(File::options().append(true).create(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(input::open_file(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            // Some file systems have no links. A move may then replace what came there in the meantime.
            Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) => {
                if fs::symlink_metadata(to).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(from, to)
            }
            linked => linked,
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // The parent of a relative path of one name is written as an empty path, which the system does not open.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match File::open(path)?.sync_all() {
            // Some network file systems do not synchronise folders; there is nothing better to do on them.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            result => result,
        }
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn remove_empty_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
    }
}

impl OpenFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        File::try_lock(self)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let own = self.metadata()?;
        match fs::metadata(path) {
            Ok(found) => Ok(found.dev() == own.dev() && found.ino() == own.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.metadata()?.len() == 0)
    }

    fn unlock(&self) -> io::Result<()> {
        File::unlock(self)
    }
}

#[cfg(test)]
pub(crate) mod failing {
    //! Files whose operations fail from a chosen call on, as if the process had been stopped there, or at one call only.

    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use super::*;

    /// The operating system's files, until a call fails.
    #[derive(Debug, Clone)]
    pub(crate) struct FailingFiles(Arc<Plan>);

    #[derive(Debug)]
    struct Plan {
        /// Calls that succeed before the one that fails.
        calls: AtomicUsize,
        /// True if the calls behind the one that fails fail, too.
        stops: bool,
        has_failed: AtomicBool,
    }

    impl FailingFiles {
        /// Returns files of which this many calls succeed, and all others fail.
        pub(crate) fn stopping_at(calls: usize) -> Arc<Self> {
            Self::planned(calls, true)
        }

        /// Returns files of which the call behind this many fails, and no other.
        pub(crate) fn failing_at(calls: usize) -> Arc<Self> {
            Self::planned(calls, false)
        }

        fn planned(calls: usize, stops: bool) -> Arc<Self> {
            let plan = Plan { calls: AtomicUsize::new(calls), stops, has_failed: AtomicBool::new(false) };
            Arc::new(Self(Arc::new(plan)))
        }

        /// Returns whether a call has failed.
        pub(crate) fn has_stopped(&self) -> bool {
            self.0.has_failed.load(Ordering::Relaxed)
        }
    }

    impl Plan {
        fn call(&self) -> io::Result<()> {
            if self.has_failed.load(Ordering::Relaxed) {
                return if self.stops { Err(io::Error::other("stopped")) } else { Ok(()) };
            }
            if self.calls.load(Ordering::Relaxed) == 0 {
                self.has_failed.store(true, Ordering::Relaxed);
                return Err(io::Error::other("failed"));
            }
            self.calls.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        }
    }

    impl Files for FailingFiles {
        fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
            self.0.call()?;
            Ok(Box::new(FailingFile { file: OsFiles.create(path)?, plan: self.0.clone() }))
        }

        fn append(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
            self.0.call()?;
            Ok(Box::new(FailingFile { file: OsFiles.append(path)?, plan: self.0.clone() }))
        }

        fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
            OsFiles.open(path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.0.call()?;
            OsFiles.rename(from, to)
        }

        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.0.call()?;
            OsFiles.link(from, to)
        }

        fn sync_folder(&self, path: &Path) -> io::Result<()> {
            self.0.call()?;
            OsFiles.sync_folder(path)
        }

        fn create_folder(&self, path: &Path) -> io::Result<()> {
            self.0.call()?;
            OsFiles.create_folder(path)
        }

        fn remove_file(&self, path: &Path) -> io::Result<()> {
            self.0.call()?;
            OsFiles.remove_file(path)
        }

        fn remove_folder(&self, path: &Path) -> io::Result<()> {
            self.0.call()?;
            OsFiles.remove_folder(path)
        }

        fn remove_empty_folder(&self, path: &Path) -> io::Result<()> {
            self.0.call()?;
            OsFiles.remove_empty_folder(path)
        }

        fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
            OsFiles.list(path)
        }
    }

    #[derive(Debug)]
    struct FailingFile {
        file: Box<dyn OpenFile>,
        plan: Arc<Plan>,
    }

    impl Write for FailingFile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.plan.call()?;
            self.file.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }

    impl OpenFile for FailingFile {
        fn sync(&mut self) -> io::Result<()> {
            self.plan.call()?;
            self.file.sync()
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.plan.call()?;
            self.file.truncate(length)
        }

        fn try_lock(&self) -> Result<(), TryLockError> {
            self.file.try_lock()
        }

        fn is_at(&self, path: &Path) -> io::Result<bool> {
            self.file.is_at(path)
        }

        fn is_empty(&self) -> io::Result<bool> {
            self.file.is_empty()
        }

        fn unlock(&self) -> io::Result<()> {
            self.file.unlock()
        }
    }
}
