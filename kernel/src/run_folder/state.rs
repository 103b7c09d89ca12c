//! `state.json`: what a run folder is that is not complete.
//!
//! The file is in the folder from before the first row until the run is complete. A process that is killed cannot change it,
//! so it says from the beginning that the run is under way.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::info::SCHEMA;
use crate::{input, json::pretty};

/// Name of the file with the [`RunState`].
pub const STATE: &str = "state.json";

/// The content of `state.json`: what a run folder is that is not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// The version of the format, that of `run.json`.
    pub schema: u32,
    /// How far the run has come.
    pub state: Progress,
    /// The id of the process that writes the folder, or wrote it.
    pub process: u32,
    /// The cause that ended the run early; none while it is under way, or if nothing could be written any more.
    pub cause: Option<String>,
}

/// How far a run has come that is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It is under way, or its process ended without a chance to write what happened.
    Running,
    /// It ended before its time.
    Interrupted,
}

impl RunState {
    /// Creates the state of a run of this process that is under way.
    pub fn running() -> Self {
        Self { schema: SCHEMA, state: Progress::Running, process: std::process::id(), cause: None }
    }

    /// Creates the state of a run of this process that `cause` ended before its time.
    pub fn interrupted(cause: &str) -> Self {
        Self { state: Progress::Interrupted, cause: Some(cause.to_owned()), ..Self::running() }
    }

    /// Reads the state of the run folder at `place`; `None` if it has none, as every complete run, or none that can be read.
    pub fn read(place: &Path) -> Option<Self> {
        serde_json::from_slice(&input::read(&place.join(STATE)).ok()?).ok()
    }

    /// Writes the state over that in the folder at `place`, as on a full disk no other file can be written. Of a long cause only
    /// the first line fits into the room that the file has.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no such file, or the operating system refuses.
    pub(super) fn write_over(&self, place: &Path) -> io::Result<()> {
        let cause = self.cause.as_ref().map(|cause| cause.lines().next().unwrap_or_default().to_owned());
        let content = pretty(&Self { cause, ..self.clone() });
        let mut file = File::options().write(true).open(place.join(STATE))?;
        file.write_all(content.as_bytes())?;
        file.set_len(content.len() as u64)
    }

    /// Returns what became of the run, as the rest of a sentence that begins with "the run".
    pub fn describe(&self) -> String {
        match (&self.state, &self.cause) {
            (Progress::Interrupted, Some(cause)) => format!("ended before its time: {cause}"),
            (Progress::Interrupted, None) => "ended before its time".to_owned(),
            (Progress::Running, _) => format!(
                "is under way in process {}, or that process was killed or could write nothing more",
                self.process
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_state_can_be_written_over_another() {
        let folder = tempfile::tempdir().unwrap();
        RunState::running().write_over(folder.path()).unwrap_err();
        fs::write(folder.path().join(STATE), pretty(&RunState::interrupted(&"long ".repeat(100)))).unwrap();
        RunState::interrupted("the disk is full\nand more").write_over(folder.path()).unwrap();
        assert_eq!(RunState::read(folder.path()), Some(RunState::interrupted("the disk is full")));
    }

    #[test]
    fn the_file_says_what_the_folder_is() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(RunState::read(folder.path()), None);
        for state in [RunState::running(), RunState::interrupted("load ended with signal: 9 (SIGKILL)")] {
            fs::write(folder.path().join(STATE), serde_json::to_string(&state).unwrap()).unwrap();
            assert_eq!(RunState::read(folder.path()), Some(state));
        }
        let text = serde_json::to_string(&RunState { process: 7, ..RunState::running() }).unwrap();
        assert_eq!(text, r#"{"schema":1,"state":"running","process":7,"cause":null}"#);
        let cause = RunState::interrupted("load ended with signal: 9 (SIGKILL)").describe();
        assert_eq!(cause, "ended before its time: load ended with signal: 9 (SIGKILL)");
    }
}
