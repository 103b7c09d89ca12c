//! Arguments of the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use kernel::scenario::duration;

use crate::{
    export::ExportOptions,
    read::{Columns, Mapping, only},
};

/// Turns run folders into reports: one run, one folder of many runs, or one search for a boundary is analysed, several runs
/// are compared.
#[derive(Debug, Clone, Parser)]
#[command(name = "reports", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Run folders, or request logs of other programs as CSV or JSON lines; or a folder of many runs, or of `sim tip`
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,

    /// Where to put the report [default: RUN/report, or runs/compare/NAMES]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// The length of the windows in plots over time
    #[arg(long, default_value = "1s", value_parser = window)]
    pub window: Duration,

    #[command(flatten)]
    pub exports: ExportOptions,

    /// Prints the report as JSON
    #[arg(long)]
    pub json: bool,

    /// Of a log: which column is what, such as intended=ts:ms,latency=dur_ms,status=code:http
    #[arg(long, value_name = "FIELD=NAME[:UNIT],…")]
    pub columns: Option<Columns>,

    /// Of a log: only rows with this value in this column are requests; may be repeated
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = only)]
    pub only: Vec<(String, String)>,

    /// Of a log without times: requests a second
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
}

/// The subcommands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Says how far simulated runs are from real ones, and real ones from each other
    Fidelity(FidelityOptions),

    /// Puts the shards of a sweep together into one folder of many runs, and reports it
    Merge(MergeOptions),
}

/// Arguments of `reports fidelity`.
#[derive(Debug, Clone, Args)]
pub struct FidelityOptions {
    /// A folder that `real fidelity` wrote
    #[arg(value_name = "DIR")]
    pub campaign: PathBuf,

    /// Where to put the report [default: DIR/report]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// The length of the windows in plots over time
    #[arg(long, default_value = "1s", value_parser = window)]
    pub window: Duration,

    /// Prints the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `reports merge`.
#[derive(Debug, Clone, Args)]
pub struct MergeOptions {
    /// The folders of all shards, as `sim --shard` wrote them
    #[arg(required = true, value_name = "DIR")]
    pub shards: Vec<PathBuf>,

    /// Where to put the whole [default: where `sim` puts a sweep without shards]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Prints the report as JSON
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Returns how to read a log that another program wrote.
    pub(super) fn mapping(&self) -> Mapping {
        Mapping { columns: self.columns.clone().unwrap_or_default(), only: self.only.clone(), rate: self.rate }
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
