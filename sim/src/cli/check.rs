//! `sim check`: every mistake in scenario files.

use std::path::{Path, PathBuf};

use clap::Args;
use kernel::{
    cli::{Exit, print},
    json::pretty,
    scenario::{Place, Scenario, ScenarioError},
    visible::Visible,
};
use serde::Serialize;

/// Options of `sim check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The scenario files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Overrides a setting of every file before it is checked, such as client.retry.max_attempts=1; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// A file with what is wrong with it.
#[derive(Debug, Serialize)]
struct CheckedFile<'a> {
    file: &'a Path,
    valid: bool,
    mistakes: Vec<JsonMistake>,
    /// Settings that are valid and have no effect, a sentence for each.
    warnings: Vec<String>,
    /// The mistakes as messages for a terminal.
    #[serde(skip)]
    messages: Vec<String>,
}

/// A mistake for programs.
#[derive(Debug, Serialize)]
pub(crate) struct JsonMistake {
    message: String,
    help: Option<String>,
    /// The line and the column, from 1, the column in characters; null for an override, or for what is missing from the file.
    line: Option<usize>,
    column: Option<usize>,
    /// The path of the key, such as `fault.0.duration`.
    key: Option<String>,
}

impl From<&ScenarioError> for JsonMistake {
    fn from(error: &ScenarioError) -> Self {
        let ScenarioError::Invalid(mistake) = error else {
            return Self { message: error.to_string(), help: None, line: None, column: None, key: None };
        };
        let position = match mistake.place {
            Place::File { position, .. } => position,
            Place::Override(_) => None,
        };
        Self {
            message: mistake.message.clone(),
            help: mistake.help.clone(),
            line: position.map(|(line, _)| line),
            column: position.map(|(_, column)| column),
            key: mistake.key.clone(),
        }
    }
}

impl<'a> CheckedFile<'a> {
    fn check(file: &'a Path, overrides: &[String]) -> Self {
        match Scenario::check(file, overrides) {
            Ok(scenario) => {
                Self { file, valid: true, mistakes: Vec::new(), warnings: scenario.warnings(), messages: Vec::new() }
            }
            Err(errors) => Self {
                file,
                valid: false,
                mistakes: errors.iter().map(JsonMistake::from).collect(),
                warnings: Vec::new(),
                messages: errors.iter().map(ToString::to_string).collect(),
            },
        }
    }

    fn text(&self) -> String {
        let file = self.file.visible();
        let mut text = match self.messages.len() {
            0 => format!("valid    {file}\n"),
            1 => format!("invalid  {file}: 1 mistake\n"),
            count => format!("invalid  {file}: {count} mistakes\n"),
        };
        self.warnings.iter().for_each(|warning| text += &format!("\nwarning: {warning}\n"));
        self.messages.iter().for_each(|message| text += &format!("\n{message}\n"));
        if !self.warnings.is_empty() || !self.messages.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// Checks every file and prints all mistakes. The exit code is 2 if a file has one.
pub(crate) fn run(args: &CheckArgs) -> Exit {
    let files: Vec<_> = args.files.iter().map(|file| CheckedFile::check(file, &args.overrides)).collect();
    if args.json {
        print(&pretty(&files));
    } else {
        print(&files.iter().map(CheckedFile::text).collect::<String>());
    }
    if files.iter().all(|file| file.valid) { Exit::Passed } else { Exit::WrongInput }
}
