//! The errors of reading a run folder or a log.

use std::{io, path::PathBuf};

use kernel::{run_folder::FolderError, visible::Visible};

use crate::fold::TooManyWindows;

/// The most characters of a reason, which may list the columns of a log.
const REASON_MAX: usize = 2_000;

/// The reason why a run cannot be read. Each message contains the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is nothing at the path.
    #[error("{path} does not exist; name a run folder, such as runs/crash/sim-seed42, or a request log", path = .0.visible())]
    Missing(PathBuf),
    /// The folder has no requests.
    #[error("{path} holds no run: requests.jsonl is missing; {remedy}", path = path.visible())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// The advice.
        remedy: String,
    },
    /// The operating system refuses to read a file.
    #[error("cannot read {path}: {reason}", path = path.visible())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        reason: io::Error,
    },
    /// A line of a log is wrong.
    #[error("{path}, line {line}: {reason}", path = path.visible(), reason = reason.visible())]
    Line {
        /// The log.
        path: PathBuf,
        /// The number of the line, from 1.
        line: usize,
        /// The mistake.
        reason: String,
    },
    /// The content of a file as a whole is wrong.
    #[error("{path}: {reason}", path = path.visible(), reason = reason.visible_within(REASON_MAX))]
    Content {
        /// The file.
        path: PathBuf,
        /// The mistake.
        reason: String,
    },
    /// A log does not have a column that the mapping names, or that is required.
    #[error(
        "{path} has no column `{column}` for {what}; it has {present}; map it with --columns {what}=NAME",
        path = path.visible(), column = column.visible(), present = present.visible_within(REASON_MAX)
    )]
    NoColumn {
        /// The log.
        path: PathBuf,
        /// The field of a request that the column is for.
        what: &'static str,
        /// The name of the column.
        column: String,
        /// The names of the columns that it has.
        present: String,
    },
    /// The log is not of requests, but holds quantiles only.
    #[error("{path} holds quantiles and no requests, so only its latencies can be compared", path = .0.visible())]
    Quantiles(PathBuf),
    /// There is no format of this name.
    #[error("--format {}", .0.visible_within(REASON_MAX))]
    Format(String),
    /// The mapping of columns is not valid.
    #[error("--columns {}", .0.visible_within(REASON_MAX))]
    Mapping(String),
    /// The run has too many windows.
    #[error(transparent)]
    Windows(#[from] TooManyWindows),
    /// A file of a run folder cannot be read.
    #[error(transparent)]
    Rows(#[from] FolderError),
}

impl ReadError {
    /// Returns the error of a file at `path` that cannot be read, as a function of the operating system's error.
    pub(super) fn unreadable(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |reason| Self::Unreadable { path, reason }
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, path::Path};

    use super::*;

    #[test]
    fn an_error_of_the_operating_system_is_the_source() {
        let error = ReadError::unreadable(Path::new("runs/one"))(io::ErrorKind::PermissionDenied.into());
        assert_eq!(error.source().map(ToString::to_string), Some("permission denied".to_owned()));
    }
}
