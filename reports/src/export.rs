//! Files for other tools that a command line option adds to a report.
//!
//! An exporter is a module below this one. It is entered here twice: as an option of the command line, and in
//! [`ExportOptions::selected`].

mod hgrm;
mod joined;
mod parquet;

use std::{collections::BTreeSet, error::Error, path::Path};

use clap::Args;

pub(crate) use self::hgrm::write_sample;
use crate::run::RecordedRun;

/// Options that select exporters.
#[derive(Debug, Clone, Copy, Args)]
pub struct ExportOptions {
    /// Also writes joined.parquet: requests, attempts and events of a run in one table
    #[arg(long)]
    pub parquet: bool,

    /// Also writes latencies.hgrm: the percentiles of all latencies, in milliseconds, in the format of HdrHistogram; in a comparison
    /// latencies-RUN.hgrm for each run
    #[arg(long)]
    pub hgrm: bool,
}

/// A function that writes the rows of a run to a path.
type WriteRows = fn(&RecordedRun, &Path) -> Result<(), Box<dyn Error>>;

/// A file format that the rows of one run can be written in.
#[derive(Debug)]
pub(crate) struct Exporter {
    /// The option that selects it, as the command line has it.
    pub(crate) option: &'static str,
    /// The name of the file in the folder of the report.
    pub(crate) file: &'static str,
    /// Writes the rows of a run to a path.
    pub(crate) write: WriteRows,
}

impl ExportOptions {
    /// Returns the selected exporters.
    pub(crate) fn selected(self) -> impl Iterator<Item = &'static Exporter> {
        let exporters = [(self.parquet, &parquet::EXPORTER), (self.hgrm, &hgrm::EXPORTER)];
        exporters.into_iter().filter(|(selected, _)| *selected).map(|(_, exporter)| exporter)
    }
}

/// The most characters of a run's name in that of a file. Names of files are 255 bytes at most.
const NAME_MAX: usize = 60;

/// Returns a name for a file of each run: that of its folder or log, with a number if it is that of a run before.
pub(crate) fn file_names<'a>(places: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut names = Vec::new();
    for place in places {
        let name = place.file_name().unwrap_or("run".as_ref()).to_string_lossy();
        let name: String = name.chars().take(NAME_MAX).map(|c| if c.is_control() { '-' } else { c }).collect();
        let mut free = name.clone();
        let mut number = 2;
        while !taken.insert(free.clone()) {
            free = format!("{name}-{number}");
            number += 1;
        }
        names.push(free);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_a_name_of_its_own() {
        let long = format!("x/{}", "é".repeat(200));
        let places = ["a/log.csv", "b/log.csv", "b/log.csv-2", "c/log.csv", "..", "a/b\nc", &long];
        let names = file_names(places.map(Path::new));
        assert_eq!(names[..6], ["log.csv", "log.csv-2", "log.csv-2-2", "log.csv-3", "run", "b-c"]);
        assert_eq!(names[6], "é".repeat(NAME_MAX));
    }
}
