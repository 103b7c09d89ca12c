#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

pub mod alerts;
pub mod analyse;
pub mod command;
pub mod compare;
mod correlation;
pub mod detect;
pub mod distribution;
pub mod draw;
pub mod export;
pub mod fidelity;
pub mod figure;
pub mod fold;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod page;
pub mod read;
pub mod rows;
pub mod run;
pub mod sweep;
pub mod text;
pub mod threshold;
pub mod timeline;
