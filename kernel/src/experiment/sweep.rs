//! Sweeps: many runs of one scenario, a row for each, and statistics over the rows.
//!
//! Runs are numbered by variant and seed. A variant is the scenario with some settings varied; if nothing is varied,
//! there is the one variant 0. Runs of one seed see the same arrivals, inputs and draws in every variant, so variants
//! are compared seed by seed.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `seeds`, `shard` | which runs there are: [`Seeds`], and the part of them that one machine runs: [`Shard`] |
//! | `axis` | [`Axis`], a setting and the values that it takes; [`grid`], the settings of every variant |
//! | `identity` | [`SweepIdentity`], which runs belong together |
//! | `row` | [`RunRow`], a line of `runs.jsonl` |
//! | [`folder`] | [`SweepRecord`], the content of a sweep's folder, which can be read and written |
//! | `checked_rows` | rows in a file, each with a checksum |
//! | `progress` | [`OpenSweepFolder`], the folder while its runs come in |
//! | `merge` | [`merge`], which makes one sweep of its shards |
//! | `spread` | [`Spread`], a metric over the runs of a variant |
//! | `paired` | [`PairedDifferences`], how much metrics differ between variants |
//! | `report`, `tables`, `overview` | [`SweepReport`], what a sweep prints when it ends, for people and for programs |

mod axis;
mod checked_rows;
pub mod folder;
mod identity;
mod merge;
mod overview;
mod paired;
mod progress;
mod report;
mod row;
#[cfg(test)]
mod sample;
mod seeds;
mod shard;
mod spread;
mod tables;

pub use axis::{Axis, AxisError, grid};
pub use folder::{SweepError, SweepRecord};
pub use identity::{Origin, SweepIdentity};
pub use merge::{MergeError, merge};
pub use overview::{SweepOverview, WorstRun};
pub use paired::{CONFIDENCE, PairedDifference, PairedDifferences};
pub use progress::OpenSweepFolder;
pub use report::SweepReport;
pub use row::RunRow;
pub use seeds::{Seeds, SeedsError};
pub use shard::{Shard, ShardError};
pub use spread::Spread;
