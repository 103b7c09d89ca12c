//! `reports`: turns run folders into reports, plots and comparisons.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use kernel::cli::{
    Failure, print,
    progress::{spinner, while_working},
};
use reports::command::{Options, run};

fn main() -> ExitCode {
    let options = Options::parse();
    let result = while_working(|| spinner("{spinner} reading and drawing, {elapsed}"), |_| {}, || run(&options));
    match result {
        Ok(done) => {
            print(&done.text);
            done.exit.into()
        }
        Err(Failure { exit, message }) => {
            // The macro `eprintln!` panics if the reader has closed the pipe.
            let _ = writeln!(io::stderr(), "error: {message}");
            exit.into()
        }
    }
}
