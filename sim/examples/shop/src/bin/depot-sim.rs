//! Plays the depot in the simulation.

#[path = "../depot.rs"]
mod depot;

fn main() -> std::process::ExitCode {
    sim::main(depot::app())
}
