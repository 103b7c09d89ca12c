//! The parts of a command line that all programs share: options, exit codes, the report of a run, output.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `arguments` | [`RunArgs`], the options of a run, and the command that repeats it |
//! | `default_command` | [`parse`], which reads a command line, with `run` as the subcommand unless it names one |
//! | `variables` | options from environment variables |
//! | `program` | [`program()`], the command that starts a program of this project |
//! | `help` | [`help_sections`], the examples and exit codes in the help of a command |
//! | `completions`, `man` | completions of shells, and manual pages |
//! | `exit` | [`Exit`] codes, and the [`Failure`] that ends a command early |
//! | `session` | [`Session`], a run from its options to its report |
//! | `report` | [`RunReport`], the report that is printed when a run ends |
//! | `report_page` | `--report`, for which the program `reports` writes a page |
//! | `output` | [`print()`] and [`complain`], which write to standard output and standard error |
//! | [`progress`] | progress bars on standard error |

mod arguments;
mod completions;
mod default_command;
mod exit;
pub mod help;
mod man;
mod output;
mod program;
pub mod progress;
mod report;
mod report_page;
mod session;
mod variables;

pub use arguments::{RunArgs, quoted};
pub use completions::CompletionsArgs;
pub use default_command::{end, parse, parse_whole};
pub use exit::{Exit, Failure};
pub use help::help_sections;
pub use man::ManArgs;
pub use output::{complain, print};
pub use program::{program, sibling};
pub use report::RunReport;
pub use report_page::report_page;
pub use session::{Session, warn_of_place};
pub use variables::{options_without_variable, variable, with_variables, without_variables};
