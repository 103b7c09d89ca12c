//! Options of a hunt.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kernel::scenario::duration;

use crate::options::{Conditions, Jobs};

/// Options of a hunt.
#[derive(Debug, Args)]
pub(crate) struct HuntArgs {
    /// The scenario file. What it draws from is its [nemesis], the default one if it has none
    pub(super) scenario: PathBuf,

    /// How long to hunt
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = time)]
    pub(super) lasts: Duration,

    /// Runs at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub(super) runs: u64,

    /// The seed of the first run; the next one has the next
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) from_seed: u64,

    /// Looks for broken invariants only, which are bugs of this program, whatever the scenario expects
    #[arg(long)]
    pub(super) invariants: bool,

    /// Has each seed draw policies, servers, load and network, too, in place of the scenario's. It looks for broken
    /// invariants only: what is expected of a scenario is expected of it as it stands
    #[arg(long)]
    pub(super) policies: bool,

    #[command(flatten)]
    pub(super) conditions: Conditions,

    /// Where to write what fails [default: runs/SCENARIO/hunt]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    /// Writes the scenario of every run, too
    #[arg(long)]
    pub(super) keep: bool,

    #[command(flatten)]
    pub(super) jobs: Jobs,
}

/// Parses a duration.
fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}
