//! `reports`: turns run folders into reports, plots and comparisons.

use std::{env, process::ExitCode};

use kernel::cli::{
    Failure, complain, end, parse_whole, print,
    progress::{spinner, while_working},
};
use reports::command::{Options, run};

fn main() -> ExitCode {
    let words: Vec<_> = env::args_os().collect();
    let options: Options = parse_whole(&words).unwrap_or_else(|error| end(&error));
    let result = while_working(|| spinner("{spinner} reading and drawing, {elapsed}"), |_| {}, || run(&options));
    match result {
        Ok(done) => {
            print(&done.text);
            done.exit.into()
        }
        Err(Failure { exit, message }) => {
            complain(&format!("error: {message}"));
            exit.into()
        }
    }
}
