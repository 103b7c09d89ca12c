//! Plays the till and the stock in the simulation.

#[path = "../till.rs"]
#[allow(dead_code, reason = "another app is for a test")]
mod till;

fn main() -> std::process::ExitCode {
    sim::main(till::app())
}
