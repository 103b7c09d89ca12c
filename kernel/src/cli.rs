//! The parts of a command line that all programs share: options, exit codes, the report of a run, output.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `arguments` | [`RunArgs`], the options of a run, and the command that repeats it |
//! | `exit` | [`Exit`] codes, and the [`Failure`] that ends a command early |
//! | `session` | [`Session`], a run from its options to its report |
//! | `report` | [`RunReport`], the report that is printed when a run ends |
//! | `output` | [`print()`], which writes to standard output |
//! | [`progress`] | progress bars on standard error |

mod arguments;
mod exit;
mod output;
pub mod progress;
mod report;
mod session;

pub use arguments::{RunArgs, quoted};
pub use exit::{Exit, Failure};
pub use output::print;
pub use report::RunReport;
pub use session::Session;
