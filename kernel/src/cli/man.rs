//! Manual pages.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::{Exit, Failure, print, with_variables};
use crate::{
    run_folder::{OsFiles, SingleFile},
    visible::Visible,
};

/// Options of `man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// The folder to write the pages to, which is created; `man -l FILE` shows a page.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Replaces files in that folder even if this program has not written them.
    #[arg(long)]
    force: bool,
}

impl ManArgs {
    /// Writes a page for `command` and one for each subcommand that its help shows.
    ///
    /// # Errors
    ///
    /// Returns an error if there is a file of somebody else in the place of a page, before any page is written, or if the
    /// folder cannot be written.
    pub fn run(&self, command: Command) -> Result<Exit, Failure> {
        let mut command = with_variables(command).disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        add_pages(command, &mut pages);
        let pages: Vec<_> = pages.into_iter().map(|(name, text)| (self.out.join(name), text)).collect();
        pages.iter().try_for_each(|(path, _)| self.page(path).prepare(&OsFiles)).map_err(Failure::wrong_input)?;
        let written = pages.iter().try_for_each(|(path, text)| self.page(path).write(&OsFiles, text).map(drop));
        written.map_err(Failure::wrong_input)?;
        print(&format!("folder  {}\n", self.out.visible()));
        Ok(Exit::Passed)
    }

    fn page<'a>(&self, path: &'a Path) -> SingleFile<'a> {
        SingleFile { path, comment: ".\\\" ", force: self.force }
    }
}

/// Adds the name and the text of the page of `command`, and of those of its subcommands.
fn add_pages(command: Command, pages: &mut Vec<(String, String)>) {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        add_pages(subcommand.clone(), pages);
    }
    let page = Man::new(command);
    let mut text = Vec::new();
    page.render(&mut text).expect("memory takes everything");
    pages.push((page.get_filename(), String::from_utf8_lossy(&text).into_owned()));
}
