//! Many runs of a scenario: which there are, a row for each, and what the rows add up to.
//!
//! Runs are numbered by variant and seed. A variant is the scenario with some settings varied; without any there is the
//! one variant 0. Runs of one seed see the same arrivals, inputs and draws in every variant, so differences between
//! variants are taken seed by seed.
//!
//! | module | holds |
//! | --- | --- |
//! | `seeds`, `shard` | which runs: [`Seeds`], and the part of them that is this machine's: [`Shard`] |
//! | `axis` | [`Axis`], a setting and the values it takes; [`grid`], the settings of every variant |
//! | `identity` | [`Identity`], which runs belong together |
//! | `row` | [`RunRow`], a line of `runs.jsonl` |
//! | [`runs`] | [`Runs`], the folder |
//! | `merge` | [`merge`], shards put together |
//! | `spread` | [`Spread`], a metric over the runs of a variant |
//! | `paired` | [`Paired`], how much a metric differs between two variants |
//! | `text` | [`Account`], what is said of them in the end |

mod axis;
mod identity;
mod merge;
mod paired;
mod row;
pub mod runs;
#[cfg(test)]
mod sample;
mod seeds;
mod shard;
mod spread;
mod text;

pub use axis::{Axis, AxisError, grid};
pub use identity::{Identity, Origin};
pub use merge::{MergeError, merge};
pub use paired::{CONFIDENCE, Paired};
pub use row::RunRow;
pub use runs::{Runs, RunsError};
pub use seeds::{Seeds, SeedsError};
pub use shard::{Shard, ShardError};
pub use spread::Spread;
pub use text::{Account, Overview, Worst};
