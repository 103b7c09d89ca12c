//! `sim from-chaos` and `sim to-chaos`: scenarios from the documents of other tools that inject faults, and back.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use kernel::{
    cli::{Exit, Failure, complain, print},
    scenario::{Scenario, duration},
    visible::Visible,
};

use crate::chaos::{Note, Selection, Tool, document_of, markdown, scenario_of};

/// The largest file that is read, in bytes.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Options of `sim from-chaos`.
#[derive(Debug, Args)]
pub(crate) struct FromChaosArgs {
    /// An experiment of Chaos Toolkit, manifests of Chaos Mesh or Litmus, or proxies of toxiproxy, as YAML or JSON.
    #[arg(required_unless_present = "table")]
    file: Option<PathBuf>,

    /// The scenario to which the faults are added; without it, a new one with three servers and a constant load.
    #[arg(long, value_name = "SCENARIO")]
    base: Option<PathBuf>,

    /// The file to write; standard output unless given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The time at which a fault begins that has none in the file.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    at: Duration,

    /// The servers whose pods have these labels, as a selector of the file names them: app=web,tier=front:server-1,server-2; may be repeated.
    #[arg(long, value_name = "LABELS:SERVERS")]
    select: Vec<Selection>,

    /// Fails if something in the file cannot be said in a scenario.
    #[arg(long)]
    strict: bool,

    /// Prints the table of what is known, as Markdown, and reads no file.
    #[arg(long, conflicts_with_all = ["file", "base", "output", "select", "strict"])]
    table: bool,
}

/// Options of `sim to-chaos`.
#[derive(Debug, Args)]
pub(crate) struct ToChaosArgs {
    /// The scenario file.
    scenario: PathBuf,

    /// The tool.
    #[arg(long = "for", value_name = "TOOL")]
    tool: Tool,

    /// Overrides a setting of the scenario, such as fault.0.duration=10s; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// The file to write; standard output unless given.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Fails if something in the scenario cannot be said to the tool.
    #[arg(long)]
    strict: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Prints or writes the scenario, and what cannot be said to standard error.
pub(crate) fn from(args: &FromChaosArgs) -> Result<Exit, Failure> {
    let Some(file) = args.file.as_deref().filter(|_| !args.table) else {
        print(&markdown());
        return Ok(Exit::Passed);
    };
    let shown = file.visible().to_string();
    let text = text_of(file)?;
    let base = args.base.as_deref().map(|base| Scenario::load(base, &[])).transpose().map_err(Failure::wrong_input)?;
    let (scenario, notes) = scenario_of(&text, args.at, base.as_ref(), &args.select)
        .map_err(|wrong| Failure::wrong_input(wrong.in_file(&shown)))?;
    deliver(args.output.as_deref(), &scenario)?;
    Ok(end(&shown, &notes, args.strict))
}

/// Prints or writes the document, and what cannot be said to standard error.
pub(crate) fn to(args: &ToChaosArgs) -> Result<Exit, Failure> {
    let scenario = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
    if scenario.has_services() {
        return Err(Failure::wrong_input(format!(
            "{}: a document names the pods of one service, and the scenario has several [[service]] tables",
            args.scenario.visible()
        )));
    }
    let (document, notes) = document_of(&scenario, args.tool);
    deliver(args.output.as_deref(), &document)?;
    Ok(end(&args.scenario.visible().to_string(), &notes, args.strict))
}

fn text_of(file: &Path) -> Result<String, Failure> {
    let shown = file.visible();
    let unreadable = |error: std::io::Error| Failure::wrong_input(format!("cannot read {shown}: {error}"));
    let length = fs::metadata(file).map_err(unreadable)?.len();
    if length > BYTES_MAX {
        return Err(Failure::wrong_input(format!("{shown} has {length} bytes; the most is {BYTES_MAX}")));
    }
    let bytes = fs::read(file).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| Failure::wrong_input(format!("{shown} is not UTF-8; it is no text")))
}

fn deliver(output: Option<&Path>, text: &str) -> Result<(), Failure> {
    match output {
        None => print(text),
        Some(file) => fs::write(file, text).map_err(|error| {
            Failure::wrong_input(format!(
                "cannot write {}: {error}; choose a place that you can write to",
                file.visible()
            ))
        })?,
    }
    Ok(())
}

fn end(shown: &str, notes: &[Note], strict: bool) -> Exit {
    for note in notes {
        complain(&format!("note: {}", note.in_file(shown)));
    }
    if strict && !notes.is_empty() { Exit::Failed } else { Exit::Passed }
}
