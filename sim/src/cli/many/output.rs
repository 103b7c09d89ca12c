//! The output of a sweep when it ends.

use std::path::Path;

use kernel::{
    cli,
    experiment::sweep::{SweepOverview, SweepReport},
    json::pretty,
    visible::Visible,
};
use serde::Serialize;

/// The report for programs.
#[derive(Serialize)]
struct JsonReport<'a> {
    folder: &'a Path,
    #[serde(flatten)]
    overview: SweepOverview,
}

/// Prints `report` and the path of the folder, as text or as JSON.
pub(super) fn print(report: &SweepReport<'_>, folder: &Path, json: bool) {
    if json {
        let json = JsonReport { folder, overview: report.overview() };
        cli::print(&pretty(&json));
    } else {
        cli::print(&format!("{}\n  folder  {}\n", report.render(), folder.visible()));
    }
}
