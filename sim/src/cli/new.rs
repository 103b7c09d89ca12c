//! `sim new`: a scenario file to start from.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use kernel::{
    cli::{Exit, Failure, print, program, quoted},
    run_folder::{OsFiles, atomic},
    scenario::{Scenario, WorkloadName},
    visible::Visible,
};

use crate::cli::options::WORLD;

/// The file that is written, with `NAME` and `WORKLOAD` in the places of the name and the workload's keys.
const TEMPLATE: &str = include_str!("new/template.toml");

/// Options of `sim new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The name of the scenario, which may start with the path of a folder. NAME.toml is written, and never overwritten.
    name: PathBuf,

    /// The work that a request asks for.
    #[arg(long, value_name = "KIND", default_value_t = WorkloadName::Sobel)]
    workload: WorkloadName,
}

/// Writes the file and prints the commands that come next.
pub(crate) fn run(args: &NewArgs) -> Result<Exit, Failure> {
    let (name, file) = name_and_file(&args.name);
    let text = TEMPLATE.replace("NAME", &name).replace("WORKLOAD\n", keys(args.workload));
    // A name that a scenario cannot have is the only possible mistake.
    Scenario::parse(&file.visible().to_string(), &text, &[]).map_err(Failure::wrong_input)?;
    write(&file, &text).map_err(|error| unwritable(&file, &error))?;
    let program = program(WORLD);
    let shown = quoted(&file.to_string_lossy());
    print(&format!(
        "created  {}\n\n  check     {program} check {shown}\n  run       {program} run {shown}\n  settings  {program} keys\n",
        file.visible()
    ));
    Ok(Exit::Passed)
}

/// Returns the scenario's name and its file; `NAME.toml` is taken as `NAME`.
fn name_and_file(path: &Path) -> (String, PathBuf) {
    let stem = match path.extension() {
        Some(extension) if extension == "toml" => path.with_extension(""),
        _ => path.to_owned(),
    };
    let name = stem.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = stem.with_file_name(format!("{name}.toml"));
    (name, file)
}

/// Returns the keys of `[workload]`, with a comment each.
fn keys(workload: WorkloadName) -> &'static str {
    match workload {
        WorkloadName::Sobel => {
            "kind = \"sobel\"                      # edge detection on pictures; others: dfs, backend\n\
             sizes = [\"256x256\", \"512x512\"]      # drawn for each request\n"
        }
        WorkloadName::Dfs => {
            "kind = \"dfs\"                        # depth-first search of a graph; others: sobel, backend\n\
             nodes = 20000\n\
             edges = 60000\n"
        }
        WorkloadName::App => {
            "kind = \"app\"                        # your own services, played by your program\n\
             compute_time = \"1ms\"               # of a unit of `host.compute` that is not calibrated\n"
        }
        WorkloadName::Backend => {
            "kind = \"backend\"                    # a service that fails by itself; others: sobel, dfs\n\
             failure_rate = 0.05                 # share of the attempts that fail\n\
             failure_status = \"UNAVAILABLE\"\n\
             delay = \"20ms\"                      # each attempt takes this long\n"
        }
    }
}

/// Writes a file that does not exist yet, and creates its folder.
fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    atomic::create(&OsFiles, file, text.as_bytes())
}

fn unwritable(file: &Path, error: &io::Error) -> Failure {
    let shown = file.visible();
    Failure::wrong_input(match file.exists() {
        true => format!("{shown} exists; choose another name, or move it"),
        false => format!("cannot write {shown}: {error}; choose a folder that you can write to"),
    })
}
