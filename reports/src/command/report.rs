//! A report in all its formats, and the folder that it is written to.

use std::{
    error::Error,
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use kernel::{
    cli::{Failure, warn_of_place},
    json::pretty,
    run_folder::{
        Contents, Earlier, Files, FolderKind, OsFiles, Place,
        manifest::{MANIFEST, is_file},
        replace::REPORT,
    },
    visible::Visible,
};
use serde_json::Value;

use crate::{
    draw::{Room, png, svg},
    figure::Figure,
};

/// A report in all its formats. This is the one place that knows which files a report consists of.
pub(super) struct Report {
    /// The name of the text file and of the JSON file, without the ending.
    pub(super) name: &'static str,
    /// The report as plain text, for its file and for the terminal.
    pub(super) text: String,
    /// The report for programs.
    pub(super) json: Value,
    /// The plots. Each is written as SVG and as PNG.
    pub(super) figures: Vec<Figure>,
    /// The page, with the plots in it.
    pub(super) html: String,
}

/// How a report is shown on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The text, then the place of the page.
    Text,
    /// The text, an empty line, then the place of the page.
    SpacedText,
    /// The JSON document alone, for a program that reads it.
    Json,
}

impl Report {
    /// Writes all files into `folder`, moves it to its place, and returns what the terminal shows.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be written, or a plot cannot be drawn.
    pub(super) fn write(&self, mut folder: ReportFolder, shown: Shown) -> Result<String, Failure> {
        let json = pretty(&self.json);
        folder.write(&format!("{}.txt", self.name), self.text.as_bytes())?;
        folder.write(&format!("{}.json", self.name), json.as_bytes())?;
        folder.write_plots(&self.figures)?;
        folder.write(PAGE, self.html.as_bytes())?;
        let place = folder.put_in_place()?.join(PAGE);
        Ok(match shown {
            Shown::Text => format!("{}  report  {}\n", self.text, place.visible()),
            Shown::SpacedText => format!("{}\n  report  {}\n", self.text, place.visible()),
            Shown::Json => json,
        })
    }
}

/// The name of the page. It is the same for all reports, as people bookmark it.
const PAGE: &str = "report.html";

/// Endings of the files of a report.
const ENDINGS: [&str; 7] = ["txt", "json", "svg", "png", "html", "parquet", "hgrm"];

/// The words in which errors speak of the folder of a report.
static KIND: FolderKind = FolderKind {
    not_one: "not a report",
    cannot: "write the report: ",
    other_version: "is of another version of this program",
    other_version_remedy: "report the run again into another folder",
    damaged_remedy: "report the run again",
};

static CONTENTS: Contents = Contents { kind: &KIND, holds: REPORT, is_unlisted, is_precious: |_| false, is_abandoned };

/// A folder that a report is written to. It comes to its place as a whole. Files in it that are not of a report stay.
pub(super) struct ReportFolder(Place);

impl ReportFolder {
    /// Prepares the folder at `place`, where it replaces a report that was not changed, or any report by `force`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is something else, or the operating system refuses.
    pub(super) fn prepare(place: &Path, force: bool) -> Result<Self, Failure> {
        let earlier = if force { Earlier::Force } else { Earlier::Replace };
        Place::prepare(Arc::new(OsFiles), place, &CONTENTS, earlier).map(Self).map_err(Failure::wrong_input)
    }

    /// Lets `write` create the file called `name` at the path that it is given.
    ///
    /// # Errors
    ///
    /// Returns an error if `write` does.
    pub(super) fn create(
        &mut self,
        name: &str,
        write: impl FnOnce(&Path) -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Failure> {
        let path = self.0.staging().join(name);
        write(&path).map_err(|error| unwritable(&path, error))?;
        self.0.add_file(name).map_err(Failure::wrong_input)
    }

    fn write(&mut self, name: &str, content: &[u8]) -> Result<(), Failure> {
        self.0.write_file(name, content).map_err(Failure::wrong_input)
    }

    /// Writes each figure as SVG and as PNG, half of them drawn on a second processor.
    fn write_plots(&mut self, figures: &[Figure]) -> Result<(), Failure> {
        let plots = std::thread::scope(|scope| {
            let (first, second) = figures.split_at(figures.len() / 2);
            let other = scope.spawn(move || first.iter().map(plot).collect::<Result<Vec<_>, _>>());
            let second = second.iter().map(plot).collect::<Result<Vec<_>, _>>();
            let first = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok([first, second?])
        })?;
        plots.iter().flatten().try_for_each(|plot| {
            self.write(&format!("{}.svg", plot.name), plot.svg.as_bytes())?;
            self.write(&format!("{}.png", plot.name), &plot.png)
        })
    }

    /// Moves the folder to its place, and returns the path.
    fn put_in_place(self) -> Result<PathBuf, Failure> {
        let asked = self.0.path().to_owned();
        let placed = self.0.put_in_place().map_err(Failure::run_failed)?;
        warn_of_place(&placed, &asked);
        Ok(placed.place)
    }
}

/// A plot in both formats.
struct Plot<'a> {
    name: &'a str,
    svg: String,
    png: Vec<u8>,
}

fn plot(figure: &Figure) -> Result<Plot<'_>, Failure> {
    let svg = svg(figure, Room::Wide);
    let png = png(&svg).map_err(Failure::run_failed)?;
    Ok(Plot { name: &figure.name, svg, png })
}

/// Returns whether the folder at `place` holds a report of a version of this program that wrote no manifest.
fn is_unlisted(place: &Path) -> bool {
    let has_json = ["report.json", "comparison.json", "fidelity.json"].iter().any(|name| place.join(name).is_file());
    has_json && place.join(PAGE).is_file() && !place.join(MANIFEST).exists()
}

/// Returns whether at `staging` is what a killed process left, and nothing else.
fn is_abandoned(files: &dyn Files, staging: &Path) -> bool {
    let names = files.list(staging).unwrap_or_default();
    names.iter().all(|name| {
        let path = staging.join(name);
        is_file(&path) && path.extension().is_some_and(|end| ENDINGS.iter().any(|ending| end == *ending))
    })
}

/// Returns the failure of a file that cannot be written.
fn unwritable(path: &Path, reason: impl Display) -> Failure {
    let path = path.visible();
    Failure::wrong_input(format!("cannot write the report: {path}: {reason}; choose another folder with --out"))
}
