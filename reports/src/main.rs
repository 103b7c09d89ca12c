//! `reports`: turns run folders into reports, plots and comparisons.

mod progress;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use kernel::cli::Failure;
use reports::command::{Options, run};

fn main() -> ExitCode {
    let options = Options::parse();
    match progress::shown(|| run(&options)) {
        Ok(done) => {
            // Whoever reads may have read enough.
            let _ = io::stdout().lock().write_all(done.text.as_bytes());
            done.exit.into()
        }
        Err(Failure { exit, message }) => {
            // Not `eprintln!`: it panics when nobody reads any more.
            let _ = writeln!(io::stderr(), "error: {message}");
            exit.into()
        }
    }
}
