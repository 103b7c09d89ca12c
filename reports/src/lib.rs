//! From run folders to answers: what a run came to, and how far two runs, or two worlds, are apart.
//!
//! Reads what [`kernel::record`] describes and logs of other programs; starts nothing and touches no run. One way leads
//! through it, a module a stage:
//!
//! | module | from | to |
//! | --- | --- | --- |
//! | [`read`] | a run folder or a foreign log | [`run::Run`]: rows, and what is missing |
//! | [`frame`] | rows | polars frames: windows, joins, percentiles |
//! | [`analyse`] | one run | [`analyse::Analysis`]: faults, episodes, lanes |
//! | [`compare`] | several runs | [`compare::Comparison`]: sides, differences, [distances](compare::distance) |
//! | [`fidelity`] | a campaign of runs in both worlds | [`fidelity::Fidelity`]: how far the simulation is from reality |
//! | [`many`] | a sweep, or a grid of settings | [`many::Many`]: what `kernel::experiment::sweep` says of it, and how it is drawn |
//! | [`tipping`] | a search for where runs tip | [`tipping::Tipping`]: what `kernel::experiment::threshold` says of it |
//! | [`figure`] | either | plots as data |
//! | [`draw`] | a figure | SVG, PNG |
//! | [`text`], [`page`] | either | plain text, HTML |
//! | [`command`] | the command line | all of it, on disk |
//!
//! Metrics are `kernel::measure`'s and agree with a run's `summary.json` to the last bit. The same folders give the same
//! bytes. Nothing here asks for the time, the locale, fonts or settings of the machine.

pub mod analyse;
pub mod command;
pub mod compare;
pub mod draw;
pub mod fidelity;
pub mod figure;
pub mod frame;
pub mod many;
pub mod page;
pub mod read;
pub mod run;
pub mod text;
pub mod tipping;
