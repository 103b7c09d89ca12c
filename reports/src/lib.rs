//! Turns run folders into reports: what a run came to, and how far two runs, or two worlds, are apart.
//!
//! Reads what [`kernel::run_folder`] writes, and logs of other programs. It starts nothing and changes no run. Data passes
//! through the modules in this order:
//!
//! | module | from | to |
//! | --- | --- | --- |
//! | [`read`] | a run folder or a foreign log | [`run::RecordedRun`]: rows, and notes on what is missing |
//! | [`frame`] | rows | polars frames: windows, joins, percentiles |
//! | [`analyse`] | one run | [`analyse::RunAnalysis`]: faults, episodes, lanes |
//! | [`compare`] | several runs | [`compare::Comparison`]: sides, differences, [distances](compare::distance) |
//! | [`fidelity`] | a campaign of runs in both worlds | [`fidelity::Fidelity`]: how far the simulation is from reality |
//! | [`sweep`] | a sweep, or a grid of settings | [`sweep::SweepAnalysis`]: the report of `kernel::experiment::sweep`, and how it is drawn |
//! | [`threshold`] | a search for a threshold | [`threshold::ThresholdAnalysis`]: the report of `kernel::experiment::threshold` |
//! | [`figure`] | any of these | plots as data |
//! | [`draw`] | a figure | SVG, PNG |
//! | [`text`], [`page`] | any of these | plain text, HTML |
//! | [`export`] | one run | files for other tools |
//! | [`command`] | the command line | all of these, on disk |
//!
//! Metrics are computed by `kernel::measure` and agree with the `summary.json` of a run to the last bit. The same folders
//! give the same bytes. Nothing here reads the clock, the locale, fonts or settings of the machine.

pub mod analyse;
pub mod command;
pub mod compare;
pub mod draw;
pub mod export;
pub mod fidelity;
pub mod figure;
pub mod frame;
pub mod page;
pub mod read;
pub mod run;
pub mod sweep;
pub mod text;
pub mod threshold;
