//! The reports command on folders and logs, good and bad.

mod agreement;
mod bad_input;
mod compared;
mod foreign;
mod single;
mod story;
