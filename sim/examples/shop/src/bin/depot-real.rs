//! Plays the depot on real processes.

fn main() -> std::process::ExitCode {
    real::main(shop::depot::app())
}
