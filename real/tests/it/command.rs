//! Commands of the tests.

use std::{ffi::OsStr, process::Command};

use kernel::cli::without_variables;

/// Returns a command without the variables of options that the tests may have in their environment.
pub(crate) fn command_of(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    without_variables(&mut command);
    command
}
