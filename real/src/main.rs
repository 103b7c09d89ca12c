//! `real`: plays a scenario on real processes.

use std::process::ExitCode;

fn main() -> ExitCode {
    real::main(None)
}
