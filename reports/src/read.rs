//! Reads folders and files as [`RecordedRun`]s.
//!
//! A run folder is read as it was written (`folder`). A log of another program is read by a mapping of its columns
//! (`foreign`). A damaged line is an error that names it. A file that is missing but not required becomes a note of the
//! run.

mod bad_rows;
mod columns;
mod error;
mod folder;
mod foreign;
mod moment;
mod outcome;

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

pub use self::{
    bad_rows::BadRowsMax,
    columns::{Columns, Mapping, only},
    error::ReadError,
};
use crate::{distribution::NamedDistribution, run::RecordedRun};

/// The content of a folder or a file.
#[derive(Debug)]
pub enum Input {
    /// The requests of a run.
    Run(Box<RecordedRun>),
    /// Quantiles of its latencies only.
    Quantiles(NamedDistribution),
}

/// Reads the run folder or, if it is a file, the log at `place`; `mapping` says what the columns of a log mean.
///
/// # Errors
/// There is no run, or it cannot be read, or it has quantiles only; see [`ReadError`].
pub fn run(place: &Path, mapping: &Mapping) -> Result<RecordedRun, ReadError> {
    match input(place, mapping)? {
        Input::Run(run) => Ok(*run),
        Input::Quantiles(named) => Err(ReadError::Quantiles(named.place)),
    }
}

/// Checks the name of a format of logs.
///
/// # Errors
/// There is no such format; the message lists all.
pub fn format_name(name: &str) -> Result<String, String> {
    foreign::format_name(name).map(str::to_owned)
}

/// Returns the names of all formats of logs, in the order in which they are tried.
pub fn format_names() -> impl Iterator<Item = &'static str> {
    foreign::format_names()
}

/// Reads the run folder or, if it is a file, the log or the quantiles at `place`; `mapping` says what the columns of a log
/// mean.
///
/// # Errors
/// There is no run, or it cannot be read; see [`ReadError`].
pub fn input(place: &Path, mapping: &Mapping) -> Result<Input, ReadError> {
    let metadata = fs::metadata(place).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing(place.to_owned()),
        _ => ReadError::unreadable(place)(error),
    })?;
    if metadata.is_dir() {
        return folder::run(place).map(Box::new).map(Input::Run);
    }
    // A pipe can be read only once, and a device may have no end.
    if !metadata.is_file() {
        let reason = "it is neither a file nor a folder; write what it holds to a file, and name that".to_owned();
        return Err(ReadError::Content { path: place.to_owned(), reason });
    }
    foreign::input(place, mapping)
}

/// The greatest number of bytes of a document that is read as a whole.
const DOCUMENT_MAX: u64 = 16 << 20;

/// Reads a document of a folder, such as `scenario.toml`.
///
/// # Errors
/// It is no regular file, too long, not UTF-8, or cannot be read.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    let read = fs::File::open(path)?.take(DOCUMENT_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > DOCUMENT_MAX {
        return Err(io::Error::other(format!("it is longer than {} MiB", DOCUMENT_MAX >> 20)));
    }
    Ok(text)
}

/// The greatest number of names in a message.
const LISTED_MAX: usize = 40;

/// Returns the names of columns, separated by commas; the first ones only if there are many.
fn listed(names: &[String]) -> String {
    let mut list = names.iter().take(LISTED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED_MAX {
        list.push_str(&format!(", and {} more", names.len() - LISTED_MAX));
    }
    list
}
