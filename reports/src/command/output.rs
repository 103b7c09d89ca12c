//! The folder that a report goes to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::cli::Failure;

use crate::{
    draw::{Room, png, svg},
    figure::Figure,
};

/// A folder to write into. What is there already and has another name stays.
pub(super) struct Output {
    place: PathBuf,
}

impl Output {
    pub(super) fn prepare(place: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(place).map_err(|error| unwritable(place, error))?;
        Ok(Self { place: place.to_owned() })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let path = self.path(name);
        fs::write(&path, content).map_err(|error| unwritable(&path, error))
    }

    /// Each figure as SVG and as PNG, half of them on a second processor.
    pub(super) fn plots(&self, figures: &[Figure]) -> Result<(), Failure> {
        let plot = |figure: &Figure| {
            let drawing = svg(figure, Room::Wide);
            let picture = png(&drawing).map_err(Failure::run_failed)?;
            self.write(&format!("{}.svg", figure.name), drawing.as_bytes())?;
            self.write(&format!("{}.png", figure.name), &picture)
        };
        std::thread::scope(|scope| {
            let (first, second) = figures.split_at(figures.len() / 2);
            let other = scope.spawn(move || first.iter().try_for_each(plot));
            let result = second.iter().try_for_each(plot);
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(result)
        })
    }

    /// Where everything is, for the terminal.
    pub(super) fn account(&self) -> String {
        format!("  report  {}\n", self.path("report.html").display())
    }
}

pub(super) fn unwritable(path: &Path, reason: impl std::fmt::Display) -> Failure {
    let path = path.display();
    Failure::wrong_input(format!("cannot write the report: {path}: {reason}; choose another folder with --out"))
}
