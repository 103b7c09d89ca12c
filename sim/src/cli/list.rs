//! `sim list`: the scenario files in a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use kernel::{
    cli::{Exit, Failure, print},
    input,
    json::pretty,
    measure::text::table::{Align, TextTable},
    scenario::{FaultName, Scenario, ScenarioError, duration, limits},
    visible::Visible,
};
use serde::Serialize;

use crate::cli::check::JsonMistake;

/// The folder that is listed unless the command line names one; without it, the current folder is.
const DEFAULT_FOLDER: &str = "scenarios";

/// Folders whose files this project's programs and cargo write.
const SKIPPED_FOLDERS: [&str; 2] = ["runs", "target"];

/// The most characters of a description that the table shows; JSON has all of them.
const DESCRIPTION_SHOWN_MAX: usize = 72;

/// Options of `sim list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The folder, which is searched with the folders in it [default: scenarios if there is one, or else the current folder].
    ///
    /// Hidden folders and those called `runs` or `target` are left out, and so are TOML files that have neither `duration`
    /// nor `[load]`, as they are of another kind.
    folder: Option<PathBuf>,

    /// Prints the list as JSON.
    #[arg(long)]
    json: bool,
}

/// A scenario file, valid or not.
#[derive(Debug, Serialize)]
struct ListedFile {
    file: PathBuf,
    /// The first sentence of the file's first comment, or the scenario's question.
    description: Option<String>,
    /// None for a file that is not valid.
    #[serde(flatten)]
    scenario: Option<ListedScenario>,
    mistakes: Vec<JsonMistake>,
    /// The first mistake as a message for a terminal.
    #[serde(skip)]
    message: Option<String>,
}

/// The size of a scenario, and what goes wrong in it.
#[derive(Debug, Serialize)]
struct ListedScenario {
    name: String,
    question: Option<String>,
    workload: &'static str,
    replicas: usize,
    duration: String,
    /// The kinds of faults, each once, in the order of their first; `drawn` for faults that the seed draws.
    faults: Vec<&'static str>,
}

impl ListedScenario {
    fn new(scenario: &Scenario) -> Self {
        let mut faults = Vec::new();
        for fault in &scenario.faults {
            let kind = FaultName::from(&fault.kind).name();
            if !faults.contains(&kind) {
                faults.push(kind);
            }
        }
        faults.extend(scenario.nemesis.as_ref().map(|_| "drawn"));
        Self {
            name: scenario.name.clone(),
            question: scenario.question.clone(),
            workload: scenario.workload.name(),
            replicas: scenario.replicas(),
            duration: duration::text(scenario.duration),
            faults,
        }
    }
}

impl ListedFile {
    /// Reads the file; `None` if it is TOML of another kind.
    fn read(file: PathBuf) -> Option<Self> {
        let text = input::read_text_within(&file, limits::FILE_BYTES_MAX).unwrap_or_default();
        if toml::from_str::<toml::Table>(&text)
            .is_ok_and(|table| !table.contains_key("duration") && !table.contains_key("load"))
        {
            return None;
        }
        let description = first_sentence(&text);
        Some(match Scenario::check(&file, &[]) {
            Ok(scenario) => Self {
                file,
                description: description.or_else(|| scenario.question.clone()),
                scenario: Some(ListedScenario::new(&scenario)),
                mistakes: Vec::new(),
                message: None,
            },
            Err(errors) => Self {
                file,
                description,
                scenario: None,
                mistakes: errors.iter().map(JsonMistake::from).collect(),
                message: errors.first().map(ScenarioError::to_string),
            },
        })
    }

    /// The row of the table, with the path below `folder` and without `.toml`.
    fn cells(&self, folder: &Path) -> Vec<String> {
        let path = self.file.strip_prefix(folder).unwrap_or(&self.file).with_extension("");
        let mut cells = vec![path.visible().to_string()];
        match &self.scenario {
            Some(scenario) => {
                cells.extend([
                    scenario.workload.to_owned(),
                    scenario.replicas.to_string(),
                    scenario.duration.clone(),
                    scenario.faults.join(", "),
                    shortened(self.description.as_deref().unwrap_or_default()),
                ]);
            }
            None => cells.extend(["", "", "", "", "not valid; see below"].map(str::to_owned)),
        }
        cells
    }
}

/// Lists the files. The exit code is 2 if one of them is not valid.
pub(crate) fn run(args: &ListArgs) -> Result<Exit, Failure> {
    let folder = args.folder.clone().unwrap_or_else(default_folder);
    let mut paths = Vec::new();
    find(&folder, &mut paths).map_err(|reason| {
        Failure::wrong_input(format!("cannot list {}: {reason}; name a folder of scenario files", folder.visible()))
    })?;
    paths.sort();
    let files: Vec<_> = paths.into_iter().filter_map(ListedFile::read).collect();
    if files.is_empty() {
        let folder = folder.visible();
        let message = format!("there is no scenario in {folder}; `sim new NAME` writes one, or name another folder");
        return Err(Failure::wrong_input(message));
    }
    if args.json {
        print(&pretty(&files));
    } else {
        print(&text(&folder, &files));
    }
    Ok(if files.iter().all(|file| file.scenario.is_some()) { Exit::Passed } else { Exit::WrongInput })
}

fn default_folder() -> PathBuf {
    if Path::new(DEFAULT_FOLDER).is_dir() { DEFAULT_FOLDER.into() } else { ".".into() }
}

/// Adds every TOML file in `folder` and the folders in it to `paths`. Links to folders are not followed, as they may form
/// circles.
fn find(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_skipped = name.to_string_lossy().starts_with('.') || SKIPPED_FOLDERS.iter().any(|skip| name == *skip);
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !is_skipped {
                find(&path, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}

fn text(folder: &Path, files: &[ListedFile]) -> String {
    let count = files.len();
    let mut table = TextTable::new(&[
        ("scenario", Align::Left),
        ("workload", Align::Left),
        ("replicas", Align::Right),
        ("duration", Align::Right),
        ("faults", Align::Left),
        ("about", Align::Left),
    ]);
    files.iter().for_each(|file| table.row(file.cells(folder)));
    let mut text = format!("{count} scenario{} in {}\n\n", if count == 1 { "" } else { "s" }, folder.visible());
    text += &table.render();
    let messages = files.iter().filter_map(|file| file.message.as_deref());
    messages.for_each(|message| text += &format!("\ninvalid: {message}\n"));
    text
}

/// Returns the first sentence of the first comment in a file.
fn first_sentence(text: &str) -> Option<String> {
    let comment = text.lines().map(str::trim_start).skip_while(|line| !line.starts_with('#') || line.starts_with("#:"));
    let lines = comment.map_while(|line| line.strip_prefix('#')).map(str::trim).take_while(|line| !line.is_empty());
    let paragraph = lines.collect::<Vec<_>>().join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |dot| dot + 1);
    Some(paragraph[..end].to_owned()).filter(|sentence| !sentence.is_empty())
}

/// Cuts a description to the width of the table, behind a word.
fn shortened(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION_SHOWN_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(DESCRIPTION_SHOWN_MAX - 1).collect();
    let end = start.rfind(' ').unwrap_or(start.len());
    format!("{}…", &start[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_the_first_sentence_of_the_first_comment() {
        let text =
            "#:schema scenario.schema.json\n\n# One replica\n# crashes. Nothing starts it.\n#\n# More.\nname = \"x\"\n";
        assert_eq!(first_sentence(text).as_deref(), Some("One replica crashes."));
        assert_eq!(first_sentence("name = \"x\"\n# Its name\nduration = \"5s\"\n").as_deref(), Some("Its name"));
        assert_eq!(first_sentence("name = \"x\"\n"), None);
    }

    #[test]
    fn a_long_description_ends_behind_a_word() {
        let long = "word ".repeat(20);
        let short = shortened(long.trim());
        assert!(short.ends_with("word…") && short.chars().count() <= DESCRIPTION_SHOWN_MAX, "{short}");
        assert_eq!(shortened("a few words"), "a few words");
    }
}
