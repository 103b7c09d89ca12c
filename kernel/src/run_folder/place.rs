//! The place of a folder that is written as a whole: a run, or a report.
//!
//! The folder is written beside its place, under a name that ends in `.partial`, and moved there when it is complete. The
//! place is locked from before the first file is written until the folder is there.
//!
//! A folder is known by its [`Manifest`]. Only the files that it lists are replaced; what others put into the folder stays in
//! it, and a folder of which somebody has changed a file is not replaced at all.

use std::{
    fs,
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    atomic::{is_staging_of, staging_for},
    digest::Hashed,
    error::{FolderError, FolderKind},
    files::Files,
    lock::PlaceLock,
    manifest::{MANIFEST, Manifest, hash_of},
    replace::{Occupant, is_absent, parent_of, put_in_place, recover},
};

/// The highest number behind the name of a folder that goes beside another one.
const NUMBER_MAX: u32 = 100_000;

/// Attempts to lock a place whose parent folder goes away each time, as another process created it and found no use for it.
const LOCKS_MAX: u32 = 100;

/// How a kind of folder is known.
#[derive(Debug)]
pub struct Contents {
    /// The words in which errors speak of such a folder.
    pub kind: &'static FolderKind,
    /// The content of the folder, as its manifest names it.
    pub holds: &'static str,
    /// Returns whether a folder is of this kind, and of a version of the program that wrote no manifest.
    pub is_unlisted: fn(&Path) -> bool,
    /// Returns whether a folder holds what cannot be had again, such as a measurement, and is replaced by force only.
    pub is_precious: fn(&Path) -> bool,
    /// Returns whether a folder is what a killed process left beside the place, and may be removed.
    pub is_abandoned: fn(&dyn Files, &Path) -> bool,
}

/// The treatment of an earlier folder in the place of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// It is replaced, unless it was changed or is precious: a simulated run can be had again.
    Replace,
    /// It stays, and the new one goes to a free place beside it, such as `real-seed42-2`: a measurement happens once.
    Keep,
    /// It is replaced, changed or not.
    Force,
}

/// Where a folder was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The folder, which is another than the one asked for if something came into that place meanwhile.
    pub place: PathBuf,
    /// The folder where files of others had to stay, as they could not be moved into the new one.
    pub left: Option<PathBuf>,
}

/// The earlier content that a new folder replaces.
#[derive(Debug)]
enum Replaces {
    Nothing,
    Listed(Manifest),
    /// A folder without a manifest: files that have the name of a new one.
    Unlisted,
}

/// A folder that is being written, and its place. Dropped before it is complete, it leaves nothing.
#[derive(Debug)]
pub struct Place {
    files: Arc<dyn Files>,
    contents: &'static Contents,
    earlier: Earlier,
    path: PathBuf,
    staging: PathBuf,
    manifest: Manifest,
    /// The folders above that did not exist, the innermost first.
    created: Vec<PathBuf>,
    /// Keep other processes from the place, and from what was written beside it.
    locks: Vec<PlaceLock>,
    /// The place of the earlier folder that is kept, if there is one.
    kept: Option<PathBuf>,
    /// True if the folder cannot be put in its place, but holds what must not be lost.
    stays: bool,
}

impl Place {
    /// Prepares to write a folder at `path`: what could go wrong after it is complete is found out before.
    ///
    /// # Errors
    ///
    /// Returns an error if there is something else, or a folder that was changed, if another process writes there, or if the
    /// operating system refuses.
    pub fn prepare(
        files: Arc<dyn Files>,
        path: &Path,
        contents: &'static Contents,
        earlier: Earlier,
    ) -> Result<Self, FolderError> {
        let asked = path;
        let path = named(asked, contents)?;
        let parents = path.ancestors().skip(1);
        let created = parents.take_while(|parent| !parent.as_os_str().is_empty() && !parent.exists());
        let created: Vec<_> = created.map(Path::to_owned).collect();
        // From here on, dropping the place removes what was created.
        let mut place = Self {
            files,
            contents,
            earlier,
            path,
            staging: PathBuf::new(),
            manifest: Manifest::new(contents.holds),
            created,
            locks: Vec::new(),
            kept: None,
            stays: false,
        };
        place.settle().map_err(|error| match error {
            // As it was named, which may have been `.`.
            FolderError::Occupied { path, kind } if path == place.path => {
                FolderError::Occupied { path: asked.to_owned(), kind }
            }
            error => error,
        })?;
        place.staging = staging_for(&place.path);
        place.files.create_folder(&place.staging).map_err(contents.kind.unwritable(&place.staging))?;
        Ok(place)
    }

    /// Returns the path of the place, which is another one than was asked for if an earlier folder is kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path where the folder is until it is complete.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// Returns the place that was asked for, if the earlier folder in it is kept and this one goes to another place.
    pub fn kept(&self) -> Option<&Path> {
        self.kept.as_deref()
    }

    /// Locks the place or, to keep an earlier folder, the first free one beside it, and removes what killed processes left.
    fn settle(&mut self) -> Result<(), FolderError> {
        let lock = self.lock(&self.path)?.ok_or_else(|| FolderError::InUse { path: self.path.clone() })?;
        self.locks.push(lock);
        recover(&*self.files, &self.path, self.contents.holds).map_err(self.contents.kind.unwritable(&self.path))?;
        if self.is_kept() {
            self.kept = Some(self.path.clone());
            self.move_aside()?;
        } else {
            self.replaces()?;
        }
        self.remove_abandoned().map_err(self.contents.kind.unwritable(&self.path))
    }

    /// Locks `path`, and creates the folder that it is in; `None` if another process holds the lock.
    fn lock(&self, path: &Path) -> Result<Option<PlaceLock>, FolderError> {
        let unwritable = |reason| self.contents.kind.unwritable(path)(reason);
        for _ in 0..LOCKS_MAX {
            if !self.created.is_empty() {
                self.files.create_folder(parent_of(path)).map_err(unwritable)?;
            }
            match PlaceLock::take(&self.files, path) {
                // A process that created the folder above, too, has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.created.is_empty() => {}
                taken => return taken.map_err(unwritable),
            }
        }
        Ok(None)
    }

    /// Returns whether there is a folder at the place that must not be replaced.
    fn is_kept(&self) -> bool {
        match self.earlier {
            Earlier::Force => false,
            Earlier::Keep => self.is_ours(),
            Earlier::Replace => self.is_ours() && (self.contents.is_precious)(&self.path),
        }
    }

    /// Returns whether there is a folder of this kind at the place.
    fn is_ours(&self) -> bool {
        match Occupant::at(&*self.files, &self.path, self.contents.holds) {
            Occupant::Nothing => false,
            Occupant::Ours(_) => true,
            Occupant::Other => (self.contents.is_unlisted)(&self.path),
        }
    }

    /// Makes the first free place beside this one the new place, and locks it.
    fn move_aside(&mut self) -> Result<(), FolderError> {
        let asked = self.path.clone();
        for number in 2..NUMBER_MAX {
            let path = numbered(&asked, number);
            let Some(lock) = self.lock(&path)? else { continue };
            recover(&*self.files, &path, self.contents.holds).map_err(self.contents.kind.unwritable(&path))?;
            if matches!(Occupant::at(&*self.files, &path, self.contents.holds), Occupant::Nothing) {
                self.locks.push(lock);
                self.path = path;
                return Ok(());
            }
        }
        Err(FolderError::Occupied { path: asked, kind: self.contents.kind })
    }

    /// Returns what the new folder replaces.
    fn replaces(&self) -> Result<Replaces, FolderError> {
        let path = self.path.clone();
        let replaces = match Occupant::at(&*self.files, &path, self.contents.holds) {
            Occupant::Nothing => Replaces::Nothing,
            Occupant::Ours(manifest) => Replaces::Listed(manifest),
            Occupant::Other if (self.contents.is_unlisted)(&path) => Replaces::Unlisted,
            Occupant::Other => return Err(FolderError::Occupied { path, kind: self.contents.kind }),
        };
        // It has come after the place was prepared.
        if self.is_kept() {
            return Err(FolderError::Occupied { path, kind: self.contents.kind });
        }
        if is_mount_point(&path) {
            return Err(FolderError::MountPoint { path });
        }
        match &replaces {
            _ if self.earlier == Earlier::Force => {}
            Replaces::Nothing => {}
            Replaces::Unlisted => return Err(FolderError::Unlisted { path }),
            Replaces::Listed(manifest) => {
                let changed = manifest.changed(&path).map_err(FolderError::unreadable(&path))?;
                if let Some(path) = changed.into_iter().next() {
                    return Err(FolderError::Changed { path });
                }
            }
        }
        Ok(replaces)
    }

    /// Removes what killed processes left beside the place. Only under the lock: otherwise it may be another process's.
    fn remove_abandoned(&self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default();
        for found in self.files.list(parent_of(&self.path))? {
            let path = self.path.with_file_name(&found);
            let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
            if is_staging_of(&found, name) && is_folder && (self.contents.is_abandoned)(&*self.files, &path) {
                self.files.remove_folder(&path)?;
            }
        }
        Ok(())
    }

    /// Creates a folder called `name` in the folder, and returns its path.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn create_folder(&self, name: &str) -> Result<PathBuf, FolderError> {
        let path = self.staging.join(name);
        self.files.create_folder(&path).map_err(self.contents.kind.unwritable(&path))?;
        Ok(path)
    }

    /// Writes a file called `name` with `content`.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses.
    pub fn write_file(&mut self, name: &str, content: &[u8]) -> Result<(), FolderError> {
        self.write(name, |file| file.write_all(content))
    }

    /// Creates the file called `name`, lets `write` fill it, and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// Returns an error if `write` does, or the operating system refuses.
    pub fn write(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        let path = self.staging.join(name);
        let hash = create_and_sync(&*self.files, &path, write).map_err(self.contents.kind.unwritable(&path))?;
        self.manifest.add(name, hash);
        Ok(())
    }

    /// Replaces the file called `name` as a whole: a process that is killed meanwhile leaves it as it was.
    ///
    /// # Errors
    ///
    /// Returns an error if `write` does, or the operating system refuses.
    pub(super) fn rewrite(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<(), FolderError>,
    ) -> Result<(), FolderError> {
        let path = self.staging.join(name);
        let temporary = staging_for(&path);
        let mut failed = None;
        let hash = create_and_sync(&*self.files, &temporary, |file| {
            write(file).map_err(|error| {
                failed = Some(error);
                io::ErrorKind::Other.into()
            })
        });
        let moved = hash.and_then(|hash| self.files.rename(&temporary, &path).map(|()| hash));
        match moved {
            Ok(hash) => {
                self.manifest.add(name, hash);
                Ok(())
            }
            Err(reason) => {
                // The first error is the one to report.
                let _ = self.files.remove_file(&temporary);
                Err(failed.unwrap_or_else(|| self.contents.kind.unwritable(&path)(reason)))
            }
        }
    }

    /// Sets whether the folder stays beside its place when this is dropped before it is complete.
    pub(super) fn set_stays(&mut self, stays: bool) {
        self.stays = stays;
    }

    /// Returns whether the folder stays beside its place when this is dropped before it is complete.
    pub(super) fn stays(&self) -> bool {
        self.stays
    }

    /// Returns the files that it is written through.
    pub(super) fn files(&self) -> Arc<dyn Files> {
        self.files.clone()
    }

    /// Lists the file called `name`, which something else has written into the folder.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be read.
    pub fn add_file(&mut self, name: &str) -> Result<(), FolderError> {
        let path = self.staging.join(name);
        let hash = hash_of(&path).map_err(FolderError::unreadable(&path))?;
        self.manifest.add(name, hash);
        Ok(())
    }

    /// Lists the files of the folder called `name`, which something else has written; does nothing if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read.
    pub fn add_folder(&mut self, name: &str) -> Result<(), FolderError> {
        let path = self.staging.join(name);
        if is_absent(&path) {
            return Ok(());
        }
        self.manifest.add_folder(&self.staging, name).map_err(FolderError::unreadable(&path))
    }

    /// Writes the manifest, and moves the folder into its place, where it replaces an earlier one. If something else has come
    /// into the place meanwhile, the folder goes to a free place beside it.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses. A folder that was complete stays where it was written.
    pub fn put_in_place(mut self) -> Result<Placed, FolderError> {
        let content = self.manifest.to_json();
        self.write_file(MANIFEST, content.as_bytes())?;
        let replaced = match self.replaces() {
            Ok(Replaces::Nothing) => None,
            Ok(Replaces::Listed(manifest)) => Some(manifest),
            Ok(Replaces::Unlisted) => Some(self.of_same_names()?),
            // It may be one that cannot be had again: it must not be lost to what came into its place.
            Err(_) => {
                self.move_aside().inspect_err(|_| self.stays = true)?;
                None
            }
        };
        match put_in_place(&*self.files, &self.staging, &self.path, replaced.as_ref()) {
            Ok(left) => Ok(Placed { place: self.path.clone(), left }),
            Err(reason) => {
                self.stays = true;
                Err(FolderError::NotMoved { path: self.path.clone(), staging: self.staging.clone(), reason })
            }
        }
    }

    /// Returns the manifest of the files in the place that have the name of a new one.
    fn of_same_names(&self) -> Result<Manifest, FolderError> {
        let names = self.manifest.names().map(str::to_owned);
        Manifest::of_names(self.contents.holds, &self.path, names).map_err(FolderError::unreadable(&self.path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Once it is in place there is nothing to remove; an error here can be neither fixed nor reported.
        if !self.stays && !self.staging.as_os_str().is_empty() {
            let _ = self.files.remove_folder(&self.staging);
        }
        // Their files are in the folder above.
        self.locks.clear();
        // Stops at the first folder that holds something, such as the run.
        let _ = self.created.iter().try_for_each(|folder| self.files.remove_empty_folder(folder));
    }
}

/// Returns `path` with a name at its end: a link goes on pointing to where it did, and `.` is the folder that it stands for.
fn named(path: &Path, contents: &Contents) -> Result<PathBuf, FolderError> {
    // Without a slash at the end, which would lead behind a link.
    let path: PathBuf = path.components().collect();
    let has_name = path.file_name().is_some();
    if has_name && !path.is_symlink() {
        return Ok(path);
    }
    match path.canonicalize() {
        Ok(path) if path.file_name().is_some() => Ok(path),
        // The root, or a link that leads nowhere: nothing can be put into the place of either.
        Ok(_) => Err(FolderError::Occupied { path, kind: contents.kind }),
        Err(_) if has_name => Err(FolderError::Occupied { path, kind: contents.kind }),
        Err(reason) => Err(contents.kind.unwritable(&path)(reason)),
    }
}

/// Returns the path beside `place` whose name ends in `number`.
fn numbered(place: &Path, number: u32) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    place.with_file_name(name)
}

/// Returns whether the folder at `path` is on another file system than the folder that it is in.
fn is_mount_point(path: &Path) -> bool {
    let own = fs::metadata(path).map(|found| found.dev());
    let above = fs::metadata(parent_of(path)).map(|found| found.dev());
    own.is_ok_and(|own| above.is_ok_and(|above| own != above))
}

/// Creates the file at `path`, lets `write` fill it, and waits until it is on the disk. Returns the SHA-256 of its content.
fn create_and_sync(
    files: &dyn Files,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<String> {
    let mut file = BufWriter::new(files.create(path)?);
    let mut hashed = Hashed::new(&mut file);
    write(&mut hashed)?;
    let hash = hashed.finish();
    file.flush()?;
    file.get_mut().sync()?;
    Ok(hash)
}
