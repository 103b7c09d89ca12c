//! Options of a hunt.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kernel::scenario::duration;

use crate::cli::options::{Conditions, Jobs};

/// The longest time of a search: 30 days.
const LASTS_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Options of a hunt.
#[derive(Debug, Args)]
pub(crate) struct HuntArgs {
    /// The scenario file. Faults are drawn as its [nemesis] says, or as the default one does.
    pub(super) scenario: PathBuf,

    /// The time after which the search ends without a finding.
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = time)]
    pub(super) lasts: Duration,

    /// The most runs.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub(super) runs: u64,

    /// The seed of the first run; each further run has the next seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) from_seed: u64,

    /// Searches for violated invariants only, which are bugs of this program, and ignores the expectations.
    #[arg(long)]
    pub(super) invariants: bool,

    /// Draws policies, servers, load and network from each seed, too, in place of the scenario's settings. Searches for
    /// violated invariants only, as the expectations are about the scenario as written.
    #[arg(long)]
    pub(super) policies: bool,

    /// With --policies: draws limits, times and queues that adapt, too. The other settings of a seed stay the same.
    #[arg(long, requires = "policies")]
    pub(super) adaptive: bool,

    /// Learns from what runs reach: goes on from the times at which a run was in a situation that no run was in before, with everything drawn
    /// again from there.
    #[arg(long)]
    pub(super) guided: bool,

    #[command(flatten)]
    pub(super) conditions: Conditions,

    /// The folder to write the failing scenario to [default: runs/SCENARIO/hunt].
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,

    /// Replaces scenarios in that folder even if this program has not written them.
    #[arg(long)]
    pub(super) force: bool,

    /// Writes the scenario of every run, not only of the failing one.
    #[arg(long)]
    pub(super) keep: bool,

    /// Prints the result as JSON.
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) jobs: Jobs,
}

/// Parses a duration.
fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    let longest = duration::text(LASTS_MAX);
    if time <= LASTS_MAX {
        Ok(time)
    } else {
        Err(format!("a search lasts {longest} at most; start another one behind it"))
    }
}
