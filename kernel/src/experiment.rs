//! Experiments of many runs: which runs there are, what is kept of them, and what their rows add up to.
//!
//! An experiment is spread over three crates. The statistics and the folder formats are here, the driver that runs
//! the simulations is in `sim`, and the pictures are in `reports`:
//!
//! | experiment | statistics, folder | driver | pictures |
//! | --- | --- | --- | --- |
//! | a scenario with many seeds and settings | [`sweep`] | `sim/src/many.rs`, `sim/src/sweep/` | `many` modules of `reports` |
//! | the threshold of a setting where runs start to fail | [`threshold`] | `sim/src/tip.rs` | `tipping` modules of `reports` |

pub mod sweep;
pub mod threshold;
