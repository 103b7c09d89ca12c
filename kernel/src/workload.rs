//! Workloads: the functions that a server computes for requests.
//!
//! A workload consists of one file that implements [`Workload`] and creates its inputs, of its kind in [`settings`], of what
//! this file says about it, and of an RPC in `proto/rehearsal.proto` that carries inputs and outputs, which `rpc`
//! encodes and [`service`](services) answers. Calibrations have its service times.

pub mod backend;
pub mod dfs;
mod inputs;
mod oracle;
pub mod pictures;
#[cfg(feature = "service")]
mod requests;
#[cfg(feature = "service")]
mod results;
#[cfg(feature = "service")]
pub mod rpc;
#[cfg(feature = "service")]
mod server;
#[cfg(feature = "service")]
mod service;
pub mod settings;
pub mod size;
pub mod sobel;
#[cfg(feature = "service")]
mod tiles;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use dfs::Search;
use pictures::{Picture, PictureFileError};

use crate::{entropy::Entropy, load::RequestKind, status::Code};

pub(crate) use inputs::InputIdentities;
pub use inputs::Inputs;
pub use oracle::Oracle;
#[cfg(feature = "service")]
pub use requests::WorkloadRequests;
#[cfg(feature = "service")]
pub use results::Results;
#[cfg(feature = "service")]
pub use service::services;

/// A workload function that servers run, and the way in which it may fail on purpose.
pub trait Workload: Send + Sync + fmt::Debug {
    /// Returns the workload's name in scenarios and calibrations.
    fn name(&self) -> &'static str;

    /// Checks that the input is one that [`Workload::run`] accepts.
    ///
    /// # Errors
    ///
    /// Returns a message that says what is wrong and what would be right.
    fn check(&self, input: &Input) -> Result<(), String>;

    /// Computes the output of `input`. The same input has the same output on every machine.
    ///
    /// # Panics
    ///
    /// Panics on an input that [`Workload::check`] rejects.
    fn run(&self, input: &Input) -> Output;

    /// Returns how the server treats one attempt of a request. By default it answers without delay; a workload that fails on
    /// purpose returns something else.
    fn behavior(&self, request: u64, attempt: u32) -> AttemptBehavior {
        let _ = (request, attempt);
        AttemptBehavior { delay: Duration::ZERO, ending: AttemptEnding::Answer }
    }
}

/// The treatment of one attempt by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptBehavior {
    /// Shortest time for which the attempt occupies its worker.
    pub delay: Duration,
    /// The end of the attempt after that time.
    pub ending: AttemptEnding,
}

/// The end of an attempt at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptEnding {
    /// Answered with the output.
    Answer,
    /// Answered with this status.
    Fail(Code),
    /// Never answered; occupies a worker until the client cancels.
    Hang,
}

/// The input of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Input of `sobel`.
    Image(Picture),
    /// Input of `dfs`.
    Search(Search),
    /// Input of `backend`, which has only one piece of data to ask for.
    Data,
}

impl Input {
    /// Returns the size of the input as the record writes it: `256x256` pixels, `20000+60000` nodes and edges.
    pub fn size(&self) -> String {
        match self {
            Self::Image(picture) => format!("{}x{}", picture.width, picture.height),
            Self::Search(search) => format!("{}+{}", search.graph.nodes, search.graph.edges),
            Self::Data => "data".to_owned(),
        }
    }

    /// Returns true if the two inputs are equal because they share their pixels, as requests for the same picture do.
    /// Pictures are compared by address, so no pixel is read.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Image(picture), Self::Image(other)) => picture.is_shared_with(other),
            _ => self == other,
        }
    }

    /// Returns numbers and bytes that are the same exactly for equal inputs of one workload.
    pub fn identity(&self) -> ([u64; 4], &[u8]) {
        match self {
            Self::Image(picture) => ([picture.width.into(), picture.height.into(), 0, 0], &picture.pixels),
            Self::Search(Search { graph, start }) => {
                ([graph.nodes.into(), graph.edges.into(), graph.seed, u64::from(*start)], &[])
            }
            Self::Data => ([0; 4], &[]),
        }
    }

    /// Returns the amount of work in the workload's own unit (pixels; nodes plus edges). Service times grow with it.
    pub fn units(&self) -> u64 {
        match self {
            Self::Image(picture) => u64::from(picture.width) * u64::from(picture.height),
            Self::Search(search) => u64::from(search.graph.nodes) + u64::from(search.graph.edges),
            Self::Data => 1,
        }
    }
}

impl settings::Workload {
    /// Creates the different inputs of a run with `entropy`, at least one. Each request has one of them. `numbers` tell the
    /// workloads of several kinds of requests apart.
    fn inputs(&self, entropy: Entropy, numbers: &[u64]) -> Result<Vec<Input>, PictureFileError> {
        Ok(match self {
            Self::Sobel(images) => sobel::inputs(&images.pictures, entropy, numbers)?,
            Self::Dfs(size) => dfs::inputs(*size, entropy, numbers),
            // An app has messages of its own.
            Self::Backend(_) | Self::App(_) => vec![Input::Data],
        })
    }

    /// Returns a number for each input, in their order, without creating pictures: inputs are equal exactly if their numbers
    /// are. Returns `None` if that cannot be known in advance.
    fn input_numbers(&self, entropy: Entropy, numbers: &[u64]) -> Option<Vec<u64>> {
        match self {
            Self::Sobel(images) => sobel::input_numbers(&images.pictures),
            Self::Dfs(size) => Some(dfs::input_numbers(*size, entropy, numbers)),
            Self::Backend(_) => Some(vec![0]),
            Self::App(_) => None,
        }
    }
}

/// One workload of each kind.
#[derive(Debug)]
pub(crate) struct Workloads {
    sobel: Arc<dyn Workload>,
    dfs: Arc<dyn Workload>,
    backend: Arc<dyn Workload>,
}

impl Workloads {
    /// Creates the workloads. `entropy` decides the failures of a backend with the settings `backend`, which the kinds of requests
    /// may change.
    pub(crate) fn new(backend: settings::Backend, kinds: &[RequestKind], entropy: Entropy) -> Self {
        Self {
            sobel: Arc::new(sobel::Sobel),
            dfs: Arc::new(dfs::Dfs::default()),
            backend: Arc::new(backend::Backend::new(backend, entropy).with_kinds(kinds)),
        }
    }

    /// Returns the workload whose function takes inputs of this kind.
    pub(crate) fn for_input(&self, input: &Input) -> &Arc<dyn Workload> {
        match input {
            Input::Image(_) => &self.sobel,
            Input::Search(_) => &self.dfs,
            Input::Data => &self.backend,
        }
    }
}

/// The output of a workload function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Gradient magnitudes, row-major, of the size of the input.
    Image(Bytes),
    /// The nodes of a graph, in the order in which the search reached them.
    Order(Arc<[u32]>),
    /// The data of a backend.
    Data(Bytes),
}

impl Output {
    /// Returns the memory that the output occupies, in bytes.
    pub fn byte_count(&self) -> usize {
        match self {
            Self::Image(bytes) | Self::Data(bytes) => bytes.len(),
            Self::Order(nodes) => size_of_val(&**nodes),
        }
    }
}
