//! Workloads: what a server computes for a request.
//!
//! A workload is one file that implements [`Workload`], a variant each of [`Input`], [`Output`] and [`Inputs`], and an RPC
//! in `proto/rehearsal.proto` that carries them, which `client::rpc` sends and `server::service` answers.

pub mod backend;
pub mod dfs;
mod inputs;
mod oracle;
pub mod pictures;
pub mod sobel;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use dfs::Search;
use pictures::Picture;

use crate::status::Code;

pub(crate) use inputs::Identities;
pub use inputs::Inputs;
pub use oracle::Oracle;

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

    /// What else becomes of an attempt: nothing, unless the workload fails on purpose.
    fn conduct(&self, request: u64, attempt: u32) -> Conduct {
        let _ = (request, attempt);
        Conduct { delay: Duration::ZERO, ending: Ending::Answer }
    }
}

/// How a server deals with one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conduct {
    /// It holds its worker at least this long.
    pub delay: Duration,
    /// And then?
    pub ending: Ending,
}

/// What an attempt comes to at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is answered.
    Answer,
    /// It is told this instead.
    Fail(Code),
    /// It hears nothing, and holds its worker until it gives up.
    Hang,
}

/// What a request asks to compute on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// For `sobel`.
    Image(Picture),
    /// For `dfs`.
    Search(Search),
    /// For `backend`, which is asked for one thing only.
    Data,
}

impl Input {
    /// Its size as the record writes it: `256x256` pixels, `20000+60000` nodes and edges.
    pub fn size(&self) -> String {
        match self {
            Self::Image(picture) => format!("{}x{}", picture.width, picture.height),
            Self::Search(search) => format!("{}+{}", search.graph.nodes, search.graph.edges),
            Self::Data => "data".to_owned(),
        }
    }

    /// An answer of its size that says nothing, as a fallback has one.
    pub fn blank(&self) -> Output {
        match self {
            Self::Image(picture) => Output::Image(vec![0; picture.pixels.len()].into()),
            Self::Search(_) => Output::Order(Arc::default()),
            Self::Data => Output::Data(Bytes::new()),
        }
    }

    /// A few bytes of it: inputs that differ in them differ. To look at a picture in one place is cheap.
    pub(crate) fn mark(&self) -> u64 {
        match self {
            Self::Image(picture) => picture.mark(),
            Self::Search(search) => search.graph.seed ^ u64::from(search.start),
            Self::Data => 0,
        }
    }

    /// Whether the two are alike because they share what they are made of, as requests for the same picture do: no pixel need
    /// be looked at for that.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Image(picture), Self::Image(other)) => picture.is_shared_with(other),
            _ => self == other,
        }
    }

    /// How much work it is, in the workload's own unit (pixels; nodes and edges); service times grow with it.
    pub fn units(&self) -> u64 {
        match self {
            Self::Image(picture) => u64::from(picture.width) * u64::from(picture.height),
            Self::Search(search) => u64::from(search.graph.nodes) + u64::from(search.graph.edges),
            Self::Data => 1,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Gradient magnitudes, row-major, of the size of the input.
    Image(Bytes),
    /// The nodes of a graph, in the order in which a search came to them.
    Order(Arc<[u32]>),
    /// What a backend has.
    Data(Bytes),
}

impl Output {
    /// What it takes to keep it.
    pub fn byte_count(&self) -> usize {
        match self {
            Self::Image(bytes) | Self::Data(bytes) => bytes.len(),
            Self::Order(nodes) => size_of_val(&**nodes),
        }
    }
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
