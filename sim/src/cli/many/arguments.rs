//! Options of a sweep.

use clap::Args;
use kernel::experiment::sweep::{Axis, Seeds, Shard};

use crate::cli::options::Jobs;

/// Options of many runs.
#[derive(Debug, Args)]
#[command(mut_arg("jobs", |jobs| jobs.requires("seeds")))]
pub(crate) struct ManyArgs {
    /// Runs every seed from FROM up to TO, which is left out, on all cores, and writes one folder.
    #[arg(long, value_name = "FROM..TO", conflicts_with = "seed")]
    pub(crate) seeds: Option<Seeds>,

    /// Runs each seed with each of these values of a setting, on the same arrivals, and compares; may be repeated for a grid.
    #[arg(long, value_name = "KEY=VALUE,VALUE", requires = "seeds")]
    pub(super) vary: Vec<Axis>,

    /// Runs one part of the seeds, to share the work between machines: 3/16 is the third of sixteen parts, and so is index:2/16.
    #[arg(long, value_name = "N/OF", requires = "seeds")]
    pub(super) shard: Option<Shard>,

    #[command(flatten)]
    pub(super) jobs: Jobs,
}
