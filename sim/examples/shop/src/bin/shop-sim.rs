//! Plays the shop in the simulation.

fn main() -> std::process::ExitCode {
    sim::main(shop::app())
}
