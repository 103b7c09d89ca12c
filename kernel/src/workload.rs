//! Workloads: what a server computes for a request.
//!
//! A workload is one file that implements [`Workload`], a variant each of [`Input`] and [`Output`], and an RPC in
//! `proto/rehearsal.proto` that carries them.

pub mod pictures;
pub mod sobel;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use pictures::Picture;

/// A kernel that servers run.
pub trait Workload: Send + Sync + fmt::Debug {
    /// Its name in scenarios and calibrations.
    fn name(&self) -> &'static str;

    /// Why the input cannot be computed on: what is wrong and what would be right.
    fn check(&self, input: &Input) -> Result<(), String>;

    /// Computes. The same input gives the same output everywhere.
    ///
    /// Panics on an input that [`Workload::check`] refuses.
    fn run(&self, input: &Input) -> Output;
}

/// What a request asks to compute on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// For `sobel`.
    Image(Picture),
}

impl Input {
    /// Its size as the record and the calibration write it, such as `256x256`.
    pub fn size(&self) -> String {
        match self {
            Self::Image(picture) => format!("{}x{}", picture.width, picture.height),
        }
    }

    /// An answer of its size that says nothing, as a fallback has one.
    pub fn blank(&self) -> Output {
        match self {
            Self::Image(picture) => Output::Image(vec![0; picture.pixels.len()].into()),
        }
    }

    /// How much work it is, in the workload's own unit (pixels); service times grow with it.
    pub fn units(&self) -> u64 {
        match self {
            Self::Image(picture) => u64::from(picture.width) * u64::from(picture.height),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Gradient magnitudes, row-major, of the size of the input.
    Image(Bytes),
}

/// One run of a kernel, on behalf of one attempt of one request.
#[derive(Debug, Clone)]
pub struct Job {
    /// What to run.
    pub workload: Arc<dyn Workload>,
    /// What on.
    pub input: Input,
    /// The request's id.
    pub request: u64,
    /// From 1 within the request's call.
    pub attempt: u32,
}

impl Job {
    /// Runs the kernel, now and here.
    pub fn run(&self) -> Output {
        self.workload.run(&self.input)
    }
}
