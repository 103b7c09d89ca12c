//! Options of a sweep.

use clap::Args;
use kernel::experiment::sweep::{Axis, Seeds, Shard};

use crate::options::Jobs;

/// Options of many runs.
#[derive(Debug, Args)]
#[command(mut_arg("jobs", |jobs| jobs.requires("seeds")))]
pub(crate) struct ManyArgs {
    /// Plays every seed from the first to before the second, on all cores, into one folder
    #[arg(long, value_name = "FROM..TO", conflicts_with = "seed")]
    pub(crate) seeds: Option<Seeds>,

    /// Plays with each of these values, on the same arrivals, and compares; may be repeated for a grid
    #[arg(long, value_name = "KEY=VALUE,VALUE", requires = "seeds")]
    pub(super) vary: Vec<Axis>,

    /// Plays a part of the seeds: 3/16 is the part of the third of sixteen machines
    #[arg(long, value_name = "N/OF", requires = "seeds")]
    pub(super) shard: Option<Shard>,

    #[command(flatten)]
    pub(super) jobs: Jobs,
}
