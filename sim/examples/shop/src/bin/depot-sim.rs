//! Plays the depot in the simulation.

fn main() -> std::process::ExitCode {
    sim::main(shop::depot::app())
}
