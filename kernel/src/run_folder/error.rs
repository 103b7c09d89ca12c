//! Errors of folders of results, whichever kind they are.

use crate::visible::Visible;
use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

/// The words in which errors speak of one kind of folder.
#[derive(Debug)]
pub struct FolderKind {
    /// Says that something in the way is no such folder, as in "exists and is *not a run folder*".
    pub not_one: &'static str,
    /// Says what the operating system refuses, before the path, as in "cannot *write the run folder: *".
    pub cannot: &'static str,
    /// Says that a file is of another version, as in "*is of another version of this program*".
    pub other_version: &'static str,
    /// The remedy for a file of another version.
    pub other_version_remedy: &'static str,
    /// The remedy for a file that is missing or damaged.
    pub damaged_remedy: &'static str,
}

/// The words in which errors speak of one file of rows.
#[derive(Debug)]
pub struct RowKind {
    /// The kind of folder that it is in.
    pub folder: &'static FolderKind,
    /// Says that a damaged line is no such row, as in "is *not the row of a run*".
    pub not_one: &'static str,
}

/// The reason why a folder cannot be read or written.
///
/// Each message says what was wrong and what would be right; [`Error::source`] is the cause below it.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something that is not a folder of this kind.
    #[error(
        "{path} exists and is {not_one}; move it away, or choose another with --out",
        path = path.visible(), not_one = kind.not_one
    )]
    Occupied {
        /// The path of it.
        path: PathBuf,
        /// The kind of folder that is not there.
        kind: &'static FolderKind,
    },
    /// A folder of this kind was written by a version of the program that did not list its files.
    #[error(
        "{path} was written by an earlier version of this program, which did not list its files; replace it with --force, or \
         choose another folder with --out",
        path = path.visible()
    )]
    Unlisted {
        /// The path of the folder.
        path: PathBuf,
    },
    /// A file of a folder of this kind has another content than this program wrote.
    #[error(
        "{path} was changed after it was written, and would be lost; move it away, replace it with --force, or choose another \
         folder with --out",
        path = path.visible()
    )]
    Changed {
        /// The first such file.
        path: PathBuf,
    },
    /// Another process writes to the place.
    #[error("{path} is being written by another process; wait for it, or choose another folder with --out", path = path.visible())]
    InUse {
        /// The path of the folder.
        path: PathBuf,
    },
    /// A file system is mounted at the place.
    #[error("{path} is a mount point, which cannot be replaced as a whole; choose a folder in it with --out", path = path.visible())]
    MountPoint {
        /// The path of the mount point.
        path: PathBuf,
    },
    /// The folder is complete, and cannot be moved to its place.
    #[error(
        "cannot move the complete folder {staging} to {path}: {reason}; move it yourself",
        path = path.visible(), staging = staging.visible()
    )]
    NotMoved {
        /// The place of the folder.
        path: PathBuf,
        /// The path of the folder.
        staging: PathBuf,
        /// The operating system's words.
        #[source]
        reason: io::Error,
    },
    /// The operating system refuses to write.
    #[error(
        "cannot {cannot}{path}: {reason}; choose another folder with --out",
        path = path.visible(), cannot = kind.cannot
    )]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// The kind of folder.
        kind: &'static FolderKind,
        /// The operating system's words.
        #[source]
        reason: io::Error,
    },
    /// Files of a run were removed while it went on.
    #[error("{path} was removed during the run; what was recorded is there again", path = path.visible())]
    Removed {
        /// The first of the files.
        path: PathBuf,
    },
    /// The operating system refuses to read.
    #[error("cannot read {path}: {reason}", path = path.visible())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        reason: io::Error,
    },
    /// A file is missing.
    #[error("{path} is missing; {remedy}", path = path.visible(), remedy = kind.damaged_remedy)]
    Missing {
        /// The file.
        path: PathBuf,
        /// The kind of folder.
        kind: &'static FolderKind,
    },
    /// A file of rows has none.
    #[error("{path} is empty; {remedy}", path = path.visible(), remedy = kind.damaged_remedy)]
    Empty {
        /// The file.
        path: PathBuf,
        /// The kind of folder.
        kind: &'static FolderKind,
    },
    /// A file was written by another version of the program, or is damaged.
    #[error(
        "{path} {other_version} ({reason}); {remedy}",
        path = path.visible(), other_version = kind.other_version, reason = reason.to_string().visible(), remedy = kind.other_version_remedy
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The kind of folder.
        kind: &'static FolderKind,
        /// The parser's error.
        #[source]
        reason: serde_json::Error,
    },
    /// A line is not a row of its file.
    #[error(
        "{path}:{line} is {not_one}: {reason}; {remedy}",
        path = path.visible(), not_one = kind.not_one, reason = reason.to_string().visible(), remedy = kind.folder.damaged_remedy
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// The kind of row.
        kind: &'static RowKind,
        /// The parser's error, or how the row contradicts what else is known.
        #[source]
        reason: Box<dyn Error + Send + Sync>,
    },
}

/// The parser's error of one line.
#[derive(Debug, thiserror::Error)]
#[error("{}", without_line_number(.0))]
pub(super) struct LineError(#[source] pub(super) serde_json::Error);

/// Returns the parser's words without its line number. It counts from the line that it was given, so it is always 1.
fn without_line_number(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line 1 column ") {
        Some((what, column)) => format!("{what} (column {column})"),
        None => text,
    }
}

impl FolderKind {
    /// Returns the error of an operation that writes to `path`, to be made of the operating system's.
    pub fn unwritable(&'static self, path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<> {
        let path = path.to_owned();
        move |reason| FolderError::Unwritable { path, kind: self, reason }
    }

    /// Returns the error of a file at `path` that cannot be read: it is missing, or the operating system refuses.
    pub fn missing_or_unreadable(&'static self, path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<> {
        let path = path.to_owned();
        move |reason| match reason.kind() {
            io::ErrorKind::NotFound => FolderError::Missing { path, kind: self },
            _ => FolderError::Unreadable { path, reason },
        }
    }
}

impl FolderError {
    /// Returns the error of an operation that reads `path`, to be made of the operating system's.
    pub fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |reason| Self::Unreadable { path, reason }
    }
}

#[cfg(test)]
pub(super) mod sample {
    //! A kind of rows for tests.

    use super::{FolderKind, RowKind};

    pub(crate) static NUMBERS: RowKind = RowKind {
        folder: &FolderKind {
            not_one: "not a folder of numbers",
            cannot: "write ",
            other_version: "is of another version",
            other_version_remedy: "count again",
            damaged_remedy: "count again",
        },
        not_one: "not a number",
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    static KIND: FolderKind = FolderKind {
        not_one: "not a box",
        cannot: "fill the box: ",
        other_version: "is of another version",
        other_version_remedy: "fill it again",
        damaged_remedy: "remove it",
    };
    static ROWS: RowKind = RowKind { folder: &KIND, not_one: "not an item" };

    fn refused() -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, "refused")
    }

    #[test]
    fn messages_name_the_file_the_cause_and_the_remedy() {
        let path = PathBuf::from("a/b");
        let errors = [
            (
                FolderError::Occupied { path: path.clone(), kind: &KIND },
                "a/b exists and is not a box; move it away, or choose another with --out",
            ),
            (KIND.unwritable(&path)(refused()), "cannot fill the box: a/b: refused; choose another folder with --out"),
            (FolderError::unreadable(&path)(refused()), "cannot read a/b: refused"),
            (KIND.missing_or_unreadable(&path)(refused()), "cannot read a/b: refused"),
            (KIND.missing_or_unreadable(&path)(io::ErrorKind::NotFound.into()), "a/b is missing; remove it"),
            (FolderError::Empty { path: path.clone(), kind: &KIND }, "a/b is empty; remove it"),
            (
                FolderError::Malformed { path, line: 2, kind: &ROWS, reason: "too heavy".into() },
                "a/b:2 is not an item: too heavy; remove it",
            ),
        ];
        for (error, message) in errors {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn the_cause_below_is_the_source() {
        let error = KIND.unwritable(Path::new("a"))(io::Error::other("disk on fire"));
        assert_eq!(error.source().unwrap().to_string(), "disk on fire");
        let reason = serde_json::from_str::<u64>("x").unwrap_err();
        let error = FolderError::OtherVersion { path: "a".into(), kind: &KIND, reason };
        assert!(error.source().is_some_and(|source| source.is::<serde_json::Error>()));
        assert!(FolderError::Occupied { path: "a".into(), kind: &KIND }.source().is_none());
    }
}
