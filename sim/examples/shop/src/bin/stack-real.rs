//! Plays the depot and its customers with stacks of their own on real processes.

#[path = "../stack.rs"]
mod stack;

fn main() -> std::process::ExitCode {
    real::main(stack::app())
}
