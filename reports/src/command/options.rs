//! Arguments of the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use kernel::{
    cli::{
        CompletionsArgs, Exit, ManArgs,
        help::{NO_VERDICT, VERDICT},
        help_sections,
    },
    scenario::duration,
};

use super::GateOptions;
use crate::{
    detect::{DetectBenchOptions, DetectOptions},
    export::ExportOptions,
    read::{BadRowsMax, Columns, Mapping, format_name, only},
};

/// Turns run folders into reports with plots: analyses one run, one sweep or one threshold search, and compares several runs.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "reports",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = help_sections(
        &[
            "reports runs/crash/sim-seed42",
            "reports runs/crash/sim-seed42 runs/crash/real-seed42 --out compared",
            "reports before.csv after.csv --fail-if 'latency_p95 > +10%'",
            "reports log.csv --columns intended=ts:ms,latency=dur_ms,status=code:http",
        ],
        VERDICT,
    ),
)]
pub struct Options {
    /// The subcommand, if there is one.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Run folders, also in object stores (s3://BUCKET/PREFIX), or request logs of other programs as CSV or JSON lines; or one folder of a
    /// sweep or of `sim tip`.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,

    /// The folder to write the report to [default: RUN/report, or runs/compare/NAMES].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Replaces an earlier report in that folder even if it was changed.
    #[arg(long)]
    pub force: bool,

    /// The length of the windows in plots over time, at least 1ms.
    #[arg(long, default_value = "1s", value_parser = window)]
    pub window: Duration,

    /// The exporters to run.
    #[command(flatten)]
    pub exports: ExportOptions,

    /// Prints what happened to this request of a run instead of writing a report; may be repeated.
    #[arg(long, value_name = "ID")]
    pub request: Vec<u64>,

    /// Prints what happened to the slowest requests of a run instead of writing a report.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub slowest: Option<u64>,

    /// The options for pipelines.
    #[command(flatten)]
    pub gate: GateOptions,

    /// Prints the report as JSON.
    #[arg(long)]
    pub json: bool,

    /// The columns of a log and their meaning, such as intended=ts:ms,latency=dur_ms,status=code:http.
    #[arg(long, value_name = "FIELD=NAME[:UNIT],…")]
    pub columns: Option<Columns>,

    /// Takes only the rows of a log with this value in this column as requests; may be repeated.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = only)]
    pub only: Vec<(String, String)>,

    /// The format of a log [default: the one that its beginning shows]; a wrong name lists all.
    #[arg(long, value_name = "NAME", value_parser = format_name)]
    pub format: Option<String>,

    /// The number or percentage of rows that may be left out of a log because they cannot be read.
    #[arg(long, value_name = "N|N%", default_value_t = BadRowsMax::default())]
    pub bad_rows: BadRowsMax,

    /// The requests per second of a log without times, more than 0.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
}

/// How a transfer ends.
const TRANSFER: &[(Exit, &str)] = &[
    (Exit::Passed, "the folder is there, whole"),
    (Exit::WrongInput, "the command line is wrong"),
    (
        Exit::RunFailed,
        "a file or the store cannot be read or written, or the program has been built without object stores",
    ),
];

/// The subcommands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Reports how far simulated runs are from real ones, and real ones from each other.
    #[command(after_long_help = help_sections(
        &[
            "reports fidelity runs/fidelity",
            "reports fidelity runs/half-1 runs/half-2 --out runs/both",
            "reports fidelity runs/fidelity --window 500ms --json",
        ],
        NO_VERDICT,
    ))]
    Fidelity(FidelityOptions),

    /// Prints when the alerts of a scenario's objectives would have fired, after which faults, how late, and how often without one.
    #[command(after_long_help = help_sections(
        &[
            "reports alerts runs/alerts/sim-seed42",
            "reports alerts runs/alerts/sim-seed42 --out alerts",
            "reports alerts runs/alerts/sim-seeds0-100 --json",
            "reports alerts runs/crash/real-seed1 runs/crash/real-seed2 --slos scenarios/alerts.toml",
        ],
        NO_VERDICT,
    ))]
    Alerts(AlertsOptions),

    /// Merges the shards of a sweep into one folder, and reports it.
    #[command(after_long_help = help_sections(
        &["reports merge shard-1 shard-2 shard-3 --out whole", "reports merge 's3://bucket/sweep/shard-*' --out whole"],
        VERDICT,
    ))]
    Merge(MergeOptions),

    /// Uploads a folder to an object store, as commands with --out s3://BUCKET/PREFIX do at their end.
    #[command(after_long_help = help_sections(
        &["reports upload runs/crash/sim-seed42 s3://bucket/runs/crash"],
        TRANSFER,
    ))]
    Upload(UploadOptions),

    /// Downloads a folder from an object store.
    #[command(after_long_help = help_sections(&["reports download s3://bucket/runs/crash crash"], TRANSFER))]
    Download(DownloadOptions),

    /// Prints the alarms that detectors of anomalies would have raised during a run, and the faults that they belong to.
    #[command(after_long_help = help_sections(
        &["reports detect runs/crash/sim-seed42", "reports detect log.csv --step 10s --json"],
        NO_VERDICT,
    ))]
    Detect(DetectOptions),

    /// Compares detectors of anomalies, yours among them, over a set of runs with known faults.
    #[command(after_long_help = help_sections(
        &[
            "reports detect-bench runs/incidents",
            "reports detect-bench runs/incidents --program 'python3 mine.py'",
            "reports detect-bench runs/incidents --half tuning --curve",
        ],
        &[
            (Exit::Passed, "the comparison has been printed"),
            (Exit::WrongInput, "the command line is wrong, or the set cannot be read"),
            (Exit::RunFailed, "a program ended, took too long, or wrote something else than alarms"),
        ],
    ))]
    DetectBench(DetectBenchOptions),

    /// Prints a script with which a shell completes the options of this program.
    #[command(after_long_help = help_sections(
        &["reports completions bash", "source <(reports completions bash)"],
        &[(Exit::Passed, "always"), (Exit::WrongInput, "there is no such shell")],
    ))]
    Completions(CompletionsArgs),

    /// Writes manual pages of this program and its commands.
    #[command(after_long_help = help_sections(
        &["reports man --out man"],
        &[(Exit::Passed, "the pages have been written"), (Exit::WrongInput, "the folder cannot be written")],
    ))]
    Man(ManArgs),
}

/// Arguments of `reports fidelity`.
#[derive(Debug, Clone, Args)]
pub struct FidelityOptions {
    /// The folder of a campaign of `real fidelity`, or those of several, which are joined into one report. Each has a machine and a
    /// calibration of its own, and only its own runs are compared.
    #[arg(value_name = "DIR", required = true)]
    pub campaigns: Vec<PathBuf>,

    /// The folder to write the report to [default: DIR/report, or runs/compare/NAMES for several].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Replaces an earlier report in that folder even if it was changed.
    #[arg(long)]
    pub force: bool,

    /// The length of the windows in plots over time, at least 1ms.
    #[arg(long, default_value = "1s", value_parser = window)]
    pub window: Duration,

    /// Prints the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `reports alerts`.
#[derive(Debug, Clone, Args)]
pub struct AlertsOptions {
    /// A run folder, several of them, or the folder of a sweep whose scenario has `[[slo]]`.
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,

    /// Takes the objectives of this scenario file instead of those of the runs; not of a sweep.
    #[arg(long, value_name = "FILE")]
    pub slos: Option<PathBuf>,

    /// Writes a page with the burn rates of each rule over the run, the text and the JSON to this folder, too.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Replaces an earlier report in that folder even if it was changed.
    #[arg(long, requires = "out")]
    pub force: bool,

    /// Prints the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `reports merge`.
#[derive(Debug, Clone, Args)]
pub struct MergeOptions {
    /// The folders of all shards, as `sim run --shard` writes them, also in object stores: 's3://BUCKET/PREFIX/shard-*' stands for all of them.
    #[arg(required = true, value_name = "DIR")]
    pub shards: Vec<PathBuf>,

    /// The folder to write the whole sweep to, or its place in an object store [default: that of `sim run` for a sweep without shards].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Replaces an earlier sweep and its report in that folder even if it is of other runs or was changed.
    #[arg(long)]
    pub force: bool,

    /// Prints the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `reports upload`.
#[derive(Debug, Clone, Args)]
pub struct UploadOptions {
    /// The folder to upload, with all that is in it.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// The place of the folder in the store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER.
    #[arg(value_name = "URL")]
    pub url: PathBuf,
}

/// Arguments of `reports download`.
#[derive(Debug, Clone, Args)]
pub struct DownloadOptions {
    /// The place of the folder in the store.
    #[arg(value_name = "URL")]
    pub url: PathBuf,

    /// The folder to create.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

impl Options {
    /// Returns how to read a log that another program wrote.
    pub(super) fn mapping(&self) -> Mapping {
        Mapping {
            columns: self.columns.clone().unwrap_or_default(),
            only: self.only.clone(),
            rate: self.rate,
            format: self.format.clone(),
            bad_rows: self.bad_rows,
        }
    }
}

/// Parses the length of a window. It is at least a millisecond, as a shorter window rarely holds a request.
fn window(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(length) if length >= Duration::from_millis(1) => Ok(length),
        Ok(_) => Err("a window is 1ms or longer".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses a number of requests per second.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a rate is a number over 0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use kernel::cli::{help::commands_without_sections, options_without_variable};

    use super::*;

    #[test]
    fn every_command_has_examples_and_exit_codes() {
        assert_eq!(commands_without_sections(&Options::command()), Vec::<String>::new());
    }

    #[test]
    fn every_option_has_a_variable() {
        assert_eq!(options_without_variable(&Options::command()), Vec::<String>::new());
    }
}
