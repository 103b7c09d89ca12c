//! Putting a new folder into the place of an earlier one, without losing what this program did not write.
//!
//! The earlier folder is moved aside, the new one into its place, then what is not ours follows from the earlier folder,
//! and the rest of it, which its [`Manifest`] lists, is removed file by file. A process that is killed in between leaves
//! the earlier folder beside the place; [`recover`] continues from there.

use std::{
    cmp::Reverse,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    atomic::{REPLACED, is_temporary_of, temporary_for},
    files::Files,
    manifest::{MANIFEST, Manifest, is_in_real_folders},
};

/// The content of a report's folder, as its manifest names it. A report in the folder of a run goes with the run.
pub const REPORT: &str = "report";

/// The present content of the place of a folder.
#[derive(Debug)]
pub enum Occupant {
    /// Nothing, or an empty folder.
    Nothing,
    /// A folder that this program wrote, with its manifest.
    Ours(Manifest),
    /// Anything else.
    Other,
}

impl Occupant {
    /// Finds out what is at `place`, where a folder that holds `holds` may be.
    pub fn at(files: &dyn Files, place: &Path, holds: &str) -> Self {
        if is_absent(place) || files.list(place).is_ok_and(|names| names.is_empty()) {
            return Self::Nothing;
        }
        match Manifest::read(place) {
            Some(manifest) if manifest.holds == holds => Self::Ours(manifest),
            _ => Self::Other,
        }
    }
}

/// Finishes or takes back a replacement of the folder at `place` that a killed process began. Only under the lock of the
/// place: otherwise another process may be in the middle of it.
///
/// # Errors
///
/// Returns an error if the operating system refuses to put an earlier folder back.
pub fn recover(files: &dyn Files, place: &Path, holds: &str) -> io::Result<()> {
    let parent = parent_of(place);
    let place_name = place.file_name().unwrap_or_default();
    let mut found: Vec<_> =
        files.list(parent)?.into_iter().filter(|name| is_temporary_of(name, place_name, REPLACED)).collect();
    found.sort();
    for former in found.iter().map(|name| place.with_file_name(name)) {
        match (Occupant::at(files, &former, holds), Occupant::at(files, place, holds)) {
            // All of it has been moved or removed.
            (Occupant::Nothing, _) => remove_if_empty(files, &former)?,
            (Occupant::Ours(_), _) if is_absent(place) => files.rename(&former, place)?,
            // Files that cannot be moved stay where they are, as they do without a kill.
            (Occupant::Ours(manifest), Occupant::Ours(_)) => drop(empty(files, &former, place, &manifest)),
            // Files of others alone, which a warning named; or a place that has since become somebody else's.
            _ => {}
        }
    }
    Ok(())
}

/// Moves the folder at `staging` to `place`. Of a folder that is there and that `manifest` is the manifest of, files of
/// others move into the new one; `manifest` is `None` if there is nothing, or an empty folder. Returns the path where files
/// of others had to stay, because the new folder has files of their names or the operating system refuses to move them.
///
/// # Errors
///
/// Returns an error if the operating system refuses, or something has come into the place; an earlier folder is then where
/// it was, or beside it, from where [`recover`] moves it.
pub fn put_in_place(
    files: &dyn Files,
    staging: &Path,
    place: &Path,
    manifest: Option<&Manifest>,
) -> io::Result<Option<PathBuf>> {
    files.sync_folder(staging)?;
    let former = temporary_for(place, REPLACED);
    if manifest.is_some() {
        files.rename(place, &former)?;
    }
    // The system refuses to move a folder over one that is not empty, so that nothing that came meanwhile is lost.
    if let Err(error) = files.rename(staging, place) {
        if manifest.is_some() {
            // Only the first error is reported.
            let _ = files.rename(&former, place);
        }
        return Err(error);
    }
    // The folder is in its place: what fails from here on loses nothing, and the next run tries it again.
    let _ = files.sync_folder(parent_of(place));
    Ok(manifest.and_then(|manifest| empty(files, &former, place, manifest)))
}

/// Moves what is not ours from the folder at `former` to that at `place`, and removes the rest. Returns `former` if something
/// had to stay.
fn empty(files: &dyn Files, former: &Path, place: &Path, manifest: &Manifest) -> Option<PathBuf> {
    // After an error the folder stays as it is, with its manifest, so that the next run tries it again. Only what has no place in
    // the new folder stays for good.
    let _ = move_others(files, former, place, Path::new(""), manifest)
        .and_then(|()| remove_listed(files, former, manifest));
    (!is_absent(former)).then(|| former.to_owned())
}

/// Moves what `manifest` does not list from the part called `part` of `former` into `place`. What has a name there stays.
/// Tries to move everything, and returns the first error.
fn move_others(files: &dyn Files, former: &Path, place: &Path, part: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut first = Ok(());
    for name in files.list(&former.join(part))? {
        let path = part.join(&name);
        let text = path.to_str();
        if text.is_some_and(|text| manifest.lists(text) || text == MANIFEST) {
            continue;
        }
        let moved = move_other(files, former, place, &path, manifest);
        if first.is_ok() {
            first = moved;
        }
    }
    first
}

fn move_other(files: &dyn Files, former: &Path, place: &Path, path: &Path, manifest: &Manifest) -> io::Result<()> {
    let from = former.join(path);
    let to = place.join(path);
    if is_folder(&from) {
        remove_report(files, &from)?;
        // No file of ours has a name that is not UTF-8.
        let has_ours = path.to_str().is_some_and(|text| manifest.lists_in(text));
        if !is_absent(&from) && (has_ours || is_folder(&to)) {
            return move_others(files, former, place, path, manifest);
        }
    }
    if is_absent(&from) || !is_absent(&to) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        files.create_folder(parent)?;
    }
    files.rename(&from, &to)
}

/// Removes the report at `place`, if there is one that was not changed: a report of the replaced run is not one of the new run.
fn remove_report(files: &dyn Files, place: &Path) -> io::Result<()> {
    match Manifest::read(place) {
        Some(report) if report.holds == REPORT && report.changed(place)?.is_empty() => {
            remove_listed(files, place, &report)
        }
        _ => Ok(()),
    }
}

/// Removes the files that `manifest` lists from the folder at `place`, then the folders in it that are empty, then the
/// manifest, and the folder itself if nothing else is in it. A folder that has come in the place of a file stays.
///
/// # Errors
///
/// Returns an error if the operating system refuses.
fn remove_listed(files: &dyn Files, place: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut folders = Vec::new();
    for name in manifest.names().filter(|name| is_in_real_folders(place, name)) {
        let path = place.join(name);
        folders.extend(path.ancestors().skip(1).take_while(|folder| *folder != place).map(Path::to_owned));
        if !is_absent(&path) && !is_folder(&path) {
            files.remove_file(&path)?;
        }
    }
    // The innermost first, and each once.
    folders.sort_by_key(|folder| (Reverse(folder.components().count()), folder.clone()));
    folders.dedup();
    folders.iter().try_for_each(|folder| remove_if_empty(files, folder))?;
    // Last: after a kill, what is left is known by it.
    let path = place.join(MANIFEST);
    if !is_absent(&path) {
        files.remove_file(&path)?;
    }
    remove_if_empty(files, place)
}

fn remove_if_empty(files: &dyn Files, folder: &Path) -> io::Result<()> {
    match files.remove_empty_folder(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Ok(()),
        result => result,
    }
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Returns whether there is nothing at `path`, not even a link to a path that does not exist.
pub fn is_absent(path: &Path) -> bool {
    // What cannot be looked at, such as a path below a file, cannot be created either: that error then says why.
    fs::symlink_metadata(path).is_err()
}

/// Returns the folder that `path` is in, which is the current one for a path of one name.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
