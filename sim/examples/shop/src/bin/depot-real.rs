//! Plays the depot on real processes.

#[path = "../depot.rs"]
mod depot;

fn main() -> std::process::ExitCode {
    real::main(depot::app())
}
