//! The built `sim` command, and what running it came to.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::play::files;

/// The command as a user would run it in `folder`.
pub(crate) fn sim(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.current_dir(folder);
    command
}

/// What a finished command left behind besides files.
#[derive(Debug, PartialEq)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What the account at the end says behind `label`: `folder`, `digest` or `replay`.
    #[track_caller]
    pub(crate) fn account(&self, label: &str) -> &str {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(&format!("  {label}  ")));
        line.unwrap_or_else(|| panic!("no {label} in the account of {self:?}"))
    }
}

/// The file in `scenarios/` called `name`.
pub(crate) fn scenario(name: &str) -> PathBuf {
    let wanted = format!("{name}.toml");
    files().into_iter().find(|file| file.ends_with(&wanted)).unwrap_or_else(|| panic!("no scenarios/{wanted}"))
}
