//! Plays the depot and its customers with stacks of their own in the simulation.

#[path = "../stack.rs"]
mod stack;

fn main() -> std::process::ExitCode {
    sim::main(stack::app())
}
