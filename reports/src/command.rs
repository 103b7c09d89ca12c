//! The command: reads what it is given, works out one report or a comparison, and puts it on disk.

mod options;
mod output;

use std::path::{Path, PathBuf};

use kernel::{
    cli::{Exit, Failure},
    experiment::{
        sweep::{RunRow, SweepRecord, merge},
        threshold::ThresholdRecord,
    },
};

pub use self::options::{Command, FidelityOptions, MergeOptions, Options};
use self::output::{Output, unwritable};
use crate::{
    analyse::Analysis,
    compare::Comparison,
    fidelity::{self, Fidelity},
    figure::{self, compared, single},
    frame::{Frames, write_parquet},
    many::Many,
    page,
    read::{self, Mapping},
    run::Run,
    text,
    tipping::Tipping,
};

/// What the command came to.
#[derive(Debug)]
pub struct Done {
    pub exit: Exit,
    /// For the terminal.
    pub text: String,
}

/// Does what `options` ask for.
///
/// # Errors
/// With exit code 2 if there is nothing to read or it cannot be understood, with 3 if the report cannot be written.
pub fn run(options: &Options) -> Result<Done, Failure> {
    match &options.command {
        Some(Command::Fidelity(options)) => return fidelity(options),
        Some(Command::Merge(options)) => return put_together(options),
        None => {}
    }
    let mapping = options.mapping();
    match options.runs.as_slice() {
        [place] if SweepRecord::is_at(place) => report_many(place, options),
        [place] if ThresholdRecord::is_at(place) => report_tip(place, options),
        [place] => report(place, &mapping, options),
        places => compare(places, &mapping, options),
    }
}

/// The report of one run. Its exit code is the run's verdict.
fn report(place: &Path, mapping: &Mapping, options: &Options) -> Result<Done, Failure> {
    let mut run = read::run(place, mapping).map_err(Failure::wrong_input)?;
    let output = Output::prepare(&options.out.clone().unwrap_or_else(|| report_place(place)))?;
    if options.parquet {
        export(&run, &output)?;
    }
    let analysis = Analysis::of(&mut run, options.window).map_err(Failure::wrong_input)?;
    let figures = single::figures(&analysis);
    let text = text::report(&analysis);
    let json = pretty(&analysis.json());
    output.write("report.txt", text.as_bytes())?;
    output.write("report.json", json.as_bytes())?;
    output.plots(&figures)?;
    output.write("report.html", page::report(&analysis, &figures).as_bytes())?;
    let exit = if analysis.summary.pass { Exit::Passed } else { Exit::Failed };
    let shown = if options.json { json } else { format!("{text}{}", output.account()) };
    Ok(Done { exit, text: shown })
}

/// A folder in the run's own, whose files stay as they are; beside a log.
fn report_place(place: &Path) -> PathBuf {
    if place.is_dir() {
        return place.join("report");
    }
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".report");
    place.with_file_name(name)
}

fn export(run: &Run, output: &Output) -> Result<(), Failure> {
    let records = &run.records;
    let frames = Frames::of(&records.requests, &records.attempts, &records.events, 0).map_err(Failure::run_failed)?;
    let path = output.path("joined.parquet");
    write_parquet(&frames, &records.requests, &path).map_err(|error| unwritable(&path, error))
}

/// The report of a folder of many runs. Its exit code is 0 if all of them pass.
fn report_many(place: &Path, options: &Options) -> Result<Done, Failure> {
    refuse_parquet(place, options)?;
    let many = Many::of(SweepRecord::read(place).map_err(Failure::wrong_input)?);
    write_many(&many, &options.out.clone().unwrap_or_else(|| place.join("report")), options.json)
}

fn refuse_parquet(place: &Path, options: &Options) -> Result<(), Failure> {
    if !options.parquet {
        return Ok(());
    }
    let reason = format!("--parquet has nothing to write of {}, which keeps no requests", place.display());
    Err(Failure::wrong_input(reason))
}

/// The report of a search for boundaries. It has no verdict.
fn report_tip(place: &Path, options: &Options) -> Result<Done, Failure> {
    refuse_parquet(place, options)?;
    let tipping = Tipping::of(ThresholdRecord::read(place).map_err(Failure::wrong_input)?);
    let output = Output::prepare(&options.out.clone().unwrap_or_else(|| place.join("report")))?;
    let figures = figure::tipping::figures(&tipping);
    let text = text::tipping::report(&tipping);
    let json = pretty(&tipping.json());
    output.write("report.txt", text.as_bytes())?;
    output.write("report.json", json.as_bytes())?;
    output.plots(&figures)?;
    output.write("report.html", page::tipping(&tipping, &figures).as_bytes())?;
    let shown = if options.json { json } else { format!("{text}{}", output.account()) };
    Ok(Done { exit: Exit::Passed, text: shown })
}

/// The folder of all that shards have, and its report.
fn put_together(options: &MergeOptions) -> Result<Done, Failure> {
    let shards = options.shards.iter().map(|place| SweepRecord::read(place).map(|runs| (place.clone(), runs)));
    let shards = shards.collect::<Result<Vec<_>, _>>().map_err(Failure::wrong_input)?;
    let runs = merge(shards).map_err(Failure::wrong_input)?;
    let place = options.out.clone().unwrap_or_else(|| runs.identity.default_place());
    runs.write(&place).map_err(Failure::wrong_input)?;
    let mut done = write_many(&Many::of(runs), &place.join("report"), options.json)?;
    if !options.json {
        done.text.push_str(&format!("  folder  {}\n", place.display()));
    }
    Ok(done)
}

fn write_many(many: &Many, place: &Path, json: bool) -> Result<Done, Failure> {
    let output = Output::prepare(place)?;
    let replay = |row: &RunRow| many.runs.identity.replay(row);
    let account = many.runs.report(&replay);
    let figures = figure::many::figures(many, &account);
    let text = text::many::report(many, &account);
    let for_programs = pretty(&many.json(&account));
    output.write("report.txt", text.as_bytes())?;
    output.write("report.json", for_programs.as_bytes())?;
    output.plots(&figures)?;
    output.write("report.html", page::many(many, &account, &figures).as_bytes())?;
    let exit = match (account.breaks_invariant(), account.pass()) {
        (true, _) => Exit::InvariantViolated,
        (false, true) => Exit::Passed,
        (false, false) => Exit::Failed,
    };
    let shown = if json { for_programs } else { format!("{text}{}", output.account()) };
    Ok(Done { exit, text: shown })
}

/// The comparison of several runs. It has no verdict.
fn compare(places: &[PathBuf], mapping: &Mapping, options: &Options) -> Result<Done, Failure> {
    if let Some(many) = places.iter().find(|place| SweepRecord::is_at(place)) {
        let reason = format!(
            "{} is a folder of many runs, which is reported alone; `reports merge` puts the shards of a sweep together",
            many.display()
        );
        return Err(Failure::wrong_input(reason));
    }
    if let Some(tip) = places.iter().find(|place| ThresholdRecord::is_at(place)) {
        let reason = format!("{} is a search for a boundary, which is reported alone", tip.display());
        return Err(Failure::wrong_input(reason));
    }
    let runs = places.iter().map(|place| read::run(place, mapping)).collect::<Result<Vec<Run>, _>>();
    let comparison =
        Comparison::of(runs.map_err(Failure::wrong_input)?, options.window).map_err(Failure::wrong_input)?;
    let place = options.out.clone().unwrap_or_else(|| Path::new("runs/compare").join(comparison.name()));
    let output = Output::prepare(&place)?;
    let text = text::compared::comparison(&comparison);
    let json = pretty(&comparison.json());
    let mut figures = Vec::new();
    for scenario in &comparison.scenarios {
        figures.extend(compared::figures(scenario, comparison.scenarios.len() > 1));
    }
    output.write("comparison.txt", text.as_bytes())?;
    output.write("comparison.json", json.as_bytes())?;
    output.plots(&figures)?;
    output.write("report.html", page::comparison(&comparison, &figures).as_bytes())?;
    let shown = if options.json { json } else { format!("{text}{}", output.account()) };
    Ok(Done { exit: Exit::Passed, text: shown })
}

/// How far the worlds of a campaign are apart. It has no verdict either: how far is too far is for people to say.
fn fidelity(options: &FidelityOptions) -> Result<Done, Failure> {
    let campaign = fidelity::read(&options.campaign).map_err(Failure::wrong_input)?;
    let fidelity = Fidelity::of(campaign, options.window).map_err(Failure::wrong_input)?;
    let output = Output::prepare(&options.out.clone().unwrap_or_else(|| options.campaign.join("report")))?;
    let text = text::fidelity::report(&fidelity);
    let json = pretty(&fidelity.json());
    let figures = figure::fidelity::figures(&fidelity);
    output.write("fidelity.txt", text.as_bytes())?;
    output.write("fidelity.json", json.as_bytes())?;
    output.plots(&figures)?;
    output.write("report.html", page::fidelity(&fidelity, &figures).as_bytes())?;
    let shown = if options.json { json } else { format!("{text}\n{}", output.account()) };
    Ok(Done { exit: Exit::Passed, text: shown })
}

fn pretty(value: &serde_json::Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data is always written");
    text.push('\n');
    text
}
