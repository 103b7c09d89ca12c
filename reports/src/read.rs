//! Reads folders and files as [`RecordedRun`]s.
//!
//! A run folder is read as it was written (`folder`). A log of another program is read by a mapping of its columns
//! (`foreign`). A damaged line is an error that names it. A file that is missing but not required becomes a note of the
//! run.

mod columns;
mod error;
mod folder;
mod foreign;
mod outcome;
mod sanity;

use std::path::Path;

pub use self::{
    columns::{Columns, Mapping, only},
    error::ReadError,
};
use crate::run::RecordedRun;

/// Reads the run folder or, if it is a file, the log at `place`; `mapping` says what the columns of a log mean.
///
/// # Errors
/// There is no run, or it cannot be read; see [`ReadError`].
pub fn run(place: &Path, mapping: &Mapping) -> Result<RecordedRun, ReadError> {
    let run = if place.is_file() { foreign::run(place, mapping) } else { folder::run(place) };
    run.map(sanity::checked)
}
