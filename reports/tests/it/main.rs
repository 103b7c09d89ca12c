//! Tests of the `reports` command on folders and logs, good and bad.

#![allow(clippy::unwrap_used, reason = "clippy knows the test functions, not what they call")]

mod agreement;
mod alerts;
mod bad_input;
mod cases;
mod compared;
mod damage;
mod detect;
mod example_run;
mod fidelity;
mod foreign;
mod formats;
mod gate;
mod interrupted;
mod messages;
mod single;
mod sweep;
mod threshold;
