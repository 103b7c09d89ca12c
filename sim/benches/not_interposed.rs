//! The calls of the benchmark `interposed` in a program that does not link `sim`. That one starts this one.

#[path = "interposed/calls.rs"]
mod calls;

fn main() {
    calls::serve_rounds();
}
