//! Completions of shells.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::{Exit, print};

/// Options of `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script with which the shell completes the options of `command`.
    pub fn run(&self, mut command: Command) -> Exit {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        generate(self.shell, &mut command, name, &mut script);
        print(&String::from_utf8_lossy(&script));
        Exit::Passed
    }
}
