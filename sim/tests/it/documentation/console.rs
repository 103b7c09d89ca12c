//! Commands with their outputs, in blocks of the language `console`.
//!
//! A line that starts with `$ ` is a command, with the lines that follow after a `\`; the lines below it are its output. A
//! line `...` stands for any number of lines. Commands of `sim` are run, all others are not, and neither are those in a block
//! `console,unchecked`. A block `console,slow` has commands that take long. All commands of a document are run in one folder,
//! one after the other; a scenario that the document shows is there as `NAME.toml`.

use std::{env, fs, ops::Range, os::unix::fs::symlink, path::Path};

use tempfile::TempDir;

use super::{blocks::blocks, in_repository};
use crate::command::program;

/// A line that stands for lines that are left out.
const ELISION: &str = "...";

/// The start of a command that runs `sim` by cargo.
const BY_CARGO: &str = "cargo run -p sim -- ";

/// Which blocks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Quick,
    All,
}

/// A command and the output that the document shows.
#[derive(Debug, PartialEq)]
struct Step<'a> {
    /// The lines of the command, with its prompt.
    command: Vec<&'a str>,
    shown: Vec<&'a str>,
}

/// Returns a folder to run commands in, which has the repository's `scenarios`.
pub(crate) fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    symlink(in_repository("scenarios").canonicalize().unwrap(), folder.path().join("scenarios")).unwrap();
    folder
}

/// How a document starts `sim`, which the commands that it prints depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// As an installed program.
    Installed,
    /// By `cargo run` in the repository.
    ByCargo,
}

/// Returns the document with the outputs that the commands have now.
pub(crate) fn with_real_outputs(markdown: &str, document: &str, which: Which) -> String {
    let folder = folder();
    let mut result = markdown.to_owned();
    let mut grown = 0;
    for block in blocks(markdown) {
        if let Some(name) = scenario_name(block.text) {
            fs::write(folder.path().join(name).with_extension("toml"), block.text).unwrap();
        }
        let is_run = block.language == "console" || (which == Which::All && block.language == "console,slow");
        if !is_run {
            continue;
        }
        let text: String = steps(block.text).iter().map(|step| updated(step, folder.path(), document)).collect();
        let start = usize::try_from(block.place.start as isize + grown).unwrap();
        result.replace_range(start..start + block.text.len(), &text);
        grown += text.len() as isize - block.text.len() as isize;
    }
    result
}

/// Returns the name of the scenario that a block shows as a whole.
fn scenario_name(block: &str) -> Option<&str> {
    block.strip_prefix("name = \"")?.split('"').next()
}

fn steps(block: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut continues = false;
    for line in block.lines() {
        if line.starts_with("$ ") {
            steps.push(Step { command: vec![line], shown: Vec::new() });
        } else {
            let step = steps.last_mut().unwrap_or_else(|| panic!("no command before {line:?}"));
            if continues { step.command.push(line) } else { step.shown.push(line) }
        }
        continues = line.ends_with('\\') && steps.last().is_some_and(|step| step.shown.is_empty());
    }
    steps
}

/// Returns the step with the output that it has now. A command of another program stays as it is.
fn updated(step: &Step<'_>, folder: &Path, document: &str) -> String {
    let script = step.command.join("\n");
    let script = script.strip_prefix("$ ").unwrap();
    let actual = match (script.strip_prefix(BY_CARGO), script.strip_prefix("sim ")) {
        (Some(arguments), _) => output(Start::ByCargo, arguments, folder),
        (None, Some(arguments)) => output(Start::Installed, arguments, folder),
        (None, None) => step.shown.iter().map(|line| (*line).to_owned()).collect(),
    };
    let shown = with_elisions(&step.shown, &actual)
        .unwrap_or_else(|line| panic!("{document}: no line like {line:?} in the output of {script:?}: {actual:#?}"));
    let lines = step.command.iter().map(|line| (*line).to_owned()).chain(shown);
    lines.map(|line| line + "\n").collect()
}

/// Runs `sim` with the arguments, which a shell expands, and returns the lines that it prints.
pub(crate) fn output(start: Start, arguments: &str, folder: &Path) -> Vec<String> {
    let sim = Path::new(env!("CARGO_BIN_EXE_sim"));
    let programs = [sim.parent().unwrap().to_owned()].into_iter();
    let path = env::join_paths(programs.chain(env::split_paths(&env::var_os("PATH").unwrap()))).unwrap();
    let mut shell = program("bash");
    shell.args(["-c", &format!("sim {arguments} 2>&1")]).current_dir(folder).env("PATH", path);
    match start {
        Start::Installed => shell.env_remove("CARGO_PKG_NAME").env_remove("CARGO_MANIFEST_DIR"),
        Start::ByCargo => shell.env("CARGO_PKG_NAME", "sim").env("CARGO_MANIFEST_DIR", folder.join("sim")),
    };
    let output = shell.output().unwrap();
    assert!(output.status.code().is_some(), "{arguments}: {:?}", output.status);
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Returns the output with the lines left out that `shown` leaves out.
///
/// # Errors
/// A part of what is shown is not in the output; its first line.
fn with_elisions(shown: &[&str], actual: &[String]) -> Result<Vec<String>, String> {
    let parts: Vec<_> = shown.split(|line| *line == ELISION).collect();
    let last = parts.len() - 1;
    if last == 0 {
        return Ok(actual.to_vec());
    }
    let mut lines = Vec::new();
    let mut from = 0;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            lines.push(ELISION.to_owned());
        }
        let latest = actual.len().checked_sub(part.len()).ok_or_else(|| part[0].to_owned())?;
        let start = match index {
            0 => 0,
            _ if index == last => latest,
            _ => most_alike(part, actual, from..latest + 1).ok_or_else(|| part[0].to_owned())?,
        };
        let end = start + part.len();
        lines.extend_from_slice(&actual[start..end]);
        from = end;
    }
    Ok(lines)
}

/// Returns where the lines from there on are most like `part`; `None` if no line is like one of it.
fn most_alike(part: &[&str], actual: &[String], places: Range<usize>) -> Option<usize> {
    let alike = places.map(|place| {
        let pairs = part.iter().zip(&actual[place..]);
        let score: usize = pairs.map(|(shown, actual)| likeness(shown, actual)).sum();
        (score, place)
    });
    // The first of several places that are equally good.
    alike
        .filter(|(score, _)| *score > 0)
        .max_by_key(|(score, place)| (*score, usize::MAX - place))
        .map(|(_, place)| place)
}

/// Returns how alike two lines are: 3 if they are equal, 1 if they begin with the same word.
fn likeness(shown: &str, actual: &str) -> usize {
    let is_same_start = shown.split_whitespace().next() == actual.split_whitespace().next();
    match (shown == actual, is_same_start && !shown.is_empty()) {
        (true, _) if !shown.is_empty() => 3,
        (_, true) => 1,
        _ => 0,
    }
}

#[test]
fn a_block_is_taken_apart_into_commands_and_outputs() {
    let found = steps("$ sim a \\\n    --b\nout \\\nput\n$ sim c\n");
    let first = Step { command: vec!["$ sim a \\", "    --b"], shown: vec!["out \\", "put"] };
    assert_eq!(found, [first, Step { command: vec!["$ sim c"], shown: Vec::new() }]);
}

#[test]
fn lines_that_are_left_out_stay_left_out() {
    let actual = ["PASS in 3 s", "", "row 1", "row 2", "", "end"].map(str::to_owned);
    let shown = with_elisions(&["PASS in 2 s", "...", "row 2", "..."], &actual);
    assert_eq!(shown.unwrap(), ["PASS in 3 s", "...", "row 2", "..."]);
    let shown = with_elisions(&["PASS in 2 s", "...", "fin"], &actual);
    assert_eq!(shown.unwrap(), ["PASS in 3 s", "...", "end"]);
    assert_eq!(with_elisions(&["...", "column", "..."], &actual), Err("column".to_owned()));
}
