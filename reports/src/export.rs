//! Files for other tools that a command line option adds to the report of one run.
//!
//! An exporter is a module below this one. It is entered here twice: as an option of the command line, and in
//! [`ExportOptions::selected`].

mod hgrm;
mod joined;
mod parquet;

use std::{error::Error, path::Path};

use clap::Args;

use crate::run::RecordedRun;

/// Options that select exporters.
#[derive(Debug, Clone, Copy, Args)]
pub struct ExportOptions {
    /// Also writes joined.parquet: requests, attempts and events in one table
    #[arg(long)]
    pub parquet: bool,

    /// Also writes latencies.hgrm: the percentiles of all latencies, in milliseconds, in the format of HdrHistogram
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
