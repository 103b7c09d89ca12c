//! The built `sim` command, and its result.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use kernel::cli::without_variables;

use crate::simulated::files;

/// Returns a command without the variables of options that the tests may have in their environment.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    without_variables(&mut command);
    command
}

/// Returns the command as a user would run it in `folder`.
pub(crate) fn sim(folder: &Path) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_sim"));
    command.current_dir(folder);
    command
}

/// The exit code and the output of a finished command.
#[derive(Debug, PartialEq)]
pub(crate) struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Runs `command` to its end.
    pub(crate) fn after(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the command line that a report printed, in the same folder, as a user would who copies it to a shell.
    pub(crate) fn printed(folder: &Path, line: &str) -> Self {
        Self::after(program("sh").args(["-c", line]).current_dir(folder))
    }

    /// Returns the text behind `label` in the report at the end, such as `folder`, `digest` or `replay`.
    #[track_caller]
    pub(crate) fn reported(&self, label: &str) -> &str {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(&format!("  {label}  ")));
        line.unwrap_or_else(|| panic!("no {label} in the report of {self:?}"))
    }
}

/// Returns the file in `scenarios/` called `name`.
pub(crate) fn scenario(name: &str) -> PathBuf {
    let wanted = format!("{name}.toml");
    files().into_iter().find(|file| file.ends_with(&wanted)).unwrap_or_else(|| panic!("no scenarios/{wanted}"))
}
