//! Replacing a file as a whole: a reader sees the old content or the new one, never a part of either.
//!
//! The content is written beside the file under a name of its own, brought to the disk, and moved into place. The crate
//! `tempfile` does the same, but its calls cannot be made to fail one by one, as [`Files`] can.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use super::{files::Files, manifest::is_file};

/// Suffix of the name of a file or folder while it is being written.
pub const PARTIAL: &str = ".partial";
/// Suffix of the name of a folder while another one takes its place.
pub const REPLACED: &str = ".replaced";

/// Writes `content` to `path`, in place of the file that is there.
///
/// # Errors
///
/// Returns an error if the operating system refuses; the file at `path` is then as it was.
pub fn write(files: &dyn Files, path: &Path, content: &[u8]) -> io::Result<()> {
    let staging = staging_for(path);
    let written = write_and_move(files, &staging, path, content);
    if written.is_err() {
        // The first error is the one to report; a file that cannot be removed either is found by `is_staging_of`.
        let _ = files.remove_file(&staging);
    }
    written
}

/// Writes `content` to `path`, where nothing is yet: a reader sees nothing or all of it.
///
/// # Errors
///
/// Returns an error if there is something at `path`, or the operating system refuses; nothing is then left.
pub fn create(files: &dyn Files, path: &Path, content: &[u8]) -> io::Result<()> {
    let staging = staging_for(path);
    let written = write_and_sync(files, &staging, content).and_then(|()| files.link(&staging, path));
    let _ = files.remove_file(&staging);
    written?;
    files.sync_folder(path.parent().unwrap_or(Path::new("")))
}

fn write_and_move(files: &dyn Files, staging: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    // Before the move: otherwise a power failure may leave the new name with no content.
    write_and_sync(files, staging, content)?;
    files.rename(staging, path)?;
    files.sync_folder(path.parent().unwrap_or(Path::new("")))
}

fn write_and_sync(files: &dyn Files, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = files.create(path)?;
    file.write_all(content)?;
    file.sync()
}

/// Returns a path beside `path` that no other write uses, in this process or another.
pub(super) fn staging_for(path: &Path) -> PathBuf {
    temporary_for(path, PARTIAL)
}

/// Returns a path beside `path` that nothing else uses, in this process or another, and that ends in `suffix`.
pub(super) fn temporary_for(path: &Path, suffix: &str) -> PathBuf {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}{suffix}", process::id()));
    path.with_file_name(name)
}

/// Returns whether an interrupted [`write()`] to a file called `file` may have left a file called `name`.
pub fn is_staging_of(name: &OsStr, file: &OsStr) -> bool {
    // Earlier versions wrote without a number.
    rest_of(name, file) == Some(PARTIAL.as_bytes()) || is_temporary_of(name, file, PARTIAL)
}

/// Returns whether `name` is one that [`temporary_for`] makes of `file` and `suffix`.
pub(super) fn is_temporary_of(name: &OsStr, file: &OsStr, suffix: &str) -> bool {
    let writer = rest_of(name, file).and_then(|rest| rest.strip_prefix(b"."));
    writer.and_then(|writer| writer.strip_suffix(suffix.as_bytes())).is_some_and(is_writer)
}

/// Returns what follows `file` in `name`. Names are bytes, as those of folders need not be UTF-8.
fn rest_of<'a>(name: &'a OsStr, file: &OsStr) -> Option<&'a [u8]> {
    name.as_encoded_bytes().strip_prefix(file.as_encoded_bytes())
}

/// Returns whether `text` is a process id and the number of a write.
fn is_writer(text: &[u8]) -> bool {
    let parts: Vec<_> = text.split(|&byte| byte == b'-').collect();
    parts.len() == 2 && parts.iter().all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

/// Removes what interrupted writes to the files called `names` left in `folder`.
///
/// Only for a folder that no other process is writing to.
///
/// # Errors
///
/// Returns an error if the operating system refuses.
pub fn remove_abandoned(files: &dyn Files, folder: &Path, names: &[&str]) -> io::Result<()> {
    let found: Vec<OsString> = files.list(folder)?;
    let abandoned = found.iter().filter(|found| names.iter().any(|name| is_staging_of(found, name.as_ref())));
    abandoned.into_iter().try_for_each(|name| files.remove_file(&folder.join(name)))
}

/// Removes what processes that have ended left of writes to files in `folder` whose names `is_ours` accepts. Other processes may
/// be writing to it.
///
/// # Errors
///
/// Returns an error if the operating system refuses.
pub fn remove_of_ended(files: &dyn Files, folder: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
    let found = match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    for name in found {
        let path = folder.join(&name);
        let is_left = writer_of(&name).is_some_and(|(file, process)| is_ours(file) && !is_running(process));
        if is_left && is_file(&path) {
            files.remove_file(&path)?;
        }
    }
    Ok(())
}

/// Returns the name of the file that an interrupted write was to, and the process; `None` if `name` is of something else.
fn writer_of(name: &OsStr) -> Option<(&str, i32)> {
    let (file, writer) = name.to_str()?.strip_suffix(PARTIAL)?.rsplit_once('.')?;
    let (process, _) = writer.split_once('-')?;
    is_writer(writer.as_bytes()).then_some((file, process.parse().ok()?))
}

fn is_running(process: i32) -> bool {
    // A process of another user exists, too.
    Pid::from_raw(process).is_some_and(|process| test_kill_process(process) != Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::files::{OsFiles, failing::FailingFiles},
        *,
    };

    #[test]
    fn a_write_replaces_the_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        for content in ["1\n", "2\n"] {
            write(&OsFiles, &path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(OsFiles.list(folder.path()).unwrap(), ["rows.jsonl"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        // A file cannot be moved over a folder.
        write(&OsFiles, &path, b"1\n").unwrap_err();
        assert!(path.is_dir());
        assert_eq!(OsFiles.list(folder.path()).unwrap(), ["taken"]);
    }

    #[test]
    fn a_file_is_created_whole_and_never_over_another() {
        for calls in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("new.toml");
            let files = FailingFiles::failing_at(calls);
            let created = create(&*files, &path, b"new");
            assert!(fs::read(&path).is_ok_and(|content| content == b"new") || (created.is_err() && !path.exists()));
            if !files.has_stopped() {
                created.unwrap();
                assert_eq!(create(&OsFiles, &path, b"other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
                assert_eq!(fs::read(&path).unwrap(), b"new");
                assert_eq!(OsFiles.list(folder.path()).unwrap(), ["new.toml"]);
                break;
            }
        }
    }

    #[test]
    fn a_process_that_stops_at_any_call_leaves_the_old_content_or_the_new() {
        for calls in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("rows.jsonl");
            write(&OsFiles, &path, b"old").unwrap();
            let files = FailingFiles::stopping_at(calls);
            let written = write(&*files, &path, b"new");
            let content = fs::read_to_string(&path).unwrap();
            assert!(content == "new" || (content == "old" && written.is_err()), "stopped at call {calls}: {content}");
            remove_abandoned(&OsFiles, folder.path(), &["rows.jsonl"]).unwrap();
            assert_eq!(OsFiles.list(folder.path()).unwrap(), ["rows.jsonl"]);
            if !files.has_stopped() {
                assert_eq!(content, "new");
                break;
            }
        }
    }

    #[test]
    fn staging_names_are_unique_and_recognised() {
        let path = Path::new("folder/rows.jsonl");
        let first = staging_for(path);
        assert_ne!(first, staging_for(path));
        assert_eq!(first.parent(), path.parent());
        assert!(is_staging_of(first.file_name().unwrap(), "rows.jsonl".as_ref()));
        assert!(is_staging_of(OsStr::new("rows.jsonl.partial"), "rows.jsonl".as_ref()));
        for foreign in ["rows.jsonl", "rows.jsonl.1-.partial", "rows.jsonl.old.partial", "other.jsonl.1-2.partial"] {
            assert!(!is_staging_of(OsStr::new(foreign), "rows.jsonl".as_ref()), "{foreign}");
        }
    }

    #[test]
    fn only_files_of_interrupted_writes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["rows.jsonl", "rows.jsonl.12-3.partial", "rows.jsonl.partial", "thesis.partial"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_abandoned(&OsFiles, folder.path(), &["rows.jsonl"]).unwrap();
        let mut left = OsFiles.list(folder.path()).unwrap();
        left.sort();
        assert_eq!(left, ["rows.jsonl", "thesis.partial"]);
    }
    #[test]
    fn what_is_left_of_a_process_that_has_ended_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let own = format!("a.toml.{}-0.partial", process::id());
        // No process has the highest number that there is.
        let ended = format!("a.toml.{}-0.partial", i32::MAX);
        let foreign = format!("thesis.{}-0.partial", i32::MAX);
        for name in [&own, &ended, &foreign] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_of_ended(&OsFiles, folder.path(), |file| file == "a.toml").unwrap();
        let mut left = OsFiles.list(folder.path()).unwrap();
        left.sort();
        assert_eq!(left, [own.as_str(), foreign.as_str()]);
        remove_of_ended(&OsFiles, &folder.path().join("none"), |_| true).unwrap();
    }
}
