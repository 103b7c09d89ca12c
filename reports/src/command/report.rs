//! A report in all its formats, and the folder that it is written to.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use kernel::{cli::Failure, json::pretty, visible::Visible};
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
    /// Writes all files into `folder` and returns what the terminal shows.
    ///
    /// # Errors
    /// A file cannot be written, or a plot cannot be drawn.
    pub(super) fn write(&self, folder: &ReportFolder, shown: Shown) -> Result<String, Failure> {
        let json = pretty(&self.json);
        folder.write(&format!("{}.txt", self.name), self.text.as_bytes())?;
        folder.write(&format!("{}.json", self.name), json.as_bytes())?;
        folder.write_plots(&self.figures)?;
        folder.write(PAGE, self.html.as_bytes())?;
        let place = folder.path(PAGE);
        Ok(match shown {
            Shown::Text => format!("{}  report  {}\n", self.text, place.visible()),
            Shown::SpacedText => format!("{}\n  report  {}\n", self.text, place.visible()),
            Shown::Json => json,
        })
    }
}

/// The name of the page. It is the same for all reports, as people bookmark it.
const PAGE: &str = "report.html";

/// A folder that a report is written to. Files in it that have other names stay.
pub(super) struct ReportFolder {
    place: PathBuf,
}

impl ReportFolder {
    /// Creates the folder if it does not exist.
    ///
    /// # Errors
    /// It cannot be created.
    pub(super) fn prepare(place: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(place).map_err(|error| unwritable(place, error))?;
        Ok(Self { place: place.to_owned() })
    }

    /// Returns the path of the file called `name`.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let path = self.path(name);
        fs::write(&path, content).map_err(|error| unwritable(&path, error))
    }

    /// Writes each figure as SVG and as PNG, half of them on a second processor.
    fn write_plots(&self, figures: &[Figure]) -> Result<(), Failure> {
        std::thread::scope(|scope| {
            let (first, second) = figures.split_at(figures.len() / 2);
            let other = scope.spawn(move || first.iter().try_for_each(|figure| self.write_plot(figure)));
            let result = second.iter().try_for_each(|figure| self.write_plot(figure));
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(result)
        })
    }

    fn write_plot(&self, figure: &Figure) -> Result<(), Failure> {
        let drawing = svg(figure, Room::Wide);
        let picture = png(&drawing).map_err(Failure::run_failed)?;
        self.write(&format!("{}.svg", figure.name), drawing.as_bytes())?;
        self.write(&format!("{}.png", figure.name), &picture)
    }
}

/// Returns the failure of a file that cannot be written.
pub(super) fn unwritable(path: &Path, reason: impl Display) -> Failure {
    let path = path.visible();
    Failure::wrong_input(format!("cannot write the report: {path}: {reason}; choose another folder with --out"))
}
