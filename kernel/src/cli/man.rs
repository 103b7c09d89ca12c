//! Manual pages.

use std::{fs, path::PathBuf};

use clap::{Args, Command};
use clap_mangen::generate_to;

use super::{Exit, Failure, print};
use crate::visible::Visible;

/// Options of `man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// The folder to write the pages to, which is created; `man -l FILE` shows a page.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl ManArgs {
    /// Writes a page for `command` and one for each subcommand that its help shows.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn run(&self, command: Command) -> Result<Exit, Failure> {
        let written = fs::create_dir_all(&self.out).and_then(|()| generate_to(command, &self.out));
        written.map_err(|error| {
            let place = self.out.visible();
            Failure::wrong_input(format!("cannot write to {place}: {error}; choose another folder with --out"))
        })?;
        print(&format!("folder  {}\n", self.out.visible()));
        Ok(Exit::Passed)
    }
}
