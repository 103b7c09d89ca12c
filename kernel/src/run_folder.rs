//! Run folders: the files that a run leaves on disk, written so that a failure never leaves half of them.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`folder`] | the run folder: the same files from both worlds |
//! | [`info`] | `run.json`: how a run came about |
//! | [`campaign`] | the folder of a fidelity campaign: run folders of several scenarios |
//! | [`files`] | the file operations that all of this is made of, replaceable in tests |
//! | [`atomic`] | replacing one file as a whole |
//! | [`place`] | the place of a folder that is written as a whole: one process at a time, and an earlier folder replaced |
//! | [`manifest`], [`replace`], [`lock`] | what that is made of: which files are ours, the move, the lock |
//! | [`journal`] | the rows of a run that is under way, written as they come |
//! | `sorted` | sorting a file of rows that may be larger than memory |
//! | [`rows`] | the rows of a run folder, read in passes |
//! | [`state`] | `state.json`: what a folder is that is not complete |
//! | [`single_file`] | a file of results that stands alone, replaced only if it is ours |
//! | [`lines`] | files with a JSON value a line: writing and reading them |
//! | [`blocks`] | folding the lines of a large file, block by block |
//! | [`error`] | errors of a folder, whichever kind it is |
//! | [`digest`] | the digest of a run's records |
//!
//! This module stands above [`record`](crate::record) and [`measure`](crate::measure): rows do not know how they are
//! stored, nor what is computed from them. Folders of many runs are built from the same parts, in
//! [`experiment`](crate::experiment).

pub mod atomic;
pub mod blocks;
pub mod campaign;
pub mod digest;
pub mod error;
pub mod files;
pub mod folder;
pub mod info;
pub mod journal;
pub mod lines;
pub mod lock;
pub mod manifest;
pub mod place;
pub mod replace;
pub mod rows;
pub mod single_file;
mod sorted;
pub mod state;

pub use blocks::FoldedRows;
pub use digest::sha256;
pub use error::{FolderError, FolderKind, RowKind};
pub use files::{Files, OpenFile, OsFiles};
pub use folder::{
    ATTEMPTS, CALLS, EVENTS, REQUESTS, RUN, RowFile, RunEnd, RunFolder, SCENARIO, SUMMARY, Written, sort_rows,
};
pub use info::{CalibrationInfo, EventsInfo, HostInfo, RunInfo};
pub use journal::{Journal, JournalSyncer, WaitingLines};
pub use place::{Contents, Earlier, Place, Placed};
pub use rows::{FileRows, read_records};
pub use single_file::{SingleFile, SingleFileError};
pub use state::{Progress, RunState, STATE};
