//! Plays the till and the stock on real processes.

#[path = "../till.rs"]
#[allow(dead_code, reason = "another app is for a test")]
mod till;

fn main() -> std::process::ExitCode {
    real::main(till::app())
}
