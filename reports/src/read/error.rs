//! The error of reading a run folder or a log.

use std::{io, path::PathBuf};

use kernel::run_folder::FolderError;

/// The reason why a run cannot be read. Each message contains the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{path} does not exist; name a run folder, such as runs/crash/sim-seed42, or a request log", path = .0.display())]
    Missing(PathBuf),
    #[error("{path} holds no run: requests.jsonl is missing; {remedy}", path = path.display())]
    NoRun { path: PathBuf, remedy: String },
    #[error("cannot read {path}: {reason}", path = path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        reason: io::Error,
    },
    #[error("{path}, line {line}: {reason}", path = path.display())]
    Line { path: PathBuf, line: usize, reason: String },
    #[error("{path}: {reason}", path = path.display())]
    Content { path: PathBuf, reason: String },
    #[error("{path} has no column `{column}` for {what}; it has {present}; map it with --columns {what}=NAME", path = path.display())]
    NoColumn { path: PathBuf, what: &'static str, column: String, present: String },
    #[error("--columns {0}")]
    Mapping(String),
    #[error(transparent)]
    Rows(#[from] FolderError),
}

impl ReadError {
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
