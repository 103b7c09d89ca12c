//! `sim`: runs a scenario in the deterministic simulation.

use std::process::ExitCode;

fn main() -> ExitCode {
    sim::main(None)
}
