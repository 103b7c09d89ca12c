//! The command: reads runs, analyses them, and writes the report.

mod gate;
mod options;
mod report;

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use kernel::{
    cli::{Exit, Failure, complain},
    experiment::{
        sweep::{RunRow, SweepRecord, merge},
        threshold::ThresholdRecord,
    },
    json::pretty,
    measure::Verdict,
    object_folder::{
        StoreUrl,
        destination::{Destination, Sources, local_report},
    },
    run_folder::Earlier,
    scenario::Scenario,
    visible::Visible,
};
use serde_json::Value;

use self::gate::Gate;
pub use self::gate::{Condition, GateOptions};
pub use self::options::{
    AlertsOptions, Command, DownloadOptions, FidelityOptions, MergeOptions, Options, UploadOptions,
};
use self::report::{Report, ReportFolder, Shown};
use crate::{
    alerts::{self, AlertAnalysis},
    analyse::RunAnalysis,
    compare::{Comparison, WHOLE},
    detect::{self, DetectOptions, RunAlarms},
    distribution::{self, Distribution, NamedDistribution},
    export,
    fidelity::{self, Fidelity},
    figure, page,
    read::{self, Input, Mapping, ReadError},
    run::RecordedRun,
    sweep::SweepAnalysis,
    text,
    threshold::ThresholdAnalysis,
    timeline::{self, Timeline},
};

/// The output of a command that did not fail.
#[derive(Debug)]
pub struct CommandOutput {
    /// The exit code.
    pub exit: Exit,
    /// The text for the terminal.
    pub text: String,
}

/// Runs the command that `options` select.
///
/// # Errors
/// The exit code is 2 if an input cannot be read or the report cannot be written, and 3 if a plot cannot be drawn.
pub fn run(options: &Options) -> Result<CommandOutput, Failure> {
    match &options.command {
        Some(Command::Fidelity(options)) => return report_fidelity(options),
        Some(Command::Alerts(options)) => return report_alerts(options),
        Some(Command::Merge(options)) => return merge_shards(options),
        Some(Command::Upload(options)) => return upload(options),
        Some(Command::Download(options)) => return download(options),
        Some(Command::Detect(options)) => return detect_in_run(options),
        Some(Command::DetectBench(options)) => {
            return detect::bench(options).map(|text| CommandOutput { exit: Exit::Passed, text });
        }
        Some(Command::Completions(args)) => return Ok(printed(args.run(Options::command()))),
        Some(Command::Man(args)) => return args.run(Options::command()).map(printed),
        None => {}
    }
    let sources = Sources::fetch(&options.runs)?;
    // A report on what was downloaded does not go where that is.
    let beside = || options.runs.first().filter(|_| options.runs.len() == 1).and_then(|run| local_report(run));
    let destination = options.out.clone().or_else(beside).map(Destination::from_path).transpose()?;
    let out = destination.as_ref().map(|destination| destination.place().to_owned());
    let options = Options { runs: sources.places.clone(), out, ..options.clone() };
    let output = report(&options)?;
    match destination {
        None => Ok(output),
        Some(destination) => stored(output, &destination, destination.place(), options.json),
    }
}

/// Uploads `folder` if its destination is an object store, and adds a line about that to the output unless that is JSON.
fn stored(
    mut output: CommandOutput,
    destination: &Destination,
    folder: &Path,
    is_json: bool,
) -> Result<CommandOutput, Failure> {
    let line = destination.deliver(folder)?;
    if !is_json {
        output.text += &line;
    }
    Ok(output)
}

/// Reports on folders of this machine.
fn report(options: &Options) -> Result<CommandOutput, Failure> {
    let mapping = options.mapping();
    if !options.request.is_empty() || options.slowest.is_some() {
        return show_requests(&mapping, options);
    }
    match options.runs.as_slice() {
        [place] if SweepRecord::is_at(place) => report_sweep(place, options),
        [place] if ThresholdRecord::is_at(place) => report_threshold(place, options),
        [place] => report_run(place, &mapping, options),
        places => report_comparison(places, &mapping, options),
    }
}

/// Shows what happened to single requests of a run, and writes nothing. The exit code is 0 whatever their statuses.
fn show_requests(mapping: &Mapping, options: &Options) -> Result<CommandOutput, Failure> {
    let [place] = options.runs.as_slice() else {
        return Err(Failure::wrong_input("--request and --slowest are of one run; name one"));
    };
    if SweepRecord::is_at(place) || ThresholdRecord::is_at(place) {
        let place = place.visible();
        return Err(Failure::wrong_input(format!("{place} has no requests; name the folder of a run")));
    }
    let run = read::run(place, mapping).map_err(Failure::wrong_input)?;
    let count = usize::try_from(options.slowest.unwrap_or_default()).unwrap_or(usize::MAX);
    let ids = [options.request.clone(), timeline::slowest(&run, count)].concat();
    let timelines = Timeline::collect(&run, &ids);
    let known = |id: &u64| timelines.iter().any(|timeline| timeline.request.id == *id);
    if let Some(id) = options.request.iter().find(|id| !known(id)) {
        let count = run.rows.requests.len();
        return Err(Failure::wrong_input(format!("the run has no request {id}; it has {count}, counted from 0")));
    }
    if options.json {
        return Ok(CommandOutput { exit: Exit::Passed, text: pretty(&timelines) });
    }
    let texts: Vec<String> = timelines.iter().map(Timeline::text).collect();
    Ok(CommandOutput { exit: Exit::Passed, text: texts.join("\n") })
}

/// Prints the alarms of detectors over a run. The exit code is 0 whatever they are.
fn detect_in_run(options: &DetectOptions) -> Result<CommandOutput, Failure> {
    let sources = Sources::fetch(std::slice::from_ref(&options.run))?;
    let [place] = sources.places.as_slice() else {
        return Err(Failure::wrong_input("alarms are of one run; name one"));
    };
    let run = read::run(place, &Mapping::default()).map_err(Failure::wrong_input)?;
    let alarms = RunAlarms::of_run(&run, options.step).map_err(Failure::wrong_input)?;
    let text = if options.json { pretty(&alarms) } else { alarms.text() };
    Ok(CommandOutput { exit: Exit::Passed, text })
}

/// Returns the output of a command that has printed its text.
fn printed(exit: Exit) -> CommandOutput {
    CommandOutput { exit, text: String::new() }
}

/// Returns the output for the terminal.
fn shown(as_json: bool) -> Shown {
    if as_json { Shown::Json } else { Shown::Text }
}

/// Reports one run. The exit code is the verdict of the run.
fn report_run(place: &Path, mapping: &Mapping, options: &Options) -> Result<CommandOutput, Failure> {
    let report_place = options.out.clone().unwrap_or_else(|| run_report_place(place));
    let run = match read::input(place, mapping).map_err(Failure::wrong_input)? {
        Input::Run(run) => *run,
        Input::Quantiles(named) => {
            reject_exports(place, options)?;
            return write_quantiles(&[named], &report_place, options);
        }
    };
    let mut folder = ReportFolder::prepare(&report_place, options.force)?;
    export(&run, &mut folder, options)?;
    let analysis = RunAnalysis::from_run(run, options.window).map_err(Failure::wrong_input)?;
    let gate = Gate::of_run(&options.gate, &analysis.title, &analysis.summary)?;
    let figures = figure::single::figures(&analysis);
    let report = Report {
        name: "report",
        text: text::report(&analysis) + &gate.text(),
        json: with_conditions(analysis.json(), &gate),
        html: page::report(&analysis, &figures),
        figures,
    };
    // A run that ended before its time has no verdict of its own.
    let verdict = if analysis.state.is_some() { Verdict::Interrupted } else { analysis.summary.verdict() };
    gated(&report, folder, verdict.into(), &gate, options)
}

/// Adds the conditions of `--fail-if` to a report for programs, if there are any.
fn with_conditions(mut document: Value, gate: &Gate) -> Value {
    let conditions = gate.json();
    if conditions.as_array().is_some_and(|conditions| !conditions.is_empty()) {
        document["conditions"] = conditions;
    }
    document
}

/// Writes a report and what pipelines read. The exit code is `exit`, or that of a condition that holds.
fn gated(
    report: &Report,
    folder: ReportFolder,
    exit: Exit,
    gate: &Gate,
    options: &Options,
) -> Result<CommandOutput, Failure> {
    let mut text = report.write(folder, shown(options.json))?;
    let annotations = gate.publish(&options.gate)?;
    // The output for programs is one JSON document and nothing else; GitHub reads both.
    if options.json {
        annotations.lines().for_each(complain)
    } else {
        text.push_str(&annotations)
    }
    Ok(CommandOutput { exit: gate.exit(exit), text })
}

/// Returns the default place of the report of a run: a folder below the folder of the run, whose own files stay as they
/// are, or a folder beside a log.
fn run_report_place(place: &Path) -> PathBuf {
    if place.is_dir() {
        return place.join("report");
    }
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".report");
    place.with_file_name(name)
}

/// Writes the files of the selected exporters.
fn export(run: &RecordedRun, folder: &mut ReportFolder, options: &Options) -> Result<(), Failure> {
    options.exports.selected().try_for_each(|exporter| folder.create(exporter.file, |path| (exporter.write)(run, path)))
}

/// Reports a sweep. The exit code is 0 if all runs pass.
fn report_sweep(place: &Path, options: &Options) -> Result<CommandOutput, Failure> {
    reject_exports(place, options)?;
    let sweep = SweepAnalysis::from_runs(SweepRecord::read(place).map_err(Failure::wrong_input)?);
    let report_place = options.out.clone().unwrap_or_else(|| place.join("report"));
    write_sweep(&sweep, ReportFolder::prepare(&report_place, options.force)?, options.json)
}

/// Fails if an exporter is selected for a folder that holds no rows of requests.
fn reject_exports(place: &Path, options: &Options) -> Result<(), Failure> {
    let Some(exporter) = options.exports.selected().next() else { return Ok(()) };
    let reason = format!("{} cannot export {}, which has no requests", exporter.option, place.visible());
    Err(Failure::wrong_input(reason))
}

/// Reports a search for a threshold. It has no verdict.
fn report_threshold(place: &Path, options: &Options) -> Result<CommandOutput, Failure> {
    reject_exports(place, options)?;
    let threshold = ThresholdAnalysis::from_search(ThresholdRecord::read(place).map_err(Failure::wrong_input)?);
    let report_place = options.out.clone().unwrap_or_else(|| place.join("report"));
    let folder = ReportFolder::prepare(&report_place, options.force)?;
    let figures = figure::threshold::figures(&threshold);
    let report = Report {
        name: "report",
        text: text::threshold::report(&threshold),
        json: threshold.json(),
        html: page::threshold(&threshold, &figures),
        figures,
    };
    Ok(CommandOutput { exit: Exit::Passed, text: report.write(folder, shown(options.json))? })
}

/// Reports when alerts would have fired. It writes nothing but the page that is asked for, and has no verdict.
fn report_alerts(options: &AlertsOptions) -> Result<CommandOutput, Failure> {
    let instead = options.slos.as_deref().map(|file| Scenario::load(file, &[])).transpose();
    let instead = instead.map_err(Failure::wrong_input)?.map(|scenario| scenario.slos);
    if let (Some([]), Some(file)) = (instead.as_deref(), &options.slos) {
        return Err(Failure::wrong_input(format!("{} has no [[slo]]; name a scenario that has some", file.visible())));
    }
    let sources = Sources::fetch(&options.runs)?;
    let analysis = alerts::analyse(&sources.places, instead.as_deref()).map_err(Failure::wrong_input)?;
    let (text, json) = (text::alerts::report(&analysis), analysis.json());
    let Some(place) = &options.out else {
        return Ok(CommandOutput { exit: Exit::Passed, text: if options.json { pretty(&json) } else { text } });
    };
    let destination = Destination::from_path(place.clone())?;
    let folder = ReportFolder::prepare(destination.place(), options.force)?;
    let figures = match &analysis {
        AlertAnalysis::Run(run) => figure::alerts::figures(run),
        AlertAnalysis::Runs(_) => Vec::new(),
    };
    let html = page::alerts(&analysis, &figures);
    let report = Report { name: "alerts", text, json, html, figures };
    let output = CommandOutput { exit: Exit::Passed, text: report.write(folder, shown(options.json))? };
    stored(output, &destination, destination.place(), options.json)
}

/// Merges the shards of a sweep into one folder, and reports it.
fn merge_shards(options: &MergeOptions) -> Result<CommandOutput, Failure> {
    let sources = Sources::fetch(&options.shards)?;
    let shards = sources.places.iter().map(|place| SweepRecord::read(place).map(|runs| (place.clone(), runs)));
    let shards = shards.collect::<Result<Vec<_>, _>>().map_err(Failure::wrong_input)?;
    let runs = merge(shards).map_err(Failure::wrong_input)?;
    let destination = Destination::from_path(options.out.clone().unwrap_or_else(|| runs.identity.default_place()))?;
    let place = destination.place();
    let earlier = if options.force { Earlier::Force } else { Earlier::Replace };
    runs.write(place, earlier).map_err(Failure::wrong_input)?;
    let folder = ReportFolder::prepare(&place.join("report"), options.force)?;
    let mut output = write_sweep(&SweepAnalysis::from_runs(runs), folder, options.json)?;
    // The output for programs is one JSON document and nothing else.
    if !options.json {
        output.text.push_str(&format!("  folder  {}\n", place.visible()));
    }
    stored(output, &destination, place, options.json)
}

/// Uploads a folder to an object store.
fn upload(options: &UploadOptions) -> Result<CommandOutput, Failure> {
    let url = store_url(&options.url)?;
    let count = url.upload(&options.folder).map_err(Failure::run_failed)?;
    Ok(printed_line(format!("{url}: {count} files\n")))
}

/// Downloads a folder from an object store.
fn download(options: &DownloadOptions) -> Result<CommandOutput, Failure> {
    let url = store_url(&options.url)?;
    if options.folder.exists() {
        let folder = options.folder.visible();
        return Err(Failure::wrong_input(format!("{folder} exists; name a folder that does not")));
    }
    url.download(&options.folder).map_err(Failure::run_failed)?;
    Ok(printed_line(format!("{}\n", options.folder.visible())))
}

fn printed_line(text: String) -> CommandOutput {
    CommandOutput { exit: Exit::Passed, text }
}

fn store_url(text: &Path) -> Result<StoreUrl, Failure> {
    let url = StoreUrl::from_path(text).ok_or_else(|| {
        let text = text.visible();
        Failure::wrong_input(format!("'{text}' is no URL of an object store; write one, such as s3://BUCKET/PREFIX"))
    })?;
    url.map_err(Failure::wrong_input)
}

/// Writes the report of a sweep to `folder`.
fn write_sweep(sweep: &SweepAnalysis, folder: ReportFolder, as_json: bool) -> Result<CommandOutput, Failure> {
    let identity = &sweep.runs.identity;
    let replay: &dyn Fn(&RunRow) -> String = &|row| identity.replay(row);
    let report_of_runs = sweep.runs.report(replay);
    let figures = figure::sweep::figures(sweep, &report_of_runs);
    let report = Report {
        name: "report",
        text: text::sweep::report(sweep, &report_of_runs),
        json: sweep.json(&report_of_runs),
        html: page::sweep(sweep, &report_of_runs, &figures),
        figures,
    };
    Ok(CommandOutput { exit: report_of_runs.verdict().into(), text: report.write(folder, shown(as_json))? })
}

/// Compares several runs. A comparison has no verdict but that of `--fail-if`.
fn report_comparison(places: &[PathBuf], mapping: &Mapping, options: &Options) -> Result<CommandOutput, Failure> {
    // These folders have no requests. Reading them as runs would fail with a message that does not help.
    if let Some(sweep) = places.iter().find(|place| SweepRecord::is_at(place)) {
        let reason = format!(
            "{} is a sweep, which cannot be compared; report it alone, or merge the shards of a sweep with `reports merge`",
            sweep.visible()
        );
        return Err(Failure::wrong_input(reason));
    }
    if let Some(search) = places.iter().find(|place| ThresholdRecord::is_at(place)) {
        let reason = format!("{} is a threshold search, which cannot be compared; report it alone", search.visible());
        return Err(Failure::wrong_input(reason));
    }
    if options.exports.parquet {
        return Err(Failure::wrong_input("--parquet exports the rows of one run; name one"));
    }
    let inputs = places.iter().map(|place| read::input(place, mapping));
    // Rows are released one run after another, so that inputs are read again if some are quantiles only.
    let Some(comparison) = runs_only(inputs, options)? else {
        return report_quantiles(places, mapping, options);
    };
    let place = options.out.clone().unwrap_or_else(|| Path::new("runs/compare").join(comparison.name()));
    let mut folder = ReportFolder::prepare(&place, options.force)?;
    if options.exports.hgrm {
        export_latencies(&comparison, &mut folder)?;
    }
    let mut figures = Vec::new();
    for scenario in &comparison.scenarios {
        figures.extend(figure::compared::figures(scenario, comparison.scenarios.len() > 1));
    }
    let gate = Gate::of_comparison(&options.gate, &comparison)?;
    let report = Report {
        name: "comparison",
        text: text::compared::comparison(&comparison) + &gate.text(),
        json: with_conditions(comparison.json(), &gate),
        html: page::comparison(&comparison, &figures),
        figures,
    };
    gated(&report, folder, Exit::Passed, &gate, options)
}

/// Writes the percentiles of the latencies of each run of a comparison.
fn export_latencies(comparison: &Comparison, folder: &mut ReportFolder) -> Result<(), Failure> {
    let names = export::file_names(comparison.places().map(PathBuf::as_path));
    comparison.members().zip(names).try_for_each(|(member, name)| {
        let name = format!("latencies-{name}.hgrm");
        folder.create(&name, |path| export::write_sample(&member.latencies[WHOLE], path))
    })
}

/// Compares the inputs if all of them have requests; `None` if one has quantiles only.
fn runs_only(
    inputs: impl Iterator<Item = Result<Input, ReadError>>,
    options: &Options,
) -> Result<Option<Comparison>, Failure> {
    let runs = inputs.map(|input| match input? {
        Input::Run(run) => Ok(*run),
        Input::Quantiles(named) => Err(ReadError::Quantiles(named.place)),
    });
    match Comparison::from_runs(runs, options.window) {
        Ok(comparison) => Ok(Some(comparison)),
        Err(ReadError::Quantiles(_)) => Ok(None),
        Err(error) => Err(Failure::wrong_input(error)),
    }
}

/// Compares the quantiles of inputs of which one or more have nothing else.
fn report_quantiles(places: &[PathBuf], mapping: &Mapping, options: &Options) -> Result<CommandOutput, Failure> {
    let named = places.iter().map(|place| {
        Ok(match read::input(place, mapping)? {
            Input::Quantiles(named) => named,
            Input::Run(run) => NamedDistribution {
                place: place.clone(),
                source: run.world.clone(),
                distribution: Distribution::of_summary(&run.summary()),
                has_requests: true,
            },
        })
    });
    let named: Vec<NamedDistribution> = named.collect::<Result<_, ReadError>>().map_err(Failure::wrong_input)?;
    if let Some(without) = named.iter().find(|named| !named.has_requests) {
        reject_exports(&without.place, options)?;
    }
    let names: Vec<String> = named.iter().map(text::distribution::file_name).collect();
    let name: String = names.join("-").replace([' ', '/', ','], "-").chars().take(100).collect();
    let place = options.out.clone().unwrap_or_else(|| Path::new("runs/compare").join(name));
    write_quantiles(&named, &place, options)
}

/// Writes the report of quantiles. It has no verdict.
fn write_quantiles(named: &[NamedDistribution], place: &Path, options: &Options) -> Result<CommandOutput, Failure> {
    let folder = ReportFolder::prepare(place, options.force)?;
    let gate = Gate::of_quantiles(&options.gate, named)?;
    let report = Report {
        name: "quantiles",
        text: text::distribution::report(named) + &gate.text(),
        json: with_conditions(distribution::json(named), &gate),
        html: page::distribution(named),
        figures: Vec::new(),
    };
    gated(&report, folder, Exit::Passed, &gate, options)
}

/// Reports the distance of the worlds in campaigns. It has no verdict: people decide which distance is too great.
fn report_fidelity(options: &FidelityOptions) -> Result<CommandOutput, Failure> {
    let campaigns = fidelity::read(&options.campaigns, options.window).map_err(Failure::wrong_input)?;
    let fidelity = Fidelity::from_campaigns(campaigns);
    let place = options.out.clone().unwrap_or_else(|| match options.campaigns.as_slice() {
        [only] => only.join("report"),
        _ => {
            let names: Vec<String> =
                fidelity.campaigns.iter().map(|campaign| campaign.name.replace('/', "-")).collect();
            Path::new("runs/compare").join(names.join("-"))
        }
    });
    let folder = ReportFolder::prepare(&place, options.force)?;
    let figures = figure::fidelity::figures(&fidelity);
    let report = Report {
        name: "fidelity",
        text: text::fidelity::report(&fidelity),
        json: fidelity.json(),
        html: page::fidelity(&fidelity, &figures),
        figures,
    };
    let shown = if options.json { Shown::Json } else { Shown::SpacedText };
    Ok(CommandOutput { exit: Exit::Passed, text: report.write(folder, shown)? })
}
