//! `--report`: the program `reports` writes the page of a run that has ended.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{complain, print, program, program::build_command, progress, quoted, without_variables};
use crate::visible::Visible;

/// The program that writes reports.
const REPORTS: &str = "reports";
/// The page, in the folder of the run or sweep.
const PAGE: &str = "report/report.html";

/// Writes the report of the run or sweep in `folder` by starting the program `reports`, and prints where the page is, unless
/// standard output holds JSON.
///
/// A run is complete without its report: whatever fails is said on standard error, with the commands that write the report.
pub fn report_page(folder: &Path, json: bool) {
    if let Some(page) = write_report(folder).filter(|_| !json) {
        print(&format!("  report  {}\n", page.visible()));
    }
}

fn write_report(folder: &Path) -> Option<PathBuf> {
    let Some(reports) = find(REPORTS) else {
        complain(&format!(
            "note: the folder is complete, but there is no program `{REPORTS}` beside this one or on the PATH to write its \
             report; these commands build it and write the report:\n  {}\n  {}",
            build_command(REPORTS),
            command(folder)
        ));
        return None;
    };
    // Its summary would repeat what is printed here. Its messages are of use.
    let mut child = Command::new(&reports);
    without_variables(&mut child);
    child.arg(folder).arg("--force").stdin(Stdio::null()).stdout(Stdio::null());
    let status = progress::while_working(|| progress::spinner("writing the report"), |_| {}, || child.status());
    let page = folder.join(PAGE);
    let failure = match status {
        Err(error) => format!("{} could not be started: {error}", reports.visible()),
        // Its exit code is the verdict on the run, so the page says whether it did its work.
        Ok(status) if !page.is_file() => format!("{} wrote no report ({status})", reports.visible()),
        Ok(_) => return Some(page),
    };
    complain(&format!(
        "note: the folder is complete, but {failure}; this command writes the report:\n  {}",
        command(folder)
    ));
    None
}

fn command(folder: &Path) -> String {
    format!("{} {}", program(REPORTS), quoted(&folder.display().to_string()))
}

/// Returns the program called `name` in the folder of the running one, or else the first one on the PATH.
fn find(name: &str) -> Option<PathBuf> {
    let own = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_path_buf));
    let path = env::var_os("PATH").unwrap_or_default();
    own.into_iter().chain(env::split_paths(&path)).map(|folder| folder.join(name)).find(|program| program.is_file())
}
