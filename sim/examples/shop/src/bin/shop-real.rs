//! Plays the shop on real processes.

fn main() -> std::process::ExitCode {
    real::main(shop::app())
}
